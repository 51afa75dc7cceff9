"""What ``run``, ``ablate`` and ``eval`` share: score a run folder or any masks, print the table."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from int_bench.data.dataset import Truths
from int_bench.errors import SampleError
from int_bench.metrics.protocols import protocols
from int_bench.metrics.summary import Counts, Summary
from int_bench.report.tables import Line, score_table
from int_bench.runner.evaluate import Evaluation, Missing, baselines, evaluate
from int_bench.runner.predictions import MapFolder, maps_in
from int_bench.runner.store import final_masks, read_records

_WIDTH = 140  # characters of a table that does not go to a terminal


@dataclass(frozen=True)
class Scored:
    """The scores of one method on one data set.

    Attributes:
        name: the method, as tables print it.
        dataset: the data set, as tables print it.
        folder: the run folder, or the folder of masks.
        counts: over samples and trials.
        summaries: one per protocol, the mean over trials; none without ground truth.
        floor: the trivial baselines under the same protocols.
    """

    name: str
    dataset: str
    folder: Path
    counts: Counts
    summaries: tuple[Summary, ...]
    floor: Mapping[str, tuple[Summary, ...]]

    @property
    def complete(self) -> bool:
        """Whether nothing failed and nothing is missing."""
        return self.counts.failed + self.counts.missing == 0

    def as_json(self) -> dict[str, Any]:
        """Folder, counts and unrounded metrics by protocol."""
        return {
            "run_dir": str(self.folder),
            "n": self.counts.n,
            "scored": self.counts.scored,
            "failed": self.counts.failed,
            "missing": self.counts.missing,
            "metrics": {one.protocol.name: dict(one.values) for one in self.summaries},
        }


def score_run(
    folder: Path,
    truths: Truths,
    trials: int,
    name: str,
    missing: Missing = "error",
    backend: str = "histogram",
) -> Scored:
    """Score the final masks of a run folder and write ``scores.csv`` (trial n: ``scores.n.csv``).

    Raises:
        UserError: See :func:`int_bench.runner.evaluate.evaluate`.
    """
    if not _has_truth(truths):
        return _unscored(folder, truths, trials, name)
    evaluations = [
        evaluate(truths, predictions_of(folder, trial), protocols(backend), missing)
        for trial in range(trials)
    ]
    for trial, evaluation in enumerate(evaluations):
        suffix = f".{trial}" if trial else ""
        evaluation.write_scores_csv(folder / f"scores{suffix}.csv")
    return summarise(name, truths, folder, evaluations)


def summarise(name: str, truths: Truths, folder: Path, evaluations: Sequence[Evaluation]) -> Scored:
    """The mean over the trials that have any score, the counts summed, and the floor."""
    counts = _sum([one.counts for one in evaluations])
    by_protocol = zip(*(one.summaries() for one in evaluations), strict=True)
    summaries = tuple(
        Summary(of[0].protocol, counts, _mean([one.values for one in of if one.values]))
        for of in by_protocol
    )
    floor = {str(kind): one.summaries() for kind, one in baselines(truths).items()}
    return Scored(name, truths.name, folder, counts, summaries, floor)


def predictions_of(folder: Path, trial: int) -> MapFolder:
    """The final masks of one trial that have a record, and why the others are not there."""
    records = [record for record in read_records(folder).values() if record.trial == trial]
    failures = {one.id: one.error or "failed" for one in records if one.status != "ok"}
    maps = maps_in(final_masks(folder, trial), failures)
    kept = {one.id for one in records if one.status == "ok"}
    paths = {key: path for key, path in maps.paths.items() if key in kept}
    return MapFolder(maps.folder, paths, failures)


def print_scores(scored: Sequence[Scored]) -> None:
    """The table, and where the results lie, on stdout."""
    lines = [Line(one.dataset, one.name, one.summaries) for one in scored]
    for one in {each.dataset: each for each in scored}.values():
        shown = {each.name for each in scored}
        floor = ((kind, of) for kind, of in one.floor.items() if kind not in shown)
        lines += [Line(one.dataset, kind, of, floor=True) for kind, of in floor]
    if any(line.summaries for line in lines):
        console = Console(width=None if sys.stdout.isatty() else _WIDTH)
        console.print(score_table("Scores", lines).to_rich())
    for one in scored:
        if not one.summaries:
            print(f"{one.name} on {one.dataset}: no ground truth, nothing is scored.")
        print(f"{one.name}: {one.folder}")


def print_json(
    scored: Sequence[Scored],
    seconds: float,
    counters: Mapping[str, int],
    key: str,
    more: Mapping[str, Any] | None = None,
) -> None:
    """One line of JSON: the result itself if there is one, else a list under ``key``.

    ``more`` are further reports on the whole command, by key; those that are None are left out.
    """
    shared: dict[str, Any] = {"counters": dict(counters), "seconds": round(seconds, 3)}
    shared |= {name: report for name, report in (more or {}).items() if report is not None}
    if len(scored) == 1 and key == "runs":
        print(json.dumps({**scored[0].as_json(), **shared}))
        return
    results = [{"method": one.name, "dataset": one.dataset, **one.as_json()} for one in scored]
    print(json.dumps({key: results, **shared}))


def _has_truth(truths: Truths) -> bool:
    samples = truths.samples()
    if any(sample.mask_path is not None for sample in samples):
        return True
    try:
        truths.load_mask(samples[0])
    except SampleError:
        return False
    return True


def _unscored(folder: Path, truths: Truths, trials: int, name: str) -> Scored:
    records = read_records(folder)
    keys = [(trial, sample.id) for trial in range(trials) for sample in truths.samples()]
    found = [records[key].status for key in keys if key in records]
    counts = Counts(len(keys), 0, found.count("failed"), len(keys) - len(found))
    return Scored(name, truths.name, folder, counts, (), {})


def _sum(counts: Sequence[Counts]) -> Counts:
    n, scored, failed, missing = (
        sum(getattr(one, name) for one in counts) for name in ("n", "scored", "failed", "missing")
    )
    return Counts(n, scored, failed, missing, counts[0].policy)


def _mean(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = values[0] if values else ()
    return {name: float(np.mean([one[name] for one in values])) for name in names}
