"""What ``run``, ``ablate`` and ``eval`` share: score a run folder, print the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from int_bench.data.dataset import Truths
from int_bench.metrics.summary import Counts, Summary
from int_bench.runner.evaluate import Evaluation, Missing, baselines, evaluate
from int_bench.runner.predictions import MapFolder, maps_in
from int_bench.runner.store import final_masks, read_records


@dataclass(frozen=True)
class Scored:
    """The scores of one method on one data set.

    Attributes:
        name: the method, as tables print it.
        dataset: the data set, as tables print it.
        folder: the run folder, or the folder of masks.
        trials: one evaluation per trial.
        floor: the trivial baselines under the same protocols.
    """

    name: str
    dataset: str
    folder: Path
    trials: tuple[Evaluation, ...]
    floor: Mapping[str, tuple[Summary, ...]]

    @property
    def counts(self) -> Counts:
        """Summed over trials."""
        of = [trial.counts for trial in self.trials]
        n, scored, failed, missing = (
            sum(getattr(one, name) for one in of) for name in ("n", "scored", "failed", "missing")
        )
        return Counts(n, scored, failed, missing, of[0].policy)

    @property
    def complete(self) -> bool:
        """Whether every sample of every trial was scored."""
        return self.counts.complete

    def summaries(self) -> tuple[Summary, ...]:
        """One summary per protocol: the mean over the trials that have any score."""
        by_trial = [trial.summaries() for trial in self.trials]
        return tuple(
            Summary(of[0].protocol, self.counts, _mean([one.values for one in of if one.values]))
            for of in zip(*by_trial, strict=True)
        )

    def as_json(self) -> dict[str, Any]:
        """Folder, counts and unrounded metrics by protocol."""
        counts = self.counts
        return {
            "run_dir": str(self.folder),
            "n": counts.n,
            "scored": counts.scored,
            "failed": counts.failed,
            "missing": counts.missing,
            "metrics": {one.protocol.name: dict(one.values) for one in self.summaries()},
        }


def score_run(
    folder: Path, truths: Truths, trials: int, name: str, missing: Missing = "error"
) -> Scored:
    """Score the final masks of a run folder and write its ``scores.csv``.

    Raises:
        UserError: See :func:`int_bench.runner.evaluate.evaluate`.
    """
    evaluations = [
        evaluate(truths, predictions_of(folder, trial), missing=missing) for trial in range(trials)
    ]
    for trial, evaluation in enumerate(evaluations):
        suffix = f".{trial}" if trial else ""
        evaluation.write_scores_csv(folder / f"scores{suffix}.csv")
    return Scored(name, truths.name, folder, tuple(evaluations), floor_of(truths))


def predictions_of(folder: Path, trial: int) -> MapFolder:
    """The final masks of one trial that have a record, and why the others are not there."""
    records = [record for record in read_records(folder).values() if record.trial == trial]
    failures = {one.id: one.error or "failed" for one in records if one.status != "ok"}
    return maps_in(final_masks(folder, trial), failures)


def floor_of(truths: Truths) -> dict[str, tuple[Summary, ...]]:
    """The trivial baselines' summaries on the same samples."""
    return {kind: evaluation.summaries() for kind, evaluation in baselines(truths).items()}


def _mean(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = values[0] if values else ()
    return {name: float(np.mean([one[name] for one in values])) for name in names}
