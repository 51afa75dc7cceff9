"""What is refused before anything is computed, and what units and simulations are made of."""

from __future__ import annotations

import builtins
import errno
import json
import os
import re
import signal
from contextlib import contextmanager
from dataclasses import replace

import pytest

from int_bench.cli.app import exit_code
from int_bench.cli.run import Progress
from int_bench.config import load_config
from int_bench.config.building import build
from int_bench.config.identity import identity
from int_bench.errors import MissingAsset, UsageError
from int_bench.runs.executors import array_task, ray_cluster, slurm
from int_bench.runs.executors.array_task import _refuse_other_devices
from int_bench.runs.executors.arrays import Array, absorb, arrays_of, under_way
from int_bench.runs.executors.compute import UNHEARD, shards_of
from int_bench.runs.executors.slurm import _reason, _wanted
from int_bench.runs.executors.status import Pulse, status_of
from int_bench.runs.executors.worker import Order, Worker
from int_bench.runs.layout import shard_of
from int_bench.runs.prepare import prepare
from int_bench.runs.reader import Run
from int_bench.runs.records import FAILED, Record, line_of
from scripts.simulate_scale import Plan, simulate
from tests.runs.executors.bench import build_method, go, pictures, request


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("scenes"), 4)


@pytest.mark.parametrize(("name", "module"), [("ray", ray_cluster), ("slurm", slurm)])
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    scenes, tmp_path, monkeypatch, name, module
):
    def absent(library):
        raise ModuleNotFoundError(library)

    monkeypatch.setattr(module, "import_module", absent)
    with pytest.raises(MissingAsset, match=rf"pip install 'int-bench\[{name}\]'"):
        go(request(scenes, tmp_path, f"executor={name}"))


def test_who_computes_is_no_part_of_a_runs_name():
    names = [
        identity(load_config(["device=cpu", *words]), {})
        for words in ([], ["executor=ray", "executor.workers=3"], ["executor=slurm"])
    ]
    assert names[0] == names[1] == names[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["executor=rae"], "Did you mean 'ray'"),
        (["executor=ray", "executor.workers=0"], "executor.workers must be"),
        (["executor=ray", "executor.worker=2"], "executor.workers"),
        (["executor=slurm", "executor.tasks=none"], "executor.tasks must be"),
        (["executor=slurm", "executor.minutes=0"], "executor.minutes must be"),
    ],
)
def test_wrong_options_are_refused_at_once(words, said):
    with pytest.raises(UsageError, match=said.replace(".", r"\.")):
        load_config(["device=cpu", *words])


def test_outside_e0_a_shard_is_computed_as_a_whole_and_what_is_stored_is_not_stored_again(
    scenes, tmp_path
):
    (plan,) = prepare([request(scenes, tmp_path, "trials=40")])
    keys = [(0, trial, sample.id) for sample in plan.samples for trial in range(40)]
    left = [keys[5]]
    assert _wanted(plan, 1, left, "E0") == (tuple(left), frozenset())
    wanted, stored = _wanted(plan, 1, left, "E1")
    shard = shard_of(left[0][1:])
    assert wanted == tuple(key for key in keys if shard_of(key[1:]) == shard)
    assert stored == set(wanted) - set(left) and stored


def test_a_worker_makes_of_the_same_items_the_same_batches_whatever_came_before(scenes, tmp_path):
    """In E1 batches decide the bits."""
    asked = request(scenes, tmp_path, "method.iterations=1", "in_flight=3")
    asked = replace(asked, config=replace(asked.config, exactness="E1"))
    runs = prepare([asked])
    wanted = [(0, 0, f"p00{number}") for number in range(3)]
    seen = []
    for before in ([], [(0, 0, "p003")]):
        worker = Worker(Order.of(runs, asked.config, profile=False).sealed())
        worker.work(before)
        vlm = worker._backbones["vlm"]
        first = len(vlm.batches)
        seen.append((worker.work(wanted).counters, vlm.batches[first:]))
    assert seen[0] == seen[1]


def test_tasks_on_another_kind_of_device_are_refused_by_name(tmp_path):
    file = tmp_path / "device"
    _refuse_other_devices(file, {"name": "n1", "device": "A100"})
    _refuse_other_devices(file, {"name": "n2", "device": "A100"})
    with pytest.raises(UsageError, match=r"n3 computes on H100 and n1 on A100"):
        _refuse_other_devices(file, {"name": "n3", "device": "H100"})


def test_a_folder_that_a_node_does_not_see_is_said_so(tmp_path, monkeypatch):
    monkeypatch.setattr(array_task, "SIGHT", 0.0)
    assert array_task.main([str(tmp_path / "parts" / "x"), "0", "digest"]) == 3


def test_an_order_that_somebody_else_wrote_is_not_unpacked(tmp_path, monkeypatch):
    (tmp_path / array_task.ORDER).write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    monkeypatch.setattr(array_task.pickle, "loads", lambda content: builtins.exit(9))
    assert array_task.main([str(tmp_path), "0", "0" * 64]) == 2
    name, sentence = json.loads((tmp_path / "error.0").read_bytes())
    assert name == "UsageError" and "is not what was handed in" in sentence


def test_a_description_of_an_array_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "parts" / "a").mkdir(parents=True)
    (tmp_path / "parts" / "a" / "job.json").write_bytes(b"[]")
    with pytest.raises(MissingAsset, match=r"job\.json does not say which job"):
        arrays_of(tmp_path)


def test_a_job_from_elsewhere_reaches_no_folder_that_knows_nothing_of_it(tmp_path, monkeypatch):
    """What a folder of a stranger's names: neither merged nor removed."""
    mine, theirs, friend = (tmp_path / name for name in ("mine", "theirs", "friend"))
    Array("0a1b", "7", 1, (theirs, friend)).write()
    shard = mine / "parts" / "0a1b" / "00.0.jsonl"
    shard.parent.mkdir(parents=True)
    shard.write_text("{}\n")
    job = theirs / "parts" / "0a1b" / "job.json"
    for other in ([str(mine)], [], [str(mine), str(friend)]):
        job.write_text(json.dumps({"job": "7", "tasks": 1, "runs": other}))
        with pytest.raises(MissingAsset, match=r"job\.json does not say which job"):
            arrays_of(theirs)
    Array("0a1b", "7", 1, (theirs, mine, friend)).write()
    (mine / "parts" / "0a1b" / "job.json").unlink()
    own = [theirs, mine, friend]
    (array,) = arrays_of(theirs, own)
    assert array.runs == (theirs, friend)
    monkeypatch.setattr(Array, "listed", lambda self: "")
    with pytest.raises(UsageError, match="no task has begun"):
        absorb(theirs, False, own, lambda sentence: None)
    assert shard.is_file() and not (mine / "records").exists()
    assert not (theirs / "parts").exists() and not (friend / "parts").exists()


def test_a_command_killed_while_it_hands_an_array_in_leaves_its_title(tmp_path, monkeypatch):
    Array("0a1b", "", 2, (tmp_path,), 3, tmp_path).write()
    squeue = tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    squeue.write_text('#!/bin/sh\n[ "$3" = int-bench-0a1b ] && echo "41\n41"\n')
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(squeue.parent), prepend=os.pathsep)
    array = under_way([tmp_path])
    assert array is not None and (array.job, array.tasks) == ("41", 2)
    with pytest.raises(UsageError, match="Slurm job 41 works on"):
        absorb(tmp_path, False, [tmp_path], lambda sentence: None)
    squeue.write_text("#!/bin/sh\n")  # it was never handed in, or has ended
    told: list[str] = []
    absorb(tmp_path, True, [tmp_path], told.append)
    assert not told and not (tmp_path / "parts").exists()


def test_a_full_disk_while_an_array_is_handed_in_is_a_sentence(scenes, tmp_path, monkeypatch):
    def full(folder, order):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))

    monkeypatch.setattr(slurm, "keep_order", full)
    monkeypatch.setattr(slurm, "_library", lambda: None)
    with pytest.raises(UsageError, match=r"did not take the job: .*: No space left on device"):
        go(request(scenes, tmp_path, "executor=slurm"))
    assert not list(tmp_path.rglob("parts"))


def test_an_interrupted_command_says_that_its_array_goes_on(scenes, tmp_path, monkeypatch):
    asked = request(scenes, tmp_path, "executor=slurm")
    (run,) = prepare([asked])
    monkeypatch.setattr(slurm, "under_way", lambda runs: Array("0a1b", "41", 2, (run.path,)))
    monkeypatch.setattr(Array, "watch", lambda array, told: signal.raise_signal(signal.SIGINT))
    told: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        go(asked, tell=told.append)
    assert told[-1] == (
        "Slurm job 41 goes on, and the same command waits for it again; `scancel 41` ends it."
    )


def test_what_a_killed_command_left_of_an_array_is_merged_and_removed(tmp_path):
    part = tmp_path / "parts" / "0a1b" / "00.0.jsonl"
    part.parent.mkdir(parents=True)
    part.write_bytes(line_of(Record("a", 0, FAILED, error="It broke.")))
    absorb(tmp_path, True, [tmp_path], lambda sentence: None)
    assert not (tmp_path / "parts").exists() and list((tmp_path / "records").iterdir())


def test_the_words_of_the_scheduler_are_one_sentence():
    said = (
        "sbatch: error: invalid partition specified: x\nsbatch: error: Batch job submission failed"
    )
    assert _reason(RuntimeError(said)) == "invalid partition specified: x"


def test_a_simulated_run_computes_every_image_once_and_loses_what_was_in_flight():
    plan = Plan(images=2000, gpus=16, shards=64, preemptions=1.0)
    outcome = simulate(plan)
    calm = simulate(replace(plan, preemptions=1e9, failures=1e9))
    assert outcome.useful == pytest.approx(calm.useful)
    assert calm.deaths == 0 and calm.lost == 0
    assert outcome.deaths > 10 and outcome.lost > 0
    assert calm.makespan < outcome.makespan


def test_a_stranger_s_file_has_no_other_folder_merged_or_removed(scenes, tmp_path, monkeypatch):
    mine, other = tmp_path / "mine", tmp_path / "other"
    content = {"job": "7", "tasks": 1, "runs": [str(other), str(mine)]}
    for run in (mine, other):
        (run / "parts" / "a").mkdir(parents=True)
        (run / "parts" / "a" / "job.json").write_text(json.dumps(content))
        (run / "parts" / "a" / "error.0").write_text('["UsageError", "Not yours."]')
    monkeypatch.setattr(Array, "listed", lambda array: "")
    absorb(mine, False, [mine], lambda sentence: None)
    assert not (mine / "parts").exists() and not (other / "records").exists()
    assert (other / "parts" / "a" / "error.0").exists()
    with pytest.raises(UsageError, match="Not yours"):  # the command names both
        absorb(other, False, [other, mine], lambda sentence: None)
    assert not (other / "parts").exists()


@pytest.mark.parametrize("job", ["--all", "1; ls", [], None])
def test_a_job_that_is_no_number_is_not_asked_for(tmp_path, job):
    (tmp_path / "parts" / "a").mkdir(parents=True)
    content = {"job": job, "tasks": 1, "runs": [str(tmp_path)]}
    (tmp_path / "parts" / "a" / "job.json").write_text(json.dumps(content))
    with pytest.raises(MissingAsset, match=r"job\.json does not say which job"):
        arrays_of(tmp_path)


def test_the_number_of_shards_is_that_with_which_a_run_was_begun(scenes, tmp_path):
    asked = request(scenes, tmp_path, "trials=30", "method=centre_box", "executor=slurm",
                    "executor.shards=4096")  # fmt: skip
    (run,) = prepare([asked])
    executor = build(asked.config.executor, "executor")
    order, _ = executor.order([run], [build_method(asked.config)], asked.config, UNHEARD)
    assert order.shards == 4096
    words = ["trials=30", "method=centre_box"]
    folder, _ = go(request(scenes, tmp_path, *words))  # another executor goes on with it
    assert folder == run.path
    known = Run(folder)
    assert known.manifest.shards == 4096 and len(known.records) == 120
    files = {path.name for path in (folder / "records").iterdir()}
    assert files == {f"{shard_of(key, 4096):02d}.jsonl" for key in known.records}
    assert len(files) > 64
    told: list[str] = []
    go(request(scenes, tmp_path, *words, "executor=ray", "executor.shards=64"), tell=told.append)
    assert told == [f"{folder} was begun with 4096 shards and keeps them."]
    assert status_of(folder).done == 120


def test_runs_with_other_shards_are_not_computed_together(scenes, tmp_path):
    first = request(scenes, tmp_path, "executor=slurm", "executor.shards=8")
    runs = prepare([first, request(scenes, tmp_path, "method.iterations=1")])
    with pytest.raises(UsageError, match=r"with 8 and .* with 64; run them one by one"):
        shards_of(runs)


def test_status_tells_what_a_process_is_at_and_how_long_it_will_take(scenes, tmp_path, monkeypatch):
    monkeypatch.setattr(Pulse, "SECONDS", 0.0)
    asked = request(scenes, tmp_path, "method.iterations=1", "in_flight=2")
    (run,) = prepare([asked])
    seen = []

    @contextmanager
    def watch(total, done):
        yield lambda variant, record: seen.append(status_of(run.path))

    go(asked, watch=watch)
    assert all(f"process {os.getpid()} on " in status.workers[0] for status in seen)
    assert any(status.running for status in seen)
    assert any((status.left or 0) > 0 for status in seen)
    ended = status_of(run.path)
    assert (ended.done, ended.running, ended.workers, ended.left) == (4, (), (), None)
    assert not (run.path / "progress.json").exists()


def test_what_a_dead_process_was_at_counts_for_nothing(scenes, tmp_path):
    folder, _ = go(request(scenes, tmp_path, "method.iterations=1", "limit=1"))
    (folder / "progress.json").write_text('{"running": [[0, "p003"]], "pace": 1.0}')
    assert not status_of(folder).running


@pytest.mark.parametrize("text", ["", "[]", '{"running": [[0], 3, ["a", 0]], "pace": "now"}'])
def test_what_anybody_wrote_about_the_progress_breaks_nothing(scenes, tmp_path, text):
    (run,) = prepare([request(scenes, tmp_path, "method.iterations=1", "limit=1")])
    with run.open({}):
        (run.path / "progress.json").write_text(text)
        status = status_of(run.path)
    assert not status.running and status.left is None


def test_the_time_to_the_first_sample_is_told(scenes, tmp_path, capsys):
    asked = request(scenes, tmp_path, "method.iterations=1", "limit=1")
    go(asked, watch=Progress(None).watch)
    assert re.search(r"The first sample after \d+\.\d s\.", capsys.readouterr().err)


def test_an_array_is_not_submitted_before_its_weights_are_here(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    words = ["run", "models=paper", "executor=slurm", "device=cuda", f"out={tmp_path}", "limit=1"]
    assert exit_code(words) == 3
    said = " ".join("".join(capfd.readouterr()).split())
    assert "int-bench models fetch models=paper" in said and not list(tmp_path.rglob("parts"))
