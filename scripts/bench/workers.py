"""What workers gain and cost on a CPU: two of Ray against one, Ray's and the store's share.

    OMP_NUM_THREADS=1 python -m scripts.bench.workers

Needs Ray (``pip install 'int-bench[ray]'``) and, for the gain, two idle cores. Times count from the
first stored sample to the last, so that neither starting Ray nor loading models is in them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from int_bench.config import build_method, load_config
from int_bench.core.types import Iteration, Masks, Prediction
from int_bench.runs.executors.compute import OnRecord, compute
from int_bench.runs.folder import RunFolder
from int_bench.runs.kept.encoding import encoded
from int_bench.runs.prepare import prepare
from int_bench.runs.records import OK, Record, Step
from int_bench.runs.variants import RunRequest

GAIN, RAY_MS, STORE_MS = 1.7, 20.0, 5.0
"""The bars: two workers over one; CPU milliseconds a sample of the command
that drives Ray (storing included), and of the store."""


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
    parser.add_argument("--only", choices=["gain", "ray", "store"], default=None)
    given = parser.parse_args()
    limit = f"limit={given.images}"
    rows: list[tuple[str, float, bool]] = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        if given.only in (None, "store"):
            spent = store_milliseconds(out / "store", given.images)
            rows.append((f"store, CPU ms a sample (bar {STORE_MS:g})", spent, spent <= STORE_MS))
        if given.only in (None, "ray"):
            words = ("method=centre_box", "dataset.count=1000", limit)
            driven = (*words, "executor=ray", "executor.workers=1")
            spent = 1000 * seconds_a_sample(out / "ray", *driven, clock=process_time)
            rows.append((f"the command, CPU ms a sample (bar {RAY_MS:g})", spent, spent <= RAY_MS))
        if given.only in (None, "gain"):
            words = ("dataset.count=1000", limit, "executor=ray")
            one, two = (
                seconds_a_sample(out / f"gain{n}", *words, f"executor.workers={n}") for n in (1, 2)
            )
            rows.append((f"two workers over one (bar {GAIN:g})", one / two, one / two >= GAIN))
    for name, value, kept in rows:
        print(f"{name:<40} {value:8.2f}  {'kept' if kept else 'MISSED'}")
    return 0 if all(kept for _, _, kept in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
