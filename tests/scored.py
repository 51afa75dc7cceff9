"""Run folders with scores, for tests of tables and comparisons: no mask, no model."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from int_bench.metrics.metrics import METRICS
from int_bench.metrics.rules import PROTOCOLS

COLUMNS = [f"{protocol}.{name}" for protocol in PROTOCOLS for name in METRICS]


def write_run(
    root: Path,
    method: str,
    scores: Sequence[Sequence[float | str]],
    dataset: str = "chameleon",
    ids: Sequence[str] | None = None,
    config: Mapping | None = None,
) -> Path:
    """A run folder of one row of scores per trial; every metric of a sample is its score.

    A text instead of a number is the status of a sample without a score.
    """
    folder = root / dataset / method / "0123456789ab"
    folder.mkdir(parents=True)
    stored = {"dataset": {"name": dataset}, "trials": len(scores), **(config or {})}
    (folder / "run.json").write_text(json.dumps({"name": method, "config": stored}))
    names = ids or [f"s{index:04d}" for index in range(len(scores[0]))]
    for trial, row in enumerate(scores):
        lines = [["id", "status", *COLUMNS, "note"]]
        for name, score in zip(names, row, strict=True):
            given = isinstance(score, str)
            cells = ["" if given else repr(float(score))] * len(COLUMNS)
            lines.append([name, score if given else "scored", *cells, ""])
        path = folder / (f"scores.{trial}.csv" if trial else "scores.csv")
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(lines)
    return folder


def around(mean: float, spread: float, n: int) -> list[float]:
    """``n`` scores with exactly this mean and nearly this standard deviation."""
    values = np.random.default_rng(7).normal(0, spread, n)
    return list(values - values.mean() + mean)
