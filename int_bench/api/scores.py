"""Anybody's masks against ground truth, from Python."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from int_bench.data.dataset import SampleFile, Truths
from int_bench.data.folders import PairedFolders
from int_bench.errors import MissingAsset
from int_bench.metrics.rules import PROTOCOLS
from int_bench.metrics.summary import Counts, Summary, total
from int_bench.report.columns import of_tasks
from int_bench.scoring.evaluate import Missing, Row, summarise
from int_bench.scoring.predictions import MapFolder, maps_in
from int_bench.scoring.score import Rules, evaluate_with_floor

Metrics = Mapping[str, Mapping[str, float]]
"""Unrounded numbers by protocol (``native``, ``family``) and measure (``MAE``, ``S``, ...)."""


@dataclass(frozen=True)
class Scores:
    """What some masks reach on a data set.

    Attributes:
        name: of the masks.
        counts: how many samples there are, were scored, failed and are missing, over all trials.
        metrics: the numbers of the data set, means over images of their means over trials; empty
            for a protocol if nothing was scored.
        samples: the numbers of each scored sample, means over its trials.
        floor: the numbers of the trivial answers: ``empty``, ``full``, ``centre_box``.
    """

    name: str
    counts: Counts
    metrics: Metrics
    samples: Mapping[str, Metrics]
    floor: Mapping[str, Metrics]

    def __str__(self) -> str:
        """The four columns of the papers under each protocol, the floor below."""
        counts = self.counts
        head = f"{counts.scored} of {counts.n} scored, {counts.failed} failed"
        lines = [f"{self.name}: {head}, {counts.missing} missing"]
        for protocol, rules in PROTOCOLS.items():
            names = [column.variant(rules) for column in of_tasks()]
            rows = {self.name: self.metrics, **self.floor}
            width = max(map(len, rows))
            for row, metrics in rows.items():
                values = metrics.get(protocol, {})
                cells = (f"{name} {values[name]:.3f}" for name in names if name in values)
                lines.append(f"  {protocol:<7} {row:<{width}} {'  '.join(cells)}")
        return "\n".join(lines)


def score(
    *, pred: str | os.PathLike[str], gt: str | os.PathLike[str], missing: Missing = "error"
) -> Scores:
    """Score a folder of masks or maps against one of ground truth; files are paired by name.

    Args:
        pred: image files (0..255) or ``.npy`` (0..1), of any size.
        gt: masks, foreground above 128.
        missing: what to do where a map is missing: ``error``, ``empty`` (it counts as an empty
            mask) or ``skip``.

    Raises:
        MissingAsset: a folder is not there or holds nothing.
        SampleError: a map is missing, under ``error``.
        UsageError: two files have the same name.
    """
    places = {"pred": Path(pred).expanduser(), "gt": Path(gt).expanduser()}
    for word, place in places.items():
        if not place.is_dir():
            raise MissingAsset(f"{word}={place}: there is no such folder.")
    truths = PairedFolders(name=places["gt"].name, images=None, masks=str(places["gt"].absolute()))
    maps = maps_in(places["pred"], ids=[sample.id for sample in truths.samples()])
    return scores_of(places["pred"].name, truths, [maps], truths.samples(), missing)


def scores_of(
    name: str,
    truths: Truths,
    trials: Sequence[MapFolder],
    samples: Sequence[SampleFile],
    missing: Missing = "error",
) -> Scores:
    """The scores of maps over their trials, and of the trivial answers, in one pass over the truth.

    Nothing is stored: `int-bench eval` keeps what tables are made of.
    """
    evaluations, floor = evaluate_with_floor(truths, trials, Rules(missing=missing), samples)
    rows: dict[str, list[Row]] = {}
    for row in (row for evaluation in evaluations for row in evaluation.rows if row.scores):
        rows.setdefault(row.id, []).append(row)
    return Scores(
        name,
        total([evaluation.counts for evaluation in evaluations]),
        _metrics(summarise(evaluations)),
        {sample.id: _means(rows[sample.id]) for sample in samples if sample.id in rows},
        {kind: _metrics(summaries) for kind, summaries in floor.items()},
    )


def _metrics(summaries: Sequence[Summary]) -> Metrics:
    return {summary.protocol.name: summary.values for summary in summaries}


def _means(rows: Sequence[Row]) -> Metrics:
    """The numbers of one sample, means over the trials in which it has a score."""
    return {
        protocol: {
            name: sum(row.scores[protocol].measures.values[name] for row in rows) / len(rows)
            for name in score.measures.values
        }
        for protocol, score in rows[0].scores.items()
    }
