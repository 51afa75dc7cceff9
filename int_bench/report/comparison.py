"""Two runs on the same samples: what changed, how surely, and on which samples most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from int_bench.core.text import many
from int_bench.errors import UsageError
from int_bench.metrics.metrics import metric_of
from int_bench.metrics.rules import PROTOCOLS
from int_bench.report.columns import stored_names
from int_bench.report.statistics import MARGIN, Paired, images_needed, paired
from int_bench.report.tables import Cell, Column, Row, Table, with_interval
from int_bench.scoring.results import RunScores

COLUMNS = (
    Column("metric", "metric", numeric=False),
    Column("a", "A", 4),
    Column("b", "B", 4),
    Column("difference", "B - A", 4, interval=True),
    Column("p", "p", 4),
    Column("wins", "B better"),
    Column("losses", "B worse"),
    Column("ties", "equal"),
    Column("n", "n"),
    Column("detectable", "detectable", 4),
)
CHANGED = (
    Column("id", "sample", numeric=False),
    Column("a", "A", 4),
    Column("b", "B", 4),
    Column("change", "B - A", 4),
    Column("better", "better", numeric=False),
)


@dataclass(frozen=True)
class Comparison:
    """Run B against run A.

    Attributes:
        a: the run that is compared with.
        b: the other.
        ids: the samples with a score in both, in the order of A.
        left_out: those that are in one of them only, or have a score in one only.
        pairs: the statistics by metric, the asked one first.
        seed: of the resampling.
    """

    a: RunScores
    b: RunScores
    ids: tuple[str, ...]
    left_out: tuple[str, ...]
    pairs: dict[str, Paired]
    seed: int = 0

    @property
    def metric(self) -> str:
        """The metric that was asked for."""
        return next(iter(self.pairs))

    def table(self) -> Table:
        """One row per metric."""
        rows = []
        for metric, pair in self.pairs.items():
            cells: dict[str, Cell] = {
                "metric": metric,
                "a": self._mean(self.a, metric),
                "b": self._mean(self.b, metric),
                **with_interval("difference", pair.difference, pair.interval),
                "p": pair.p,
                "wins": pair.wins,
                "losses": pair.losses,
                "ties": pair.ties,
                "n": pair.n,
                "detectable": pair.detectable,
            }
            rows.append(Row(cells, ranked=False))
        title = f"B = {_named(self.b)} against A = {_named(self.a)}"
        return Table(title, COLUMNS, tuple(rows), tuple(self._notes()), "protocol")

    def changes(self, most: int) -> Table:
        """The samples that changed most under the metric, the largest change first."""
        before, after = (run.by_sample(self.metric) for run in (self.a, self.b))
        sign = -1 if metric_of(self.metric).lower_is_better else 1
        ordered = sorted(self.ids, key=lambda key: -abs(after[key] - before[key]))
        rows = []
        for key in ordered[:most]:
            change = after[key] - before[key]
            better = "B" if sign * change > 0 else "A" if change else None
            cells: dict[str, Cell] = {"id": key, "a": before[key], "b": after[key]}
            rows.append(Row({**cells, "change": change, "better": better}, ranked=False))
        return Table(f"Changed most in {self.metric}", CHANGED, tuple(rows), (), "protocol")

    def as_json(self, most: int) -> dict[str, Any]:
        """All of it, unrounded."""
        return {
            "a": {"run_dir": str(self.a.folder), "method": self.a.method},
            "b": {"run_dir": str(self.b.folder), "method": self.b.method},
            "dataset": self.a.dataset,
            "n": len(self.ids),
            "left_out": list(self.left_out),
            "metrics": {str(row.cells["metric"]): dict(row.cells) for row in self.table().rows},
            "changed": [dict(row.cells) for row in self.changes(most).rows],
        }

    def _mean(self, run: RunScores, metric: str) -> float:
        scores = run.by_sample(metric)
        return float(np.mean([scores[key] for key in self.ids]))

    def _notes(self) -> list[str]:
        names = dict.fromkeys(metric.partition(".")[0] for metric in self.pairs)
        pair = self.pairs[self.metric]
        notes = [PROTOCOLS[name].text for name in names]
        notes += [
            f"B - A: mean over samples, 95 % interval (BCa bootstrap, seed {self.seed}); p:"
            " two-sided paired permutation test of it; not corrected for the number of metrics",
            "detectable: the smallest true difference that n samples with this spread show at 5 %"
            " in 80 % of the cases",
        ]
        if pair.sd:
            needed = images_needed(MARGIN, pair.sd)
            notes.append(
                f"to show a difference of {MARGIN:g} in {self.metric} takes {needed} samples"
            )
        for name, run in (("A", self.a), ("B", self.b)):
            notes += [f"{name}: {stamp}" for stamp in run.stamps]
        if self.left_out:
            notes.append(
                f"LEFT OUT: {many(len(self.left_out), 'sample')} without a score in both runs"
            )
        if self.a.dataset != self.b.dataset:
            notes.append(f"A is on {self.a.dataset}, B on {self.b.dataset}: matched by id")
        return notes


def compare(
    a: RunScores, b: RunScores, metric: str, common: bool = False, seed: int = 0
) -> Comparison:
    """Compare two runs in a metric and in those that tables print under its protocol.

    Args:
        a: the run that is compared with.
        b: the other.
        metric: ``<protocol>.<variant>``.
        common: whether to compare on the samples that both have a score of, where they differ.
        seed: of the resampling.

    Raises:
        UsageError: the runs are of different samples and ``common`` is False, or share none, or
            lack the metric.
    """
    for run in (a, b):
        if metric not in run.values:
            raise UsageError(f"{run.folder} has no scores of {metric}; score it again.")
    if a.dataset != b.dataset and not common:
        raise UsageError(
            f"The runs are on different data sets, {a.dataset} and {b.dataset}; to match their"
            " samples by id, add --common."
        )
    mine, theirs = a.by_sample(metric), b.by_sample(metric)
    everything = dict.fromkeys((*a.ids, *b.ids))
    ids = tuple(key for key in mine if key in theirs)
    left_out = tuple(key for key in everything if key not in mine or key not in theirs)
    if not ids:
        raise UsageError(f"{_named(a)} and {_named(b)} share no scored sample.")
    if left_out and not common:
        raise UsageError(
            f"{len(left_out)} of {len(everything)} samples have no score in both runs"
            f" ({_examples(left_out)}); to compare on the other {len(ids)}, add --common."
        )
    protocol = metric.partition(".")[0]
    names = dict.fromkeys((metric, *stored_names(protocol, {a.task, b.task}).values()))
    pairs = {name: pair_up(a, b, name, seed) for name in names}
    kept = {name: pair for name, pair in pairs.items() if pair is not None}
    return Comparison(a, b, ids, left_out, kept, seed)


def pair_up(base: RunScores, new: RunScores, metric: str, seed: int = 0) -> Paired | None:
    """Compare two runs on the samples that have a score in both; None if there is none."""
    if metric not in base.values or metric not in new.values:
        return None
    before, after = base.by_sample(metric), new.by_sample(metric)
    ids = [key for key in before if key in after]
    if not ids:
        return None
    pairs = np.array([[before[key], after[key]] for key in ids])
    return paired(pairs[:, 0], pairs[:, 1], metric_of(metric).lower_is_better, seed)


def _named(run: RunScores) -> str:
    return f"{run.title} on {run.dataset} ({run.folder.name})"


def _examples(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
