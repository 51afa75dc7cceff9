"""Trackers are told of runs, and decide nothing about them."""

from __future__ import annotations

import json
import sys

import pytest

import int_bench
from int_bench.config import load_config
from int_bench.errors import MissingAsset
from int_bench.runs.prepare import prepare
from int_bench.runs.sinks import telling
from int_bench.runs.sinks.telling import trackers
from int_bench.runs.variants import RunRequest
from tests.runs.sinks.recorder import LOGS

BOX = ["method=centre_box", "dataset=folder"]


@pytest.fixture(autouse=True)
def forgotten():
    LOGS.clear()


@pytest.fixture
def words(pairs):
    return [*BOX, f"dataset.images={pairs / 'images'}", f"dataset.masks={pairs / 'masks'}"]


def to(name, *options):
    return ["sink=mlflow", f"sink._target_=tests.runs.sinks.recorder.{name}", *options]


def test_a_tracker_is_told_of_samples_and_scores(command, words):
    code, plain, _ = command("run", *words, "out=plain", "--json")
    assert code == 0
    code, out, _ = command("run", *words, *to("Recorder"), "label=mine", "--json")
    result = json.loads(out)
    (log,) = LOGS
    assert (log.told.name, log.told.dataset) == ("mine", "folder")
    assert json.loads(plain)["run_dir"].endswith(log.told.digest)  # nothing of it in the identity
    assert result["run_dir"].endswith(log.told.digest) and log.told.folder.endswith(log.told.digest)
    assert [step for step, _ in log.steps] == [1, 2, 3, 4, 5, 6]
    assert all(values["failed"] == 0 for _, values in log.steps)
    assert log.told.config["choices.method"] == "centre_box" and log.told.config["seed"] == 0
    ((scores, whole),) = log.ends
    assert whole and scores["native.S"] == result["metrics"]["native"]["S"]
    assert len(scores) == 22


def test_a_run_that_goes_on_is_told_from_where_it_stood(command, words):
    command("run", *words, "--limit", "2")
    command("run", *words, "--limit", "3", *to("Recorder"))
    command("run", *words, "--limit", "3", *to("Recorder"))
    first, second = LOGS
    assert [step for step, _ in first.steps] == [3] and second.steps == []
    assert first.told == second.told and first.ends == second.ends


def test_each_run_of_a_sweep_has_its_own(command, words):
    code, _, _ = command("run", *words, "seed=1,2", *to("Recorder"))
    assert code == 0
    assert [log.told.name for log in LOGS] == ["centre_box, seed=1", "centre_box, seed=2"]
    assert [len(log.steps) for log in LOGS] == [6, 6]


@pytest.mark.parametrize(
    "where, reason, steps",
    [
        ("open", "nobody answers", None),
        ("add", "no disk for add", 0),
        ("second", "no disk for second", 1),
        ("end", "TimeoutError", 6),
    ],
)
def test_what_a_tracker_raises_ends_the_telling_alone(command, words, where, reason, steps):
    code, out, err = command("run", *words, *to("Refusing", f"sink.where={where}"), "--json")
    assert code == 0 and json.loads(out)["scored"] == 6
    assert err.count(f"json is told no more, and the run goes on: {reason}\n") == 1
    assert [len(log.steps) for log in LOGS] == ([] if steps is None else [steps])


def test_one_that_never_answers_is_not_waited_for(command, words, monkeypatch):
    monkeypatch.setattr(telling, "_PATIENCE", 0.0)
    code, out, err = command("run", *words, *to("Silent"), "--json")
    assert code == 0 and json.loads(out)["scored"] == 6
    assert "has not answered for 0 s and is not waited for" in err


def test_what_its_library_prints_is_not_the_result(command, words):
    code, out, err = command("run", *words, *to("Printing"), "--json")
    assert code == 0 and json.loads(out)["scored"] == 6
    assert "nobody asked for" in err


def test_a_library_that_is_not_here_is_named_before_anything_is_made(command, words, here):
    code, _, err = command("run", *words, *to("Absent"))
    assert code == 3
    assert "sink=mlflow needs no_such_tracker, which is not installed" in err
    assert not (here / "results").exists()


def test_an_interrupted_run_is_ended_as_such(here, words):
    prepared = prepare([RunRequest(load_config([*words, *to("Recorder")]))])
    before = sys.stdout
    with pytest.raises(KeyboardInterrupt), trackers(prepared, print):
        raise KeyboardInterrupt
    assert sys.stdout is before
    assert [log.ends for log in LOGS] == [[({}, False)]]


def test_from_python(here, words):
    run = int_bench.run(*words, *to("Recorder"))
    (log,) = LOGS
    ((scores, whole),) = log.ends
    assert whole and scores["family.wF"] == run.scores.metrics["family"]["wF"]
    with pytest.raises(MissingAsset, match="no_such_tracker"):
        int_bench.run(*words, *to("Absent"), seed=1)


def test_own_pictures_are_told_of_and_have_no_scores(command, pairs):
    code, _, _ = command(
        "segment", str(pairs / "images"), "--prompt", "crab", "method=centre_box", *to("Recorder")
    )
    (log,) = LOGS
    assert code == 0 and len(log.steps) == 6 and log.ends == [({}, True)]


def test_a_function_is_no_tracker_and_is_not_called(command, words, tmp_path):
    made = tmp_path / "made"
    other = tmp_path / "conf" / "sink" / "other.yaml"
    other.parent.mkdir(parents=True)
    other.write_text(f"_target_: subprocess.run\nargs: [touch, {made}]\n")
    for more in ((), ("--dry-run",)):
        code, _, err = command("run", "--config-dir", other.parents[1], *words, "sink=other", *more)
        assert code == 2 and "subprocess.run is no tracker" in err and not made.exists()


def test_a_sink_without_a_class_is_a_sentence(command, words, tmp_path):
    (tmp_path / "conf" / "sink").mkdir(parents=True)
    (tmp_path / "conf" / "sink" / "bare.yaml").write_text("project: mine\n")
    code, _, err = command("run", "--config-dir", tmp_path / "conf", *words, "sink=bare")
    assert code == 2 and "sink=bare names no class" in err
