"""Each benchmark at its smallest size: it runs, its gates pass, and a missed bar is an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.bench import engine as bench_engine
from scripts.bench import metrics as bench_metrics
from scripts.bench import scoring as bench_scoring
from scripts.bench.report import Row, finish
from scripts.bench.timing import Pair, in_turn

SIZES: dict[str, tuple[Any, list[str]]] = {
    "engine": (bench_engine, []),
    "scoring": (bench_scoring, []),
    "metrics": (bench_metrics, []),
}


@pytest.mark.parametrize("name", SIZES)
def test_gates_pass_at_the_smallest_size(name: str, tmp_path: Path) -> None:
    module, words = SIZES[name]
    assert module.main(["--tiny", "--out", str(tmp_path), *words]) == 0
    written = json.loads((tmp_path / f"{name}.json").read_text())
    assert written["passed"]
    assert sum(row["bar"] is not None for row in written["rows"]) >= 1


@pytest.mark.parametrize(
    ("sense", "bar", "passed"),
    [(">=", 4.0, False), (">=", 2.0, True), ("<=", 2.0, False), ("==", 3.0, True)],
)
def test_a_bar_decides_the_exit_code(sense: str, bar: float, passed: bool, tmp_path: Path) -> None:
    row = Row("speed", 3.0, "x", sense, bar)
    assert row.passed is passed
    assert finish("one", [row], {}, tmp_path) == int(not passed)


def test_sides_run_in_turn_and_the_ratio_is_the_median() -> None:
    order: list[str] = []
    ticks = iter([0, 4, 4, 5, 0, 9, 0, 3, 0, 8, 0, 1])
    pair, a, b = in_turn(
        lambda: order.append("slow"), lambda: order.append("fast"), 3, lambda: next(ticks)
    )
    assert order == ["slow", "fast"] * 3
    assert pair == Pair((4, 9, 8), (1, 3, 1))
    assert pair.ratio == 4
    assert a is None and b is None
