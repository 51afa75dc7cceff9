"""What workers gain and cost on a CPU, each worker a process on a core of its own.

    OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 python -m scripts.bench.workers --only gain

``gain`` and ``poison`` start the tasks of an array themselves, so they need neither Ray nor Slurm:
the same processes, claims, records and merge, each held to one core. The gain is of throughput from
the moment at which all workers have computed a sample and been told to begin, until no shard is
left; it wants idle cores. ``poison`` compares a run of which one sample kills its process with an
undisturbed one, from the start of the processes on. ``ray`` needs Ray (``pip install
'int-bench[ray]'``).
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from int_bench.config import build_method, load_config
from int_bench.core.types import Iteration, Masks, Prediction
from int_bench.runs.executors.array_task import Task
from int_bench.runs.executors.compute import UNHEARD, OnRecord, compute
from int_bench.runs.executors.merge import merge
from int_bench.runs.executors.slurm import Slurm, keep_order
from int_bench.runs.folder import RunFolder
from int_bench.runs.kept.encoding import encoded
from int_bench.runs.layout import PARTS, Key
from int_bench.runs.prepare import prepare
from int_bench.runs.reader import Run
from int_bench.runs.records import OK, Record, Step
from int_bench.runs.variants import RunRequest

GAIN, RAY_MS, STORE_MS, POISON = 1.7, 20.0, 5.0, 2.0
"""The bars: throughput of two workers over one; CPU milliseconds a sample of the command that
drives Ray (storing included), and of the store; time with a poison sample over without."""
_TASK = "import sys; from scripts.bench.workers import serve; serve(*sys.argv[1:])"
Row = tuple[str, float, bool]
"""What was measured, and whether the bar is kept."""


class _Poisoned(Task):
    """A task that a sample kills."""

    poison = ""

    def _tell(self, what: str, key: Key) -> None:
        if what == "begin" and key[1] == self.poison:
            os.kill(os.getpid(), signal.SIGKILL)


def serve(folder: str, index: str, digest: str, core: str, poison: str) -> None:
    """Compute as a task of an array on one core; begin when told to, and say when all is done."""
    os.sched_setaffinity(0, {int(core)})
    task = _Poisoned(Path(folder), int(index), digest, frozenset(), 2)
    task.poison = poison
    task.worker.work(task.order.wanted[-1:])  # loads the models; not stored
    print("ready", flush=True)
    sys.stdin.readline()
    task.run()
    print(time.monotonic(), flush=True)


def physical_cores() -> list[int]:
    """Cores that this process may use, one of each that share a physical one first."""
    there = sorted(os.sched_getaffinity(0))
    apart: dict[str, int] = {}
    for core in there:
        siblings = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
        apart.setdefault(siblings.read_text() if siblings.is_file() else str(core), core)
    return [*apart.values(), *(core for core in there if core not in apart.values())]


class _Array:
    """A run of INT on the drawn world by tasks of an array, each on a core of its own.

    Args:
        out: where its folder is made.
        workers: how many tasks.
        words: of the configuration; the first ``limit`` images.
        poisoned: whether a sample in the middle kills its task.

    Attributes:
        started, ready, ended: seconds of one clock: before the processes, when all have their
            models, and when no shard is left.
        run: its folder, merged.
    """

    def __init__(
        self, out: Path, workers: int, words: Sequence[str], poisoned: bool = False
    ) -> None:
        config = load_config([*words, "device=cpu", f"out={out}"])
        runs = prepare([RunRequest(config)])
        order, _ = Slurm().order(runs, [build_method(config)], config, UNHEARD)
        parts = runs[0].path / PARTS / "bench"
        poison = order.wanted[len(order.wanted) // 2][2] if poisoned else ""
        self._words = (str(parts), keep_order(parts, order), poison)
        self._all_ready = threading.Barrier(workers, self._begin)
        self.started = time.monotonic()
        with ThreadPoolExecutor(workers) as pool:
            # Who ends first has seen that no shard is left; the others look once a second.
            self.ended = min(pool.map(self._attend, range(workers), physical_cores()))
        self.run = Run(runs[0].path)
        merge(self.run.path)

    def _begin(self) -> None:
        self.ready = time.monotonic()

    def _attend(self, index: int, core: int) -> float:
        """Start a task, and again whenever it is killed; when it ended."""
        folder, digest, poison = self._words
        command = [sys.executable, "-c", _TASK, folder, str(index), digest, str(core), poison]
        threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
        pipe, environment = subprocess.PIPE, {**os.environ, **threads}
        for attempt in range(4):
            with subprocess.Popen(
                command, stdin=pipe, stdout=pipe, text=True, env=environment
            ) as process:
                assert process.stdin is not None and process.stdout is not None
                if not process.stdout.readline():
                    raise RuntimeError("a task did not begin; what it printed says why")
                if attempt == 0:
                    self._all_ready.wait()
                process.stdin.write("\n")
                process.stdin.flush()
                said = process.stdout.readline()
            if said:
                return float(said)
        raise RuntimeError("a task died again and again; what it printed says why")


def gain(out: Path, words: Sequence[str], workers: int) -> Row:
    """Throughput of several workers over that of one, and whether they left the same bytes."""
    arrays = [_Array(out / str(number), number, words) for number in (1, workers)]
    hashes = {array.run.records_hash() for array in arrays}
    if len(hashes) > 1 or arrays[0].run.failures:
        raise RuntimeError(f"{workers} workers left other masks than one, or failures")
    images, times = len(arrays[0].run.records), [array.ended - array.ready for array in arrays]
    for number, seconds in zip((1, workers), times, strict=True):
        print(f"{images} images by {number}: {seconds:.1f} s, {seconds / images:.3f} s each")
    ratio, bar = times[0] / times[1], GAIN * workers / 2
    return f"{workers} workers over one (bar {bar:g})", ratio, ratio >= bar


def poisoned(out: Path, words: Sequence[str]) -> Row:
    """Time of two workers with a sample that kills its process, over that without."""
    calm, disturbed = (
        _Array(out / name, 2, words, name == "poison") for name in ("calm", "poison")
    )
    times = [array.ended - array.started for array in (calm, disturbed)]
    failures, scored = disturbed.run.failures, len(disturbed.run.masks())
    print(f"undisturbed {times[0]:.1f} s; with poison {times[1]:.1f} s, {scored} done, {failures}")
    ratio = times[1] / times[0]
    whole = scored == len(calm.run.masks()) - 1 and len(failures) == 1
    return f"time with a poison sample (bar {POISON:g})", ratio, ratio < POISON and whole


def seconds_a_sample(out: Path, *words: str, clock: Callable[[], float] = perf_counter) -> float:
    """Seconds between two stored samples of a run, on average, by a clock of this process."""
    config = load_config([*words, "device=cpu", f"out={out}"])
    times: list[float] = []

    @contextmanager
    def watch(total: int, done: int) -> Iterator[OnRecord]:
        yield lambda variant, record: times.append(clock())

    compute(prepare([RunRequest(config)]), [build_method(config)], config, watch)
    return (times[-1] - times[0]) / (len(times) - 1)


def store_milliseconds(out: Path, samples: int) -> float:
    """CPU milliseconds for storing seven encoded masks of 512 x 512 and their record."""
    rng = np.random.default_rng(0)
    soft = rng.random((16, 16), dtype=np.float32).repeat(32, 0).repeat(32, 1)
    step = Iteration(Masks(soft > 0.5, soft), "frog", (0.0, 0.0, 9.0, 9.0))
    prediction = Prediction((step,) * 6, (0,) * 6)
    content = {"kind": "run", "name": "int", "label": "int", "digest": "0" * 12, "identity": {}}
    data = {"config": {"dataset": {"name": "noise"}, "trials": 1, "limit": None}}
    with RunFolder(out, content | data) as folder:
        files = encoded(prediction, "iterations")
        started = process_time()
        for number in range(samples):
            steps = tuple(Step("frog", (0.0, 0.0, 9.0, 9.0)) for _ in range(6))
            record = Record(f"s{number}", 0, OK, prompt="frog", chosen=(0,) * 6, iterations=steps)
            folder.commit_all([(record, files)])
        return 1000 * (process_time() - started) / samples


def main() -> int:
    """Measure, print, and say by the exit code whether a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--workers", type=int, default=2, help="of the gain")
    parser.add_argument("--only", choices=["gain", "poison", "ray", "store"], default=None)
    parser.add_argument("words", nargs="*", help="of the gain and of poison: METHOD.KEY=VALUE")
    given = parser.parse_args()
    limited = ["dataset.count=1000", f"limit={given.images}"]
    cores = len(physical_cores())
    if cores < given.workers:
        parser.error(f"{given.workers} workers want as many cores, and {cores} are here")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        if given.only in (None, "store"):
            spent = store_milliseconds(out / "store", given.images)
            rows.append((f"store, CPU ms a sample (bar {STORE_MS:g})", spent, spent <= STORE_MS))
        if given.only in (None, "ray"):
            driven = ("method=centre_box", *limited, "executor=ray", "executor.workers=1")
            spent = 1000 * seconds_a_sample(out / "ray", *driven, clock=process_time)
            rows.append((f"the command, CPU ms a sample (bar {RAY_MS:g})", spent, spent <= RAY_MS))
        if given.only in (None, "gain"):
            rows.append(gain(out / "gain", [*limited, *given.words], given.workers))
        if given.only in (None, "poison"):
            rows.append(poisoned(out / "poison", [*limited, *given.words]))
    for name, value, kept in rows:
        print(f"{name:<40} {value:8.2f}  {'kept' if kept else 'MISSED'}")
    return 0 if all(kept for _, _, kept in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
