"""Score runs, or anybody's masks, with the floor beside them; keep the scores of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from int_bench.data.dataset import SampleFile, Truths
from int_bench.data.subset import Asked, chosen
from int_bench.errors import SampleError
from int_bench.methods.trivial import KINDS
from int_bench.metrics.rules import protocols
from int_bench.metrics.summary import Counts, Summary, total
from int_bench.scoring.evaluate import Evaluation, Missing, evaluate_all, summarise
from int_bench.scoring.predictions import MapFolder, Predictions, Trivial
from int_bench.scoring.sources import Source, files_source, truths_source
from int_bench.scoring.stored import Origin, write_scores

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
        summaries: one per protocol, over the trials; none without ground truth.
        floor: the trivial answers under the same protocols.
        task: the name of the task, where known.
        remarks: what is worth knowing about files that were read.
        stamps: what every table must say about the run.
    """

    name: str
    dataset: str
    folder: Path
    counts: Counts
    summaries: tuple[Summary, ...]
    floor: Floor
    task: str | None = None
    remarks: tuple[str, ...] = ()
    stamps: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether nothing failed and nothing is missing."""
        return self.counts.failed + self.counts.missing == 0

    def as_json(self) -> dict[str, Any]:
        """Folder, counts and unrounded metrics by protocol."""
        metrics = {summary.protocol.name: dict(summary.values) for summary in self.summaries}
        stamps = {"stamps": list(self.stamps)} if self.stamps else {}
        return {"run_dir": str(self.folder), **self.counts.as_json(), "metrics": metrics, **stamps}


@dataclass(frozen=True)
class Scorable:
    """Maps to score: what tables call them, and where they lie.

    Attributes:
        name: the method, as tables print it.
        folder: the run folder, or the folder of masks.
        trials: the maps of each trial, with what failed.
        records: of the run; None for anybody's masks.
        task: the name of the task, where known.
        keep: whether the scores are stored in ``folder``.
        stamps: what every table must say about the run.
    """

    name: str
    folder: Path
    trials: Sequence[MapFolder]
    records: Source | None = None
    task: str | None = None
    keep: bool = True
    stamps: tuple[str, ...] = ()

    def within(self, ids: frozenset[str]) -> bool:
        """Whether these samples are all that the run holds.

        Scores of a part of a run are printed and not kept: tables are of the whole run.
        """
        return all(maps.paths.keys() | maps.failures.keys() <= ids for maps in self.trials)


@dataclass(frozen=True)
class Rules:
    """What to do about missing samples, what computes the measures, in how many processes.

    ``workers`` None chooses by the number of samples.
    """

    missing: Missing = "error"
    backend: str = "histogram"
    workers: int | None = None


def score_runs(
    truths: Truths, runs: Sequence[Scorable], rules: Rules, asked: Asked = None
) -> tuple[list[Scored], list[Evaluation]]:
    """Score runs on one data set, and keep the scores (``scores/<protocol>.<trial>.csv``).

    Every ground truth is decoded and prepared once for all runs, trials and trivial answers.

    Args:
        truths: the data set.
        runs: what to score.
        rules: how.
        asked: only the first so many samples, or those of these ids; None for all.

    Returns:
        The scores of the runs, and the evaluations of all their trials.

    Raises:
        UserError: see :func:`int_bench.scoring.evaluate.evaluate_all`.
    """
    samples = chosen(truths.samples(), asked)
    if not has_truth(truths, samples):
        return [_unscored(truths, run, samples) for run in runs], []
    ids = frozenset(sample.id for sample in samples)
    kept = [run for run in runs if run.keep and run.within(ids)]
    origins = {id(run): _origins(run, truths_source(truths, samples), asked) for run in kept}
    maps = [trial for run in runs for trial in run.trials]
    evaluations, floor = evaluate_with_floor(truths, maps, rules, samples)
    scored, left = [], iter(evaluations)
    for run in runs:
        trials = list(islice(left, len(run.trials)))
        for trial, origin in enumerate(origins.get(id(run), ())):
            write_scores(run.folder, trials[trial], trial, origin)
        summaries, counts = summarise(trials), total([trial.counts for trial in trials])
        remarks = tuple(dict.fromkeys(text for trial in trials for text in trial.remarks))
        of_run = (run.name, truths.name, run.folder, counts)
        scored.append(Scored(*of_run, summaries, floor, run.task, remarks, run.stamps))
    return scored, evaluations


def remarks_of(scored: Sequence[Scored]) -> tuple[str, ...]:
    """What is worth knowing about the files that were read, each thing once."""
    return tuple(dict.fromkeys(text for run in scored for text in run.remarks))


def evaluate_with_floor(
    truths: Truths, maps: Sequence[MapFolder], rules: Rules, samples: Sequence[SampleFile]
) -> tuple[list[Evaluation], Floor]:
    """The evaluations of some maps, and the summaries of the trivial answers, in one pass."""
    everything: list[Predictions] = [*maps, *(Trivial(kind) for kind in KINDS)]
    evaluations = evaluate_all(
        truths, everything, protocols(rules.backend), rules.missing, samples, rules.workers
    )
    trivial = evaluations[len(maps) :]
    floor = {evaluation.predictions: evaluation.summaries() for evaluation in trivial}
    return evaluations[: len(maps)], floor


def _origins(run: Scorable, truths: Source, asked: Asked) -> list[Origin]:
    return [
        Origin.of(files_source(maps.paths, maps.folder), truths, run.records, asked)
        for maps in run.trials
    ]


def has_truth(truths: Truths, samples: Sequence[SampleFile]) -> bool:
    """Whether there is ground truth of any of the samples."""
    if any(sample.mask_path is not None for sample in samples):
        return True
    try:
        truths.load_mask(samples[0])
    except SampleError:
        return False
    return True


def _unscored(truths: Truths, run: Scorable, samples: Sequence[SampleFile]) -> Scored:
    """The counts alone: of what a run holds it is known that it failed."""
    n = len(samples) * len(run.trials)
    failed = sum(sample.id in maps.failures for maps in run.trials for sample in samples)
    present = sum(sample.id in maps.paths for maps in run.trials for sample in samples)
    counts = Counts(n, 0, failed, n - failed - present, trials=len(run.trials))
    return Scored(run.name, truths.name, run.folder, counts, (), {}, run.task, (), run.stamps)
