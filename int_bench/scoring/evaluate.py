"""Evaluation: predictions and ground truth in, one row per sample and one summary per protocol out.

No model is needed and none is loaded. Nothing drops out of a denominator silently: each sample of
the data set has a row, and a sample without a score has a reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from int_bench.core.types import HardMask
from int_bench.data.dataset import SampleFile, Truths
from int_bench.data.images import Map
from int_bench.data.pairing import nearest_id
from int_bench.data.remarks import Remark, heard
from int_bench.errors import MissingAsset, SampleError, UsageError
from int_bench.methods.trivial import KINDS, Kind, trivial_mask
from int_bench.metrics.metrics import Measures
from int_bench.metrics.rules import FAMILY, NATIVE, Score, Scorer, ScoringProtocol
from int_bench.metrics.summary import Counts, Summary, aggregate, total
from int_bench.scoring.pool import cpus, mapped
from int_bench.scoring.predictions import Predictions, Trivial

Missing = Literal["error", "empty", "skip"]
"""What to do about a sample without a prediction: refuse, score it as empty, or leave it out."""
Status = Literal["scored", "failed", "missing"]

_MAPS_PER_WORKER = 64
"""A worker process costs about as long to start as this many small maps take to score."""


@dataclass(frozen=True)
class Row:
    """One sample: what became of it, its scores by protocol name, and what is worth knowing.

    A sample that is not ``scored`` has scores only under the policy ``empty``. ``remarks`` are what
    the readers of its ground truth and its map had to say.
    """

    id: str
    status: Status
    scores: Mapping[str, Score] = field(default_factory=dict)
    note: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """All rows of one set of predictions, in the order of the data set.

    ``unmatched`` are the ids of predictions that no ground truth belongs to.
    """

    dataset: str
    predictions: str
    rows: tuple[Row, ...]
    protocols: tuple[ScoringProtocol, ...]
    policy: Missing
    unmatched: tuple[str, ...] = ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the readers had to say about files that they did read, each thing once."""
        return tuple(dict.fromkeys(text for row in self.rows for text in row.remarks))

    @property
    def counts(self) -> Counts:
        """How many samples were scored, failed or had no prediction."""
        of = [row.status for row in self.rows]
        scored, failed, missing = (of.count(status) for status in get_args(Status))
        return Counts(len(of), scored, failed, missing, self.policy)

    def summaries(self) -> tuple[Summary, ...]:
        """One summary per protocol."""
        return summarise([self])


def summarise(trials: Sequence[Evaluation]) -> tuple[Summary, ...]:
    """One summary per protocol over the trials of a run; see :func:`~.summary.mean`.

    Args:
        trials: evaluations of the same samples, in the same order, under the same protocols.
    """
    counts = total([trial.counts for trial in trials])
    measures = {
        protocol.name: [[_measures(row, protocol) for row in trial.rows] for trial in trials]
        for protocol in trials[0].protocols
    }
    return tuple(
        Summary(protocol, counts, aggregate(measures[protocol.name]))
        for protocol in trials[0].protocols
    )


def _measures(row: Row, protocol: ScoringProtocol) -> Measures | None:
    return row.scores[protocol.name].measures if row.scores else None


def evaluate(
    truths: Truths,
    predictions: Predictions,
    protocols: Sequence[ScoringProtocol] = (NATIVE, FAMILY),
    missing: Missing = "error",
    samples: Sequence[SampleFile] | None = None,
    workers: int | None = None,
) -> Evaluation:
    """Score one set of predictions; see :func:`evaluate_all`."""
    (evaluation,) = evaluate_all(truths, [predictions], protocols, missing, samples, workers)
    return evaluation


def evaluate_all(
    truths: Truths,
    predictions: Sequence[Predictions],
    protocols: Sequence[ScoringProtocol] = (NATIVE, FAMILY),
    missing: Missing = "error",
    samples: Sequence[SampleFile] | None = None,
    workers: int | None = None,
) -> list[Evaluation]:
    """Score several sets of predictions against ground truth that is prepared once for all of them.

    Args:
        truths: the data set.
        predictions: sets of maps; each map is brought to the size that the protocol asks for.
        protocols: under which rules to score.
        missing: what to do about samples without a prediction. ``error`` refuses, by name.
            ``empty`` scores them, and failed ones, as empty maps. ``skip`` leaves them out of the
            means. They are counted as missing under all three.
        samples: which samples were asked for; all of the data set if None.
        workers: processes, at least one; None chooses by the number of samples. The result does
            not depend on it.

    Raises:
        MissingAsset: the data set cannot be used, or no prediction matches it.
        SampleError: predictions are missing and ``missing`` is ``error``.
        UsageError: an unknown policy, or a scoring process died.
    """
    if missing not in get_args(Missing):
        raise UsageError(f"Unknown policy missing={missing}: choose error, empty or skip.")
    selected = tuple(truths.samples() if samples is None else samples)
    unmatched = [_check_ids(truths, selected, maps, missing) for maps in predictions]
    job = _Job(truths, tuple(predictions), tuple(protocols), missing == "empty")
    by_sample = job.run(selected, workers)
    return [
        Evaluation(truths.name, maps.name, tuple(rows), job.protocols, missing, extra)
        for maps, extra, rows in zip(
            predictions, unmatched, _by_predictions(by_sample, len(predictions)), strict=True
        )
    ]


def _by_predictions(by_sample: Sequence[tuple[Row, ...]], sets: int) -> list[list[Row]]:
    return [[rows[number] for rows in by_sample] for number in range(sets)]


def baselines(
    truths: Truths,
    protocols: Sequence[ScoringProtocol] = (NATIVE, FAMILY),
    samples: Sequence[SampleFile] | None = None,
    workers: int | None = None,
) -> dict[Kind, Evaluation]:
    """Score the trivial answers (empty, full, centre box) on the same samples by the same rules."""
    trivial = [Trivial(kind) for kind in KINDS]
    evaluations = evaluate_all(truths, trivial, protocols, samples=samples, workers=workers)
    return dict(zip(KINDS, evaluations, strict=True))


@dataclass(frozen=True)
class _Job:
    """What is needed to score any one sample; travels to worker processes.

    Each ground truth is decoded and prepared once for all predictions of it.
    """

    truths: Truths
    predictions: tuple[Predictions, ...]
    protocols: tuple[ScoringProtocol, ...]
    score_absent: bool

    def run(self, samples: Sequence[SampleFile], workers: int | None) -> list[tuple[Row, ...]]:
        """Per sample, in order, one row per set of predictions."""
        maps = len(samples) * len(self.predictions)
        count = workers or min(cpus(), maps // _MAPS_PER_WORKER)
        if count <= 1:
            return [self.rows(sample) for sample in samples]
        return mapped(self.rows, samples, count)

    def rows(self, sample: SampleFile) -> tuple[Row, ...]:
        try:
            with heard() as said:
                truth = self.truths.load_mask(sample)
            scorers = [protocol.against(truth) for protocol in self.protocols]
        except SampleError as error:
            return (Row(sample.id, "failed", note=str(error)),) * len(self.predictions)
        return tuple(self._heard(said, sample, truth, scorers, maps) for maps in self.predictions)

    def _heard(
        self,
        before: Sequence[Remark],
        sample: SampleFile,
        truth: HardMask,
        scorers: Sequence[Scorer],
        predictions: Predictions,
    ) -> Row:
        with heard() as said:
            row = self._row(sample, truth, scorers, predictions)
        return replace(row, remarks=tuple(remark.text for remark in (*before, *said)))

    def _row(
        self,
        sample: SampleFile,
        truth: HardMask,
        scorers: Sequence[Scorer],
        predictions: Predictions,
    ) -> Row:
        predicted, failure = predictions.ids(), predictions.failure(sample.id)
        status: Status
        try:
            if failure is not None:
                raise SampleError(failure)
            if predicted is None or sample.id in predicted:
                scores, notes = _scores(scorers, predictions.load(sample, truth))
                return Row(sample.id, "scored", scores, notes)
            status, note = "missing", "no prediction"
        except SampleError as error:
            status, note = "failed", str(error)
        if not self.score_absent:
            return Row(sample.id, status, note=note)
        scores, _ = _scores(scorers, trivial_mask("empty", (truth.shape[0], truth.shape[1])))
        return Row(sample.id, status, scores, f"{note.rstrip('.')}; scored as empty")


def _scores(scorers: Sequence[Scorer], prediction: Map) -> tuple[dict[str, Score], str]:
    """Scores by protocol name, and what was done to the map, each thing once."""
    scores = {scorer.protocol.name: scorer.score(prediction) for scorer in scorers}
    notes = dict.fromkeys(note for score in scores.values() for note in score.notes)
    return scores, "; ".join(notes)


def _check_ids(
    truths: Truths, selected: Sequence[SampleFile], predictions: Predictions, missing: Missing
) -> tuple[str, ...]:
    """The ids of predictions without ground truth, after refusing what cannot be scored."""
    predicted = predictions.ids()
    if predicted is None:
        return ()
    wanted = {sample.id for sample in selected}
    absent = [s.id for s in selected if s.id not in predicted and predictions.failure(s.id) is None]
    unmatched = tuple(sorted(predicted - {sample.id for sample in truths.samples()}))
    if selected and predicted and not predicted & wanted:
        raise MissingAsset(
            f"No prediction in {predictions.name} belongs to {truths.name}: there is"
            f" {min(predicted)}, and {selected[0].id} was expected."
        )
    if absent and missing == "error":
        meant = nearest_id(absent[0], unmatched)
        hint = f" (is it {meant}?)" if meant else ""
        names = ", ".join([absent[0] + hint, *absent[1:3]]) + (", ..." if len(absent) > 3 else "")
        raise SampleError(
            f"{len(absent)} of {len(selected)} samples have no prediction in {predictions.name}:"
            f" {names}; add them, or choose --missing empty or --missing skip."
        )
    return unmatched
