"""What ``run``, ``ablate`` and ``eval`` share: score a run folder or any masks, print the table."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from int_bench.data.dataset import Truths
from int_bench.errors import SampleError
from int_bench.metrics.rules import protocols
from int_bench.metrics.summary import Counts, Summary
from int_bench.report.tables import Line, score_table
from int_bench.runs.reader import Run
from int_bench.scoring.evaluate import Evaluation, Missing, evaluate_all
from int_bench.scoring.predictions import KINDS, MapFolder, Predictions, Trivial

_WIDTH = 140  # characters of a table that does not go to a terminal
Floor = Mapping[str, tuple[Summary, ...]]
"""The summaries of the trivial answers by name."""


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
        remarks: what is worth knowing about files that were read.
    """

    name: str
    dataset: str
    folder: Path
    counts: Counts
    summaries: tuple[Summary, ...]
    floor: Floor
    remarks: tuple[str, ...] = ()

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


@dataclass(frozen=True)
class Finished:
    """A run folder to score: where it is, what tables call it, and how many trials it has."""

    folder: Path
    name: str
    trials: int = 1


@dataclass(frozen=True)
class Rules:
    """What to do about missing samples, and what computes the measures."""

    missing: Missing = "error"
    backend: str = "histogram"


def score_runs(truths: Truths, runs: Sequence[Finished], rules: Rules) -> list[Scored]:
    """Score the final masks of runs on one data set; ``scores.csv`` (trial n: ``scores.n.csv``).

    Every ground truth is decoded and prepared once for all runs, trials and trivial answers.

    Raises:
        UserError: See :func:`int_bench.scoring.evaluate.evaluate`.
    """
    if not _has_truth(truths):
        return [_unscored(truths, run) for run in runs]
    maps = [predictions_of(run.folder, trial) for run in runs for trial in range(run.trials)]
    found, floor = evaluate_with_floor(truths, maps, rules)
    scored, left = [], iter(found)
    for run in runs:
        evaluations = list(islice(left, run.trials))
        for trial, evaluation in enumerate(evaluations):
            suffix = f".{trial}" if trial else ""
            evaluation.write_scores_csv(run.folder / f"scores{suffix}.csv")
        scored.append(summarise(run, truths.name, evaluations, floor))
    return scored


def evaluate_with_floor(
    truths: Truths, maps: Sequence[MapFolder], rules: Rules
) -> tuple[list[Evaluation], Floor]:
    """The evaluations of some maps, and the summaries of the trivial answers, in one pass."""
    everything: list[Predictions] = [*maps, *(Trivial(kind) for kind in KINDS)]
    found = evaluate_all(truths, everything, protocols(rules.backend), rules.missing)
    floor = {one.predictions: one.summaries() for one in found[len(maps) :]}
    return found[: len(maps)], floor


def summarise(
    run: Finished, dataset: str, evaluations: Sequence[Evaluation], floor: Floor
) -> Scored:
    """The mean over the trials that have any score, and the counts summed."""
    counts = _sum([one.counts for one in evaluations])
    by_protocol = zip(*(one.summaries() for one in evaluations), strict=True)
    summaries = tuple(
        Summary(of[0].protocol, counts, _mean([one.values for one in of if one.values]))
        for of in by_protocol
    )
    remarks = tuple(dict.fromkeys(text for one in evaluations for text in one.remarks))
    return Scored(run.name, dataset, run.folder, counts, summaries, floor, remarks)


def predictions_of(folder: Path, trial: int) -> MapFolder:
    """The final masks of one trial that have a record, and why the others are not there."""
    run = Run(folder)
    failures = {key: why for (of, key), why in run.failures.items() if of == trial}
    return MapFolder(run.mask_folder / str(trial) / "final", run.masks(trial), failures)


def remarks_of(scored: Sequence[Scored]) -> tuple[str, ...]:
    """What is worth knowing about the files that were read, each thing once."""
    return tuple(dict.fromkeys(text for one in scored for text in one.remarks))


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


def _unscored(truths: Truths, run: Finished) -> Scored:
    records = Run(run.folder).records
    keys = [(trial, sample.id) for trial in range(run.trials) for sample in truths.samples()]
    found = [records.status(key) for key in keys if key in records]
    counts = Counts(len(keys), 0, found.count("failed"), len(keys) - len(found))
    return Scored(run.name, truths.name, run.folder, counts, (), {})


def _sum(counts: Sequence[Counts]) -> Counts:
    n, scored, failed, missing = (
        sum(getattr(one, name) for one in counts) for name in ("n", "scored", "failed", "missing")
    )
    return Counts(n, scored, failed, missing, counts[0].policy)


def _mean(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = values[0] if values else ()
    return {name: float(np.mean([one[name] for one in values])) for name in names}
