"""Ray itself: any number of workers leaves the same folder, whoever dies."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from int_bench.config import build_method
from int_bench.engine.trace import Trace
from int_bench.errors import MissingAsset, UsageError
from int_bench.runs.executors import worker
from int_bench.runs.executors.compute import compute
from int_bench.runs.executors.status import Pulse, status_of
from int_bench.runs.prepare import prepare, with_all_models
from int_bench.runs.reader import Run
from tests.runs.executors.bench import content, go, pictures, request
from tests.runs.executors.hazards import HANGS, KILLS

pytestmark = pytest.mark.services
if os.environ.get("CI") != "true":
    pytest.importorskip("ray")
RAY = ["executor=ray", "method.iterations=2"]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("scenes"), 12)


@pytest.fixture(scope="module")
def whole(scenes, tmp_path_factory):
    """What one process leaves behind, undisturbed."""
    return content(go(request(scenes, tmp_path_factory.mktemp("inline"), *RAY[1:]))[0])


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_any_number_of_workers_leaves_the_same_folder(
    scenes, whole, tmp_path, workers, monkeypatch
):
    monkeypatch.setattr(Pulse, "SECONDS", 0.0)
    offline = {"detector": "tests.runs.executors.hazards.Offline"}
    asked = request(scenes, tmp_path, *RAY, f"executor.workers={workers}", models=offline)
    (run,) = prepare([asked])
    seen = []

    @contextmanager
    def watch(total, done):
        yield lambda variant, record: seen.append(status_of(run.path))

    trace = tmp_path / "trace.json"
    with Trace(trace) as observe:
        folder, done = go(asked, observe=observe, watch=watch)
    assert content(folder) == whole
    assert all(len(status.workers) == 1 for status in seen)
    assert any(status.running for status in seen) and any(status.left for status in seen)
    events = json.loads(trace.read_text())
    names = {e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert names and names <= {f"ray-{number}" for number in range(workers)}
    counted = Counter()
    for record in Run(folder).records.values():
        counted.update(record.counters)
    assert done.work.images == 12
    assert done.counters["vlm.answer.rows"] == counted["vlm.answer.rows"] > 0


def test_runs_of_a_sweep_are_each_what_one_process_leaves(scenes, tmp_path):
    def swept(out, *words):
        asked = [request(scenes, out, *words, f"method.iterations={count}") for count in (1, 2)]
        runs = prepare(asked)
        methods = [build_method(run.config) for run in asked]
        compute(runs, methods, with_all_models(runs))
        return [content(run.path) for run in runs]

    ray = swept(tmp_path / "ray", "executor=ray", "executor.workers=2")
    assert ray == swept(tmp_path / "inline") and len(ray) == 2


def actors() -> list[int]:
    """The processes of this test's actors that are at work."""
    raylets = children(os.getpid(), "raylet")
    return [pid for parent in raylets for pid in children(parent, "ray::Actor.work")]


def children(parent: int, name: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes().decode(errors="replace")
            above = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        if above == parent and name in command.split("\0")[0]:
            found.append(int(path.name))
    return found


def test_workers_that_are_killed_at_random_change_nothing(scenes, tmp_path):
    """Six kills; chance decides which samples they meet."""
    chance, killed, over = random.Random(7), [], threading.Event()

    def kill():
        while not over.wait(chance.uniform(0.3, 0.9)) and len(killed) < 6:
            there = actors()
            if there and (victim := chance.choice(there)) not in killed:
                killed.append(victim)
                os.kill(victim, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    slow = {"detector": "tests.runs.executors.hazards.Slow"}
    try:
        asked = request(scenes, tmp_path, *RAY, "executor.workers=2", models=slow)
        folder, _ = go(asked)
    finally:
        over.set()
        thread.join()
    assert killed
    # A sample that two kills met was given up; the next command computes it.
    go(request(scenes, tmp_path, *RAY[1:], models=slow))
    assert content(folder) == content(
        go(request(scenes, tmp_path / "whole", RAY[1], models=slow))[0]
    )


DRIVER = """
import sys
from pathlib import Path
from tests.runs.executors.bench import go, request
slow = {"detector": "tests.runs.executors.hazards.Slow"}
go(request(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:], models=slow))
"""


def test_a_command_that_is_killed_goes_on_where_it_was(scenes, tmp_path):
    """Four kills of the driver, each after some more samples; its workers end with it."""
    slow = {"detector": "tests.runs.executors.hazards.Slow"}
    words = [*RAY, "executor.workers=2"]
    command = [sys.executable, "-c", DRIVER, scenes, tmp_path / "out", *words]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    for done in (1, 4, 7, 10):
        with subprocess.Popen(command, env=environment) as driver:
            while driver.poll() is None and lines(tmp_path / "out") < done:
                time.sleep(0.02)
            driver.kill()
        assert lines(tmp_path / "out") >= done
    folder, _ = go(request(scenes, tmp_path / "out", *words, models=slow))
    whole, _ = go(request(scenes, tmp_path / "whole", RAY[1], models=slow))
    assert content(folder) == content(whole)


def lines(out: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in out.rglob("*.jsonl"))


def test_poison_and_a_hang_are_recorded_by_name_and_the_rest_is_computed(tmp_path):
    scenes = pictures(tmp_path / "scenes", 20, {3: KILLS, 11: HANGS})
    limits = ["executor.workers=2", "executor.sample_seconds=20", "executor.start_seconds=30"]
    folder, _ = go(request(scenes, tmp_path / "out", *RAY, *limits))
    failures = Run(folder).failures
    assert sorted(failures) == [(0, "p003"), (0, "p011")]
    assert failures[0, "p003"].startswith("It ended two workers that computed it; see logs/ray-")
    assert "executor.sample_seconds=20" in failures[0, "p011"]
    logs = b"".join(path.read_bytes() for path in (folder / "logs").iterdir())
    assert logs.count(b"the last words") == 2
    assert len(Run(folder).masks()) == 18


def test_workers_of_another_version_or_another_run_are_refused_by_name(
    scenes, tmp_path, monkeypatch
):
    version = worker._version
    with monkeypatch.context() as patch:
        patch.setattr(worker, "_version", lambda: "0.0.1 elsewhere")
        with pytest.raises(UsageError, match=r"has int-bench .* and this command is 0\.0\.1 else"):
            go(request(scenes, tmp_path, *RAY, "executor.workers=1"))
    assert worker._version is version
    order_of = worker.Order.of
    other = lambda *given, **more: replace(order_of(*given, **more), digests=("0" * 12,))  # noqa: E731
    monkeypatch.setattr(worker.Order, "of", other)
    with pytest.raises(UsageError, match=r"is run \w{12}, and 000000000000 where the command"):
        go(request(scenes, tmp_path, *RAY, "executor.workers=1"))


def test_an_address_that_does_not_answer_is_a_sentence(scenes, tmp_path):
    started = time.monotonic()
    with pytest.raises(MissingAsset, match=r"No Ray cluster answers at 127\.0\.0\.1:9 "):
        go(request(scenes, tmp_path, *RAY, "executor.address=127.0.0.1:9"))
    assert time.monotonic() - started < 60
