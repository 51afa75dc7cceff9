"""The four metrics of the paper's tables against PySODMetrics, from memory and from PNG files.

    OMP_NUM_THREADS=1 python -m scripts.bench.metrics

MAE, adaptive F, mean E and S of 256 maps of 400 x 500 pixels, every ground truth prepared anew.
CPU seconds of one thread, both in turn, median of ratios. A second row reads the files too: the
library's side with OpenCV, as its documentation does, ours as ``int-bench eval`` does, with Pillow
and all checks of a file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from int_bench.core.types import HardMask
from scripts.bench import maps
from scripts.bench.report import ROOT, Row, finish
from scripts.bench.timing import Pair, in_turn, one_thread


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="smallest sizes; no bars on time")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "bench")
    given = parser.parse_args(arguments)
    one_thread()
    count, size, rounds = (4, (40, 50), 1) if given.tiny else (256, (400, 500), 3)
    cases = maps.draw(count, size)
    maps.library(cases[:2]), maps.ours(_decoded(cases[:2]))  # warm up
    memory, theirs, mine = in_turn(
        lambda: maps.library(cases), lambda: maps.ours(_decoded(cases)), rounds
    )
    with TemporaryDirectory() as folder:
        files = maps.write(cases, Path(folder))
        disk, read, also = in_turn(
            lambda: maps.library(file.by_opencv() for file in files),
            lambda: maps.ours(file.by_us() for file in files),
            rounds,
        )
    gap = max(maps.gap(theirs, mine), maps.gap(read, also))
    rows = [
        *_times("from memory", memory, count, None if given.tiny else 7.0),
        *_times("from PNG", disk, count, None if given.tiny else 4.0),
        Row("largest difference of a metric of a map", gap, "", "<=", 1e-12),
    ]
    sizes = {"maps": count, "size": size, "rounds": rounds, "tiny": given.tiny}
    return finish("metrics", rows, sizes, given.out)


def _decoded(cases: Sequence[maps.Case]) -> Iterator[tuple[maps.Codes, HardMask]]:
    return ((prediction, truth > 128) for prediction, truth in cases)


def _times(where: str, pair: Pair, count: int, bar: float | None) -> list[Row]:
    return [
        Row(f"PySODMetrics, {where}, a map", 1e3 * min(pair.slow) / count, "ms"),
        Row(f"int-bench, {where}, a map", 1e3 * min(pair.fast) / count, "ms"),
        Row(f"times faster, {where}", pair.ratio, "x", ">=", bar),
    ]


if __name__ == "__main__":
    sys.exit(main())
