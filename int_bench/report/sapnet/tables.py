"""The tables of SAPNet (arXiv 2312.15895) with ours beside the published rows.

``paper/sapnet_table<n>.csv`` holds the rows as printed, in percent. Ours are runs of
``method=sapnet`` whose network's own training says what it learnt from; the interval is of AP over
images, and the verdict is that of every other table.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from int_bench.core.text import many
from int_bench.errors import MissingAsset, UsageError
from int_bench.report.published import FOLDER
from int_bench.report.rows import DAGGER
from int_bench.report.sapnet.scores import Facts, InstanceScores
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
_SETS = {"2": "voc_sbd"}
_METHODS = {
    "truth": "SOLOv2",
    "sam_top1": "SAM-SOLOv2",
    "mil_single": "MIL-SOLOv2",
    "sapnet": "SAPNet",
}
_PLAIN = ("sapnet", "sapnet_select", "mil_single", "sam_top1_point")
"""Labels that say no more than what was learnt from does."""
_STAGES = {"sam_top1": "SAM-top1", "sapnet": "two stage"}
_NOTES = (
    "published: as printed, in percent; single runs without a spread.",
    "ours: intervals are jackknife intervals over 20 groups of images (95 %); a verdict is given"
    f" on the paper's own data set alone, with a margin of {MARGIN}.",
)


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
    for line in lines:
        rows.append(_printed(line))
        fitting = [run for run in runs if _fits(which, line, run)]
        for run in fitting:
            rows += _beside(run, line, whole=run.complete)
        placed += fitting
    others = [run for run in runs if run not in placed]
    rows += [_ours(run) for run in others]
    notes = [*_NOTES, *(f"{DAGGER} {line.texts['note']}" for line in lines if line.doubtful)]
    if others:
        notes.append(
            f"{many(len(others), 'run')} of ours at the end: of another data set or variant than "
            "any row, so there is nothing to hold them against."
        )
    title = f"SAPNet (arXiv 2312.15895), Table {which}: {TITLES[which]}"
    return Table(title, _columns(lines), tuple(rows), tuple(notes))


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


def _columns(lines: Sequence[PublishedLine]) -> tuple[Column, ...]:
    texts = [key for key in lines[0].texts if key != "note"]
    numbers = list(dict.fromkeys(key for line in lines for key in line.numbers))
    return (
        *(Column(key, key, numeric=False) for key in texts),
        Column("dataset", "data", numeric=False),
        Column("row", "row", numeric=False),
        *(Column(key, key, 1, better="higher", interval=True) for key in numbers),
        Column("n", "n"),
        Column("run", "run", numeric=False, hidden=True),
    )


def _printed(line: PublishedLine) -> Row:
    mark = DAGGER if line.doubtful else ""
    shown = {key: text + mark for key, text in line.numbers.items()}
    cells: dict[str, Cell] = {key: float(text) for key, text in line.numbers.items()}
    texts = {key: text for key, text in line.texts.items() if key != "note"}
    return Row({**texts, **cells, "row": "published"}, ranked=False, shown=shown)


def _ours(run: InstanceScores) -> Row:
    cells: dict[str, Cell] = {"dataset": run.dataset, "n": run.images, "run": str(run.folder)}
    for key, value in run.percent.items():
        cells |= with_interval(key, value, run.intervals.get(key))
    learnt = _METHODS.get(run.facts.labels, run.label)
    name = learnt if run.label in _PLAIN else f"{learnt} ({run.label})"
    return Row({**cells, "row": f"ours: {name}"}, ranked=False)


def _beside(run: InstanceScores, line: PublishedLine, whole: bool) -> Iterator[Row]:
    """Ours, the difference, and the verdict on it."""
    yield _ours(run)
    shared: dict[str, Cell] = {"dataset": run.dataset}
    differences, verdicts = dict(shared), dict(shared)
    for key, text in line.numbers.items():
        if key not in run.percent:
            continue
        published, interval = float(text), run.intervals.get(key)
        moved = interval.shifted(-published) if interval else None
        differences |= with_interval(key, run.percent[key] - published, moved)
        if line.doubtful:
            verdicts[key] = "none" + DAGGER
        else:
            verdicts[key] = verdict(interval if whole else None, published, 0.05, MARGIN)
    yield Row({**differences, "row": "ours - published"}, ranked=False)
    yield Row({**verdicts, "row": "verdict"}, ranked=False)


def _fits(which: str, line: PublishedLine, run: InstanceScores) -> bool:
    """Whether a run belongs beside a row."""
    if run.dataset != _SETS.get(which, "coco"):
        return False
    facts, texts = run.facts, line.texts
    if which == "7":
        wanted = {"mil_single": "Single-MIL", "sapnet": "SAPNet"}
        return "mIoU_box" in run.percent and texts["method"] == wanted.get(facts.labels)
    if "mIoU_box" in run.percent:
        return False
    if which in ("1", "2"):
        star = "*" if facts.trunk == "resnet101" and which == "1" else ""
        return texts["method"] == _METHODS.get(facts.labels, "") + star
    if facts.trunk != "resnet50":
        return False
    if which == "3":
        return texts["training"] == _STAGES.get(facts.labels)
    return facts.labels == "sapnet" and _options(which, facts) == _asked(which, texts)


def _options(which: str, facts: Facts) -> tuple[str, ...] | None:
    """What a run has of what a row's texts name; None where its selector says nothing."""
    selector = facts.selector
    if selector is None:
        return None
    psm, pnpg, prm, bms = (selector.get(key) or {} for key in ("psm", "pnpg", "prm", "bms"))
    ppg, npg = (pnpg.get(key) not in ("off", "none", None) for key in ("ppg", "npg"))
    refined, mined = bool(prm.get("enabled")), bms.get("after") not in ("off", None)
    if which == "4":
        pdg = psm.get("pdg") not in ("off", None)
        flags = (True, pdg, refined, refined and ppg and npg, mined, facts.mps)
        return tuple(str(int(flag)) for flag in flags)
    if which == "5":
        return tuple(f"{value:g}" for value in bms.get("t_min", ()))
    if which == "6":
        return str(int(ppg)), str(int(npg))
    if which == "8":
        return tuple(f"{value:g}" for value in pnpg.get("t_neg", ()))
    return None


def _asked(which: str, texts: Mapping[str, str]) -> tuple[str, ...]:
    keys = {
        "4": ("mil1", "PDG", "mil2", "PNPG", "BMS", "MPS"),
        "5": ("T_min1", "T_min2"),
        "6": ("PPG", "NPG"),
        "8": ("T_neg1", "T_neg2"),
    }
    return tuple(texts[key] for key in keys.get(which, ()))
