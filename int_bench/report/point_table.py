"""``int-bench table plm``: masks from points, how good and how much hangs on the point.

The published numbers of PLM/PMM (arXiv 2403.09199) are not known: its four tables could not be
read. Only ours stand here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from int_bench.config.annotations import TARGET
from int_bench.core.types import Values
from int_bench.data.images import read_mask
from int_bench.errors import MissingAsset
from int_bench.metrics.points import PointScores, point_scores
from int_bench.report.rows import Settings
from int_bench.report.statistics import estimate, paired
from int_bench.report.tables import Cell, Column, Row, Table, with_interval
from int_bench.runs.labels import Labelled, distinct, of_datasets
from int_bench.runs.reader import Run
from int_bench.runs.records import OK
from int_bench.runs.scorable import StoredRun

METHOD = "TruthPoints"
"""The class of methods whose iterations are positions of a point."""
BASELINE = "sam_point"
_MEASURES = {
    "first": Column("first", "IoU, first point", 3, better="higher"),
    "mean": Column("mean", "mIoU(point)", 3, better="higher", interval=True),
    "spread": Column("spread", "spread", 3, better="lower", interval=True),
    "distance": Column("distance", "boundary px", 2, better="lower", interval=True),
    "boundary": Column("boundary", "boundary IoU", 3, better="higher"),
}
"""In the order of `PointScores`."""
_COLUMNS = (
    Column("dataset", "data", numeric=False),
    Column("method", "method", numeric=False),
    Column("row", "row", numeric=False),
    *_MEASURES.values(),
    Column("positions", "points"),
    Column("n", "n"),
    Column("failed", "failed"),
    Column("run", "run", numeric=False, hidden=True),
)
_NOTES = (
    "PLM and PMM are after the abstract and figures of arXiv 2403.09199, details ours; the numbers"
    " of its tables are not known, so that none can stand here.",
    "mIoU(point): mean over objects of the mean IoU over positions of one positive point, the"
    " first the annotated one and the others uniform in the object; spread: mean over objects of"
    " the standard deviation over positions; boundary px: mean distance between the boundary and"
    " the true one, both ways, of masks that are not empty.",
)


@dataclass(frozen=True)
class _Measured:
    """A run: what tables call it, and the scores of its objects, (trials, n, 5), n by id."""

    label: Labelled
    places: Mapping[str, int]
    scores: Values
    positions: int
    failed: int


def is_of_points(run: StoredRun) -> bool:
    """Whether the iterations of a run are positions of a point."""
    node = run.labelled.config.get("method")
    return isinstance(node, Mapping) and str(node.get(TARGET)).endswith(f".{METHOD}")


def point_table(runs: Sequence[StoredRun], settings: Settings | None = None) -> Table:
    """Runs of one-point methods, by data set; each against SAM's run on the same data.

    Args:
        runs: those that are of no points are left out.
        settings: of the statistics.

    Raises:
        MissingAsset: there is none, or masks of positions were not kept.
    """
    settings = settings or Settings()
    chosen = [run for run in runs if is_of_points(run)]
    if not chosen:
        raise MissingAsset(
            "There is no run of a point method here; make some with `int-bench run "
            "method=sam_point` and `int-bench run method=plm_point`."
        )
    labels = of_datasets([run.labelled for run in chosen])
    measured = [_measured(run, label) for run, label in zip(chosen, labels, strict=True)]
    names = distinct(labels)
    rows: list[Row] = []
    for dataset in dict.fromkeys(label.dataset for label in labels):
        of_set = [
            (name, run)
            for name, run in zip(names, measured, strict=True)
            if run.label.dataset == dataset
        ]
        bases = [item for item in of_set if item[1].label.name == BASELINE]
        for name, run in of_set:
            rows += _rows(name, run, settings, bases[0][1] if bases else None)
    title = "PLM and PMM on a frozen SAM: ours"
    notes = (*_NOTES, settings.interval_note)
    return Table(title, _COLUMNS, tuple(rows), notes, "dataset", ("dataset",))


def _rows(name: str, run: _Measured, settings: Settings, base: _Measured | None) -> Iterator[Row]:
    shared: dict[str, Cell] = {"dataset": run.label.dataset, "method": name}
    cells: dict[str, Cell] = {}
    for key, place in zip(_MEASURES, range(len(_MEASURES)), strict=True):
        known = estimate(run.scores[..., place], settings.seed) if run.places else None
        if known is not None:
            cells |= with_interval(key, known.mean, known.interval)
    counts: dict[str, Cell] = {
        "positions": run.positions,
        "n": len(run.places),
        "failed": run.failed,
    }
    yield Row({**shared, "row": "ours", **cells, **counts, "run": str(run.label.folder)})
    if base is not None and base is not run:
        differences, common = _against(base, run, settings.seed)
        yield Row({**shared, "row": f"minus {BASELINE}", **differences, "n": common}, ranked=False)


def _against(base: _Measured, run: _Measured, seed: int) -> tuple[dict[str, Cell], int]:
    """The mean differences on the objects that both have, with intervals."""
    common = sorted({*base.places} & {*run.places})
    sides = [
        np.nanmean(side.scores[:, [side.places[key] for key in common]], axis=0)
        for side in (base, run)
    ]
    cells: dict[str, Cell] = {}
    for place, key in enumerate(_MEASURES):
        before, after = (side[:, place] for side in sides)
        known = ~(np.isnan(before) | np.isnan(after))
        if known.any():
            pair = paired(before[known], after[known], seed=seed)
            cells |= with_interval(key, pair.difference, pair.interval)
    return cells, len(common)


def _measured(stored: StoredRun, label: Labelled) -> _Measured:
    run, by_object = Run(stored.folder), scores_of(stored)
    places = {key: place for place, key in enumerate(dict.fromkeys(of for _, of in by_object))}
    scores = np.full((run.trials, len(places), len(_MEASURES)), np.nan)
    for (trial, sample_id), measures in by_object.items():
        scores[trial, places[sample_id]] = measures.values()
    return _Measured(label, places, scores, _positions(stored), len(run.failures))


def scores_of(stored: StoredRun) -> dict[tuple[int, str], PointScores]:
    """The measures of each object that a run has finished, by trial and sample.

    Raises:
        MissingAsset: masks of positions were not kept.
    """
    run, truths = Run(stored.folder), stored.truths()
    by_id = {sample.id: sample for sample in truths.samples()}
    measures: dict[tuple[int, str], PointScores] = {}
    for trial, sample_id in run.records:
        if run.records.status((trial, sample_id)) != OK or sample_id not in by_id:
            continue
        places = range(1, _positions(stored) + 1)
        files = [run.mask(trial, sample_id, str(place)) for place in places]
        if not all(file.is_file() for file in files):
            raise MissingAsset(
                f"{stored.folder} keeps no mask of each position of a point; run it again with "
                "keep=iterations refill=true."
            )
        truth = truths.load_mask(by_id[sample_id])
        masks = [read_mask(file, 127) for file in files]
        measures[trial, sample_id] = point_scores(masks, truth)
    return measures


def _positions(stored: StoredRun) -> int:
    return int(stored.labelled.config["method"]["positions"])
