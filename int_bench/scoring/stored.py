"""Per-sample scores of a run as ``eval`` stores them, read back for statistics."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from int_bench.errors import MissingAsset, UsageError
from int_bench.metrics.metrics import VARIANTS
from int_bench.metrics.rules import PROTOCOLS
from int_bench.metrics.summary import Counts
from int_bench.report.statistics import Values

SCORES = "scores.csv"
CURVE_MAXIMA = ("maxF", "maxE")
"""Data-set values that are no means over samples: maxima of mean curves."""


@dataclass(frozen=True)
class RunScores:
    """What a method reached on each sample.

    Attributes:
        folder: where the scores lie.
        method: its name, as tables print it.
        dataset: the data set's name.
        ids: the samples that were asked for, in order.
        values: by ``<protocol>.<variant>``, (trials, n) float64, NaN without a score.
        counts: over samples and trials.
        iterations: of the method, where known.
        patches: its patch sets, as in ``original+halves``, where known.
    """

    folder: Path
    method: str
    dataset: str
    ids: tuple[str, ...]
    values: Mapping[str, Values]
    counts: Counts
    iterations: int | None = None
    patches: str | None = None

    def by_sample(self, metric: str) -> dict[str, float]:
        """The score of each sample that has one, the mean over trials."""
        values = self.values[metric]
        seen = np.flatnonzero((~np.isnan(values)).any(axis=0))
        return {self.ids[index]: float(np.nanmean(values[:, index])) for index in seen}


def metric_names() -> list[str]:
    """The stored scores that have a mean over samples, as ``<protocol>.<variant>``."""
    kept = [name for name in VARIANTS if name not in CURVE_MAXIMA]
    return [f"{protocol}.{name}" for protocol in PROTOCOLS for name in kept]


def lower_is_better(metric: str) -> bool:
    """Whether less is better: the mean absolute error."""
    return metric.rpartition(".")[2] == "MAE"


def read_scores(files: Sequence[Path], method: str, dataset: str) -> RunScores:
    """Read the files of a run's trials.

    Args:
        files: one per trial, as :meth:`int_bench.scoring.evaluate.Evaluation.write_scores_csv`
            writes them.
        method: its name.
        dataset: the data set's name.

    Raises:
        MissingAsset: a file is not there.
        UsageError: a file is no table of scores, or the trials are of different samples.
    """
    trials = [_lines(path) for path in files]
    ids = tuple(line["id"] for line in trials[0])
    for path, lines in zip(files, trials, strict=True):
        if tuple(line["id"] for line in lines) != ids:
            raise UsageError(f"{path} is of other samples than {files[0]}; score the run again.")
    values = {
        name: np.array(
            [
                [_number(line[name], path) for line in lines]
                for path, lines in zip(files, trials, strict=True)
            ],
            dtype=np.float64,
        )
        for name in metric_names()
        if name in trials[0][0]
    }
    return RunScores(files[0].parent, method, dataset, ids, values, _counts(trials))


def _lines(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
    except OSError as error:
        raise MissingAsset(
            f"There is no {path}; score the run with `int-bench eval {path.parent}`."
        ) from error
    if not lines or not {"id", "status"} <= lines[0].keys():
        raise UsageError(f"{path} holds no scores; score the run again.")
    return lines


def _number(text: str | None, path: Path) -> float:
    try:
        return float(text) if text else math.nan
    except ValueError:
        raise UsageError(f"{path} holds {text!r} for a score; score the run again.") from None


def _counts(trials: Sequence[Sequence[Mapping[str, str]]]) -> Counts:
    """Counts over all trials; a sample without a mask that has a score was scored as empty.

    A file of scores with samples that are missing was made under ``skip``, as ``error`` refuses.
    """
    lines = [line for trial in trials for line in trial]
    of = [line["status"] for line in lines]
    measured = [name for name in metric_names() if name in lines[0]][:1]
    as_empty = any(line["status"] != "scored" and line[name] for line in lines for name in measured)
    scored, failed, missing = (of.count(status) for status in ("scored", "failed", "missing"))
    policy = "empty" if as_empty else "skip" if missing else "error"
    return Counts(len(of), scored, failed, missing, policy)
