"""A Slurm of one node: arrays leave the same folder, whoever is killed, and only what is missing is
submitted again."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from int_bench.engine.trace import Trace
from int_bench.errors import UsageError
from int_bench.runs.executors.arrays import Submitted, arrays_of
from int_bench.runs.executors.status import status_of
from int_bench.runs.prepare import prepare
from int_bench.runs.reader import Run
from tests.runs.executors.bench import content, go, pictures, request
from tests.runs.executors.hazards import HANGS, KILLS

pytestmark = pytest.mark.services
if os.environ.get("CI") != "true":
    pytest.importorskip("submitit")
    if shutil.which("slurmctld") is None:
        pytest.skip("slurmctld is not here", allow_module_level=True)
SCRIPT = Path(__file__).parents[3] / "scripts" / "slurm_here.sh"
WAITS = {"detector": "tests.runs.executors.hazards.Waits"}
SLURM = ["executor=slurm", "executor.cpus=1", "executor.patience=5", "method.iterations=2"]


@pytest.fixture(scope="module", autouse=True)
def slurm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm")
    port = {**os.environ, "SLURM_HERE_PORT": str(random.Random().randrange(20000, 30000, 2))}
    subprocess.run([SCRIPT, "start", folder, "5"], check=True, env=port)
    before = os.environ.get("PYTHONPATH")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    os.environ["PYTHONPATH"] = str(SCRIPT.parents[1])
    yield
    subprocess.run([SCRIPT, "stop", folder], check=True)
    del os.environ["SLURM_CONF"]
    os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("scenes"), 12)


@pytest.fixture(scope="module")
def whole(scenes, tmp_path_factory):
    return content(go(request(scenes, tmp_path_factory.mktemp("inline"), SLURM[-1]))[0])


@pytest.mark.parametrize("tasks", [1, 2, 3, 5])
def test_an_array_of_any_size_leaves_the_same_folder_as_one_process(scenes, whole, tmp_path, tasks):
    told: list[str] = []
    trace = tmp_path / "trace.json"
    offline = {"detector": "tests.runs.executors.hazards.Offline"}
    asked = request(scenes, tmp_path, *SLURM, f"executor.tasks={tasks}", models=offline)
    with Trace(trace) as observe:
        folder, done = go(asked, tell=told.append, observe=observe)
    assert content(folder) == whole
    events = json.loads(trace.read_text())
    names = {e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert names == {f"shard {path.stem}" for path in (folder / "records").iterdir()}
    assert done.work.images == 12 and done.counters["vlm.answer.rows"] > 0
    assert not (folder / "parts").exists()
    job = told[0].split()[2]
    assert told[0].startswith(f"Slurm job {job} works on 12 samples with {tasks} tasks.")
    assert len(list((folder / "logs").glob(f"{job}_*_log.out"))) == tasks


def processes(name: str) -> list[int]:
    """Processes of tasks: their command line holds a name."""
    there = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if name.encode() in words and b"array_task" in words:
            there.append(int(path.name))
    return there


def test_processes_that_are_killed_at_random_change_nothing(scenes, tmp_path):
    """Nine kills at work; the array heals itself, and a next command does what is left."""
    slow = {"detector": "tests.runs.executors.hazards.Slow"}
    chance, over, killed = random.Random(3), threading.Event(), []

    def kill():
        while not over.wait(chance.uniform(0.5, 2)) and len(killed) < 9:
            there = [pid for pid in processes(str(tmp_path)) if pid not in killed]
            if there and list(tmp_path.rglob("*.begun")):
                killed.append(chance.choice(there))
                os.kill(killed[-1], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        folder, _ = go(request(scenes, tmp_path, *SLURM, "executor.tasks=3", models=slow))
    finally:
        over.set()
        thread.join()
    assert killed
    # What two kills met was given up; the next command computes it.
    go(request(scenes, tmp_path, SLURM[-1], models=slow))
    undisturbed, _ = go(request(scenes, tmp_path / "whole", SLURM[-1], models=slow))
    assert content(folder) == content(undisturbed)


def test_what_a_cancelled_array_has_not_done_is_all_that_is_submitted_again(
    scenes, whole, tmp_path
):
    slow = {"detector": "tests.runs.executors.hazards.Slow"}
    asked = request(
        scenes, tmp_path, *SLURM, "executor.tasks=1", "executor.wait=false", models=slow
    )
    with pytest.raises(Submitted, match=r"Slurm job \d+ is submitted"):
        go(asked)
    (run,) = prepare([asked])
    (array,) = arrays_of(run.path)
    until = time.monotonic() + 240
    while status_of(run.path).done < 3 and time.monotonic() < until:
        time.sleep(0.5)
    status = status_of(run.path)
    assert status.asked == 12 and status.workers == (f"Slurm job {array.job} with 1 tasks",)
    with pytest.raises(UsageError, match=f"Slurm job {array.job} works on .*scancel"):
        go(request(scenes, tmp_path, SLURM[-1], models=slow))
    subprocess.run(["scancel", array.job], check=True)
    while array.active():
        time.sleep(0.5)
    done = status_of(run.path).done
    assert 3 <= done < 12
    told: list[str] = []
    folder, _ = go(
        request(scenes, tmp_path, *SLURM, "executor.tasks=2", models=slow), tell=told.append
    )
    assert f"works on {12 - done} samples" in told[0]
    assert status_of(folder).done == 12 and not status_of(folder).workers
    masks = {name: data for name, data in content(folder).items() if name.startswith("masks")}
    assert masks == {name: data for name, data in whole.items() if name.startswith("masks")}


def test_an_array_that_runs_out_of_time_hands_itself_in_again_and_goes_on_where_it_was(
    scenes, whole, tmp_path
):
    """It stands still until it is told that its minute is over: from its 29th second on, as Slurm
    looks every 30 s."""
    limits = ["executor.tasks=1", "executor.minutes=1", "executor.signal_seconds=1"]
    words = [*SLURM, *limits, "executor.wait=false"]
    with pytest.raises(Submitted):
        go(request(scenes, tmp_path, *words, models=WAITS))
    (run,) = prepare([request(scenes, tmp_path, *words, models=WAITS)])
    (array,) = arrays_of(run.path)
    while array.active():
        time.sleep(1)
    shown = subprocess.run(["scontrol", "show", "job", array.job], capture_output=True, text=True)
    assert " Restarts=0 " not in shown.stdout and "JobState=COMPLETED" in shown.stdout
    claims = Counter(path.name.partition(".")[0] for path in array.folder.glob("*.claim"))
    restarts = int(shown.stdout.partition("Restarts=")[2].split()[0])
    assert 0 < len(claims) == array.shards
    assert claims.total() <= array.shards + restarts  # what was done is not done again
    assert status_of(run.path).done == 12
    folder, done = go(request(scenes, tmp_path, SLURM[-1], models=WAITS))
    assert done.counters == {} and content(folder) == whole


def test_an_array_that_the_scheduler_takes_back_goes_on_with_what_is_missing(
    scenes, whole, tmp_path
):
    """As when a job of higher priority needs the node: no warning is heeded."""
    slow = {"detector": "tests.runs.executors.hazards.Slow"}
    words = [*SLURM, "executor.tasks=2", "executor.wait=false"]
    with pytest.raises(Submitted):
        go(request(scenes, tmp_path, *words, models=slow))
    (run,) = prepare([request(scenes, tmp_path, *words, models=slow)])
    (array,) = arrays_of(run.path)
    while status_of(run.path).done < 3:
        time.sleep(0.2)
    finished = {path.name[:2] for path in array.folder.glob("*.done")}
    subprocess.run(["scontrol", "requeue", array.job], check=True)
    while array.active():
        time.sleep(0.5)
    assert status_of(run.path).done == 12
    again = {path.name[:2] for path in array.folder.glob("*.1.claim")}
    assert not finished & again
    folder, _ = go(request(scenes, tmp_path, SLURM[-1], models=slow))
    assert content(folder) == whole


def test_poison_and_a_hang_are_recorded_by_name(tmp_path):
    scenes = pictures(tmp_path / "scenes", 60, {3: KILLS, 45: HANGS})
    limits = ["executor.tasks=2", "executor.sample_seconds=15", "executor.start_seconds=30"]
    folder, _ = go(request(scenes, tmp_path / "out", *SLURM, *limits))
    failures = Run(folder).failures
    assert sorted(failures) == [(0, "p003"), (0, "p045")]
    assert failures[0, "p003"].startswith("It ended two workers that computed it")
    assert "executor.sample_seconds=15" in failures[0, "p045"]
    assert len(Run(folder).masks()) == 58


DRIVER = """
import os, signal, sys
from contextlib import contextmanager
from pathlib import Path
from int_bench.runs.executors import arrays, slurm
from tests.runs.executors.bench import go, request

moment, scenes, out, *words = sys.argv[1:]

def dies(*_):
    os.kill(os.getpid(), signal.SIGKILL)

@contextmanager
def watch(total, done):
    yield dies if moment == "waiting" else lambda *_: None

def before(place, name, left):
    whole = getattr(place, name)

    def counted(*given):
        nonlocal left
        left -= 1
        return dies() if left < 0 else whole(*given)

    setattr(place, name, counted)

MOMENTS = {
    "described": (slurm, "keep_order", 0),
    "handed in": (arrays.Array, "write", 1),
    "merged": (arrays.Array, "check", 0),
    "removing": (arrays, "_sweep", 0),
}
if moment in MOMENTS:
    before(*MOMENTS[moment])
waits = {"detector": "tests.runs.executors.hazards.Waits"}
go(request(Path(scenes), Path(out), *words, models=waits), watch=watch)
"""


def test_a_command_that_is_killed_at_any_step_goes_on_with_the_same_array(
    scenes, whole, tmp_path, monkeypatch
):
    """Six deaths: two while it waits, the others between two writes."""
    monkeypatch.setenv("INT_BENCH_GATE", str(tmp_path / "gate"))
    asked = request(scenes, tmp_path, *SLURM, models=WAITS)
    (run,) = prepare([asked])
    for moment in ("described", "handed in", "waiting", "waiting", "merged", "removing"):
        if moment == "merged":
            (tmp_path / "gate").touch()
        command = [sys.executable, "-c", DRIVER, moment, scenes, tmp_path, *SLURM]
        assert subprocess.run(command).returncode == -signal.SIGKILL, moment
    assert (run.path / "parts").exists() and not arrays_of(run.path)
    folder, done = go(asked)
    assert done.counters == {} and content(folder) == whole and not (folder / "parts").exists()
    jobs = {path.name.partition("_")[0] for path in (folder / "logs").glob("*_log.out")}
    assert len(jobs) == 1


def test_a_partition_that_does_not_exist_is_a_sentence_in_the_words_of_slurm(scenes, tmp_path):
    with pytest.raises(UsageError, match="Slurm did not take the job: invalid partition specified"):
        go(request(scenes, tmp_path, *SLURM, "executor.partition=nowhere"))
    (run,) = prepare([request(scenes, tmp_path, *SLURM)])
    assert not arrays_of(run.path)
