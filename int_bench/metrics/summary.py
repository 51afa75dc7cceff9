"""From the scores of samples to the numbers of a data set: the one estimator of a mean.

Every mean that is printed, stored or compared is made here, whoever asks for it, so that two
commands cannot print two numbers of the same files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from int_bench.core.types import Values
from int_bench.metrics.metrics import METRICS, Measures, Metric
from int_bench.metrics.rules import ScoringProtocol


@dataclass(frozen=True)
class Counts:
    """The denominator: how many samples there are, and what became of them.

    ``n`` is the number of samples of the data set that were asked for, over all ``trials``.
    ``scored`` of them had a usable prediction, ``failed`` have a reason why they have none,
    ``missing`` have neither. ``policy`` says what the means do about the latter two: leave them out
    (``error``, ``skip``) or count them as empty predictions (``empty``).
    """

    n: int
    scored: int
    failed: int
    missing: int
    policy: str = "error"
    trials: int = 1

    @property
    def complete(self) -> bool:
        """True if every sample was scored."""
        return self.scored == self.n

    @property
    def images(self) -> int:
        """How many samples were asked for, each once."""
        return self.n // self.trials

    def as_json(self) -> dict[str, int]:
        """The numbers, over all trials, and the number of trials."""
        return {
            "n": self.n,
            "scored": self.scored,
            "failed": self.failed,
            "missing": self.missing,
            "trials": self.trials,
        }


def total(trials: Sequence[Counts]) -> Counts:
    """The counts of all trials of a run together."""
    n, scored, failed, missing = (
        sum(getattr(counts, name) for counts in trials)
        for name in ("n", "scored", "failed", "missing")
    )
    return Counts(n, scored, failed, missing, trials[0].policy, len(trials))


@dataclass(frozen=True)
class Summary:
    """The numbers of one set of predictions under one protocol.

    ``values`` maps the names of ``METRICS`` to dataset-level numbers and is empty if nothing was
    scored.
    """

    protocol: ScoringProtocol
    counts: Counts
    values: Mapping[str, float]


def sample_means(scores: Values) -> Values:
    """The score of each sample: its mean over the trials in which it has one.

    Args:
        scores: (trials, n) or (trials, n, k), NaN where a sample of a trial has no score: it failed
            or its prediction is missing, and the policy leaves it out. Under the policy ``empty``
            it has the score of an empty mask and is like any other.

    Returns:
        (m) or (m, k) float64, of the m samples that have a score in any trial, in their order.
    """
    table = scores.reshape(*scores.shape[:2], -1)
    scored = ~np.isnan(table).all(axis=2)
    means: Values = np.nanmean(table[:, scored.any(axis=0)], axis=0)
    return means.reshape(-1, *scores.shape[2:])


def mean(scores: Values) -> float | None:
    """A data set's number: the mean over samples of their means over trials.

    Every sample that has a score in any trial weighs the same, in however many trials it has one;
    the others are not in the mean. Reading: the papers say nothing of failures. A mean of the
    trials' means would give a sample more weight in a trial in which others failed, and is not
    what the intervals over images are intervals of; where nothing failed the two are equal.

    Args:
        scores: as in :func:`sample_means`.

    Returns:
        None if no sample has a score.
    """
    means = sample_means(scores)
    return float(means.mean()) if means.size else None


def aggregate(trials: Sequence[Sequence[Measures | None]]) -> dict[str, float]:
    """The numbers of a data set, for all of ``METRICS``; see :func:`mean`.

    ``maxF`` and ``maxE`` are the maximum of the *mean curve*; a mean of per-sample maxima would be
    higher.

    Args:
        trials: for each trial the measures of its samples in order, None without a score; the
            samples are those of every trial.

    Returns:
        By name; empty if nothing has a score.
    """
    if not any(measures for trial in trials for measures in trial):
        return {}
    return {metric.name: _number(metric, trials) for metric in METRICS.values()}


def _number(metric: Metric, trials: Sequence[Sequence[Measures | None]]) -> float:
    if metric.mean == "samples":
        scores = [[m.values[metric.name] if m else np.nan for m in trial] for trial in trials]
        return float(sample_means(np.array(scores, dtype=np.float64)).mean())
    absent = np.full(256, np.nan)
    curves = [[getattr(m, metric.mean) if m else absent for m in trial] for trial in trials]
    return float(sample_means(np.array(curves)).mean(axis=0).max())
