"""The tables of SAPNet (arXiv 2312.15895) with ours beside the published rows.

``paper/sapnet_table<n>.csv`` holds the rows as printed, in percent but for the gap. Ours are runs
of ``method=sapnet`` whose network's own training says what it learnt from, and in Table 7 runs that
selected proposals; the verdict is that of every other table.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from int_bench.core.text import many
from int_bench.errors import MissingAsset, UsageError
from int_bench.report.published import FOLDER
from int_bench.report.rows import DAGGER
from int_bench.report.sapnet.places import belongs, measure_of, name_of
from int_bench.report.sapnet.scores import InstanceScores
from int_bench.report.statistics import verdict
from int_bench.report.tables import Cell, Column, Row, Table, with_interval

PREFIX = "sapnet:"
TITLES = {
    "1": "COCO",
    "2": "PASCAL VOC 2012 and SBD",
    "3": "one stage after the other, and end to end",
    "4": "components",
    "5": "thresholds of BMS",
    "6": "PPG and NPG",
    "7": "selection on training objects",
    "8": "thresholds of NPG",
    "9": "detection, boxes of masks",
}
NAMES = tuple(f"{PREFIX}{which}" for which in TITLES)
MARGIN = 0.5
"""Percent; a difference that does not matter. Rows of Table 4 differ by .2 to 2."""
_MEASURES = ("AP", "AP25", "AP50", "AP75", "APs", "APm", "APl")
_OTHER = ("gap", "mIoU_box", "COCO17_AP", "VOC12_AP50")
_BOXES = {"coco": {"box_AP": "COCO17_AP"}, "voc_sbd": {"box_AP50": "VOC12_AP50"}}
"""What Table 9 prints of the AP of boxes on a data set; of any other, both."""
_GAP = "gap"
"""A difference of shares: three decimals, of which less is better, and a hundredth of a percent."""
_PLAIN = ("sapnet", "sapnet_select", "mil_single", "sam_top1_point", "oracle_of_bag")
"""Labels that say no more than what was learnt from does."""
_PUBLISHED = "published: as printed, in percent{gap}; single runs without a spread."
_INTERVALS = {
    "selection": "bootstrap intervals over objects, those of gap over the objects that it is of",
    "masks": "jackknife intervals over 20 groups of images",
    "boxes": "jackknife intervals over 20 groups of images, of the tight boxes of masks",
}
_NETWORKS = {"1": "sapnet_r50", "2": "sapnet_r101"}
_CHANGES = {
    "4": "train.psm.pdg=off, train.pnpg.ppg=off train.pnpg.npg=none or train.bms.after=off",
    "5": "train.bms.t_min=[0.5,0.3] and the like",
    "6": "train.pnpg.ppg=off or train.pnpg.npg=none",
    "8": "train.pnpg.t_neg=[0.3,0.3] and the like",
}
"""Of the training of a selector, by table."""


@dataclass(frozen=True)
class PublishedLine:
    """A row of a file: its texts by column, and its numbers as printed."""

    texts: Mapping[str, str]
    numbers: Mapping[str, str]

    @property
    def doubtful(self) -> bool:
        """Whether the note doubts a number of it."""
        return "doubtful" in self.texts.get("note", "")


def sapnet_table(name: str, runs: Sequence[InstanceScores]) -> Table:
    """A table of SAPNet.

    Args:
        name: ``sapnet:1`` to ``sapnet:9``.
        runs: ours; those of the paper's data set stand behind the row that they belong to, the
            others at the end.

    Raises:
        UsageError: no such table.
        MissingAsset: its file is not where it belongs.
    """
    which = name.removeprefix(PREFIX)
    if name not in NAMES:
        raise UsageError(f"There is no table {name!r}; choose {', '.join(NAMES)}.")
    lines = published_lines(which)
    rows: list[Row] = []
    placed: list[InstanceScores] = []
    if which == "9":
        runs = [_boxes(run) for run in runs]
    for line in lines:
        rows.append(_printed(line))
        fitting = [run for run in runs if belongs(which, line.texts, run)]
        for run in fitting:
            rows += _beside(which, run, line)
        placed += fitting
    others = [run for run in runs if run not in placed]
    rows += [_ours(which, run) for run in others]
    printed = _PUBLISHED.format(gap=", gap as a share" if which == "7" else "")
    notes = [printed, *(f"{DAGGER} {line.texts['note']}" for line in lines if line.doubtful)]
    if runs:
        notes.insert(1, _judged(which))
    if not placed:
        notes.append(_nothing(which))
    if others:
        notes.append(
            f"{many(len(others), 'run')} of ours at the end: of another data set or variant than "
            "any row, so there is nothing to hold them against."
        )
    title = f"SAPNet (arXiv 2312.15895), Table {which}: {TITLES[which]}"
    return Table(title, _columns(lines, others), tuple(rows), tuple(notes))


def _judged(which: str) -> str:
    """How our numbers are held against the published ones."""
    margin = f"{MARGIN} (gap: {MARGIN / 100})" if which == "7" else str(MARGIN)
    return (
        f"ours: {_INTERVALS[measure_of(which)]} (95 %); a verdict is given on data of the paper's "
        f"table alone, with a margin of {margin}."
    )


def _nothing(which: str) -> str:
    """That no row has ours beside it, and the commands that make one."""
    words = f"dataset={'voc_sbd' if which == '2' else 'coco'}"
    sam = "backbone/segmenter=sam_vit_h"
    selector = f"`int-bench train method=sapnet_select {words} {sam}`"
    network = f"`int-bench train method={_NETWORKS.get(which, 'sapnet_r50')} {words} {sam}`"
    run = f"method=sapnet {words} dataset.unit=image backbone.instance_segmenter.adapter=FINAL"
    if which == "7":
        run = f"method=sapnet_select {words} dataset.split=train {sam} allow_train=true"
        made = f"{selector} (or mil_single)"
        run += " backbone.selector.checkpoint=FINAL"
    elif which in _CHANGES:
        made = f"{selector} with {_CHANGES[which]}, {network} with backbone/selector=sapnet "
        made += "backbone.selector.checkpoint=FINAL"
    else:
        made = f"{network} (or train.labels=mil_single, sam_top1, truth)"
    return (
        f"Nothing of ours stands beside a row. What makes some: {made}, then `int-bench run {run}`."
    )


def published_lines(which: str) -> list[PublishedLine]:
    """The rows of a table in the paper's order.

    Raises:
        MissingAsset: its file is not where it belongs.
    """
    paths = sorted(FOLDER.glob(f"sapnet_table{which}_*.csv"))
    if not paths:
        raise MissingAsset(
            f"The published numbers of Table {which} of SAPNet are not in {FOLDER}; install "
            "int-bench again."
        )
    with paths[0].open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    numbers = (*_MEASURES, *_OTHER)
    return [
        PublishedLine(
            {key: text for key, text in line.items() if key not in numbers},
            {key: text for key, text in line.items() if key in numbers and text},
        )
        for line in lines
    ]


def _columns(
    lines: Sequence[PublishedLine], others: Sequence[InstanceScores]
) -> tuple[Column, ...]:
    texts = [key for key in lines[0].texts if key != "note"]
    own = (key for run in others for key in run.numbers if key.startswith("box_"))
    numbers = dict.fromkeys((*(key for line in lines for key in line.numbers), *own))
    return (
        *(Column(key, key, numeric=False) for key in texts),
        Column("dataset", "data", numeric=False),
        Column("row", "row", numeric=False),
        *(
            Column(key, key.replace("_", " "), 3, better="lower", interval=True)
            if key == _GAP
            else Column(key, key.replace("_", " "), 1, better="higher", interval=True)
            for key in numbers
        ),
        Column("n", "n"),
        Column("run", "run", numeric=False, hidden=True),
    )


def _printed(line: PublishedLine) -> Row:
    mark = DAGGER if line.doubtful else ""
    shown = {key: text + mark for key, text in line.numbers.items()}
    cells: dict[str, Cell] = {key: float(text) for key, text in line.numbers.items()}
    texts = {key: text for key, text in line.texts.items() if key != "note"}
    return Row({**texts, **cells, "row": "published"}, ranked=False, shown=shown)


def _boxes(run: InstanceScores) -> InstanceScores:
    """A run whose numbers are called as Table 9 does."""
    names = _BOXES.get(run.dataset)
    if names is None:
        return run
    numbers = {title: run.numbers[key] for key, title in names.items() if key in run.numbers}
    intervals = {title: run.intervals[key] for key, title in names.items() if key in run.intervals}
    return replace(run, numbers=numbers, intervals=intervals)


def _ours(which: str, run: InstanceScores) -> Row:
    cells: dict[str, Cell] = {"dataset": run.dataset, "n": run.images, "run": str(run.folder)}
    for key, value in run.numbers.items():
        cells |= with_interval(key, value, run.intervals.get(key))
    learnt = name_of(which, run)
    name = learnt if run.label in _PLAIN else f"{learnt} ({run.label})"
    return Row({**cells, "row": f"ours: {name}"}, ranked=False)


def _beside(which: str, run: InstanceScores, line: PublishedLine) -> Iterator[Row]:
    """Ours, the difference, and the verdict on it."""
    yield _ours(which, run)
    differences: dict[str, Cell] = {"dataset": run.dataset}
    verdicts = dict(differences)
    for key, text in line.numbers.items():
        if key not in run.numbers:
            continue
        published, interval = float(text), run.intervals.get(key)
        moved = interval.shifted(-published) if interval else None
        differences |= with_interval(key, run.numbers[key] - published, moved)
        if line.doubtful:
            verdicts[key] = "none" + DAGGER
        else:
            half = 0.5 * 10.0 ** -len(text.partition(".")[2])
            margin = MARGIN / 100 if key == _GAP else MARGIN
            known = interval if run.complete else None
            verdicts[key] = verdict(known, published, half, margin)
    yield Row({**differences, "row": "ours - published"}, ranked=False)
    yield Row({**verdicts, "row": "verdict"}, ranked=False)
