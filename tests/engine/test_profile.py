"""The trace: valid JSON, three tracks, whole after an interruption, and free when it is off."""

from __future__ import annotations

import itertools
import json
import threading

import pytest

from int_bench.engine.broker import Broker
from int_bench.engine.trace import TRACKS, Trace
from int_bench.errors import MissingAsset, UsageError
from int_bench.runs.execute import Variant, run
from tests.runs.test_run import Failing, Noise, Steps, plan_of
from tests.runs.test_store import opened


def traced(folder, method=None):
    """The events of a run of six samples."""
    path = folder / "made" / "trace.json"
    with Trace(path) as trace, opened(folder / "run") as store:
        broker = Broker({"inpainter": Noise()}, max_batch=4, observe=trace)
        run(plan_of(), [Variant("steps", method or Steps(), store)], broker, observe=trace)
        counters = broker.counters
    return json.loads(path.read_text()), counters


def on(events, track):
    return [e for e in events if e["ph"] == "X" and e["tid"] == TRACKS.index(track)]


def test_every_call_step_and_commit_is_an_event(tmp_path):
    events, counters = traced(tmp_path)
    calls = on(events, "models")
    assert len(calls) == counters["inpainter.inpaint.calls"]
    assert sum(e["args"]["rows"] for e in calls) == counters["inpainter.inpaint.rows"] == 36
    assert {e["name"] for e in calls} == {"inpainter.inpaint"}
    samples = [f"s{index}" for index in range(6)]
    assert [e["name"] for e in on(events, "storage")] == samples
    assert {e["name"] for e in on(events, "methods")} == set(samples)
    assert all(e["ts"] >= 0 and e["dur"] >= 0 for e in events if e["ph"] == "X")
    heads = [e["args"]["name"] for e in events if e["ph"] == "M"]
    assert heads == list(TRACKS)


def test_events_of_a_track_do_not_overlap(tmp_path):
    events, _ = traced(tmp_path)
    for track in TRACKS:
        spans = [(e["ts"], e["ts"] + e["dur"]) for e in on(events, track)]
        pairs = itertools.pairwise(spans)
        assert all(end <= start + 0.2 for (_, end), (start, _) in pairs)  # rounded to 0.1 us


def test_an_error_leaves_a_whole_file(tmp_path):
    with pytest.raises(MissingAsset):
        traced(tmp_path, Failing(MissingAsset("gone")))
    events = json.loads((tmp_path / "made" / "trace.json").read_text())
    assert on(events, "models")


def test_a_killed_run_leaves_what_the_format_calls_complete(tmp_path):
    trace = Trace(tmp_path / "trace.json")
    trace("models", "vlm.answer", 0.0, 1.0, {"rows": 1})
    trace._file.flush()
    text = (tmp_path / "trace.json").read_text()
    assert json.loads(text + "]")[-1]["dur"] == 1e6
    trace.__exit__(None, None, None)


def test_threads_do_not_cut_each_others_events(tmp_path):
    def write():
        for number in range(200):
            trace("methods", str(number), 0.0, 0.0, {})

    with Trace(tmp_path / "trace.json") as trace:
        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(json.loads((tmp_path / "trace.json").read_text())) == len(TRACKS) + 800


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(UsageError, match="cannot be written"):
        Trace(tmp_path)


def test_the_command_writes_it_and_names_it_for_resuming(command, here):
    code, _, err = command("run", "method=full", "--limit", "2", "--profile", "trace.json")
    assert code == 0, err
    assert [e["name"] for e in on(json.loads((here / "trace.json").read_text()), "storage")]
    code, _, err = command("run", "method=full", "--limit", "2", "--profile", here)
    assert code == 2 and "cannot be written" in err
