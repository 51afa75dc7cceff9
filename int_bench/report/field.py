"""The field on one data set: many methods in one compact table, and what the paper claims of them.

``paper_tables`` says everything about a few runs; this says the main thing about many, a row each:
the four metrics, the paired difference in S from one of them, and whether it can be told from zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from int_bench.methods.trivial import KINDS
from int_bench.metrics.rules import NATIVE
from int_bench.report.columns import SCORE_COLUMNS, stored_names
from int_bench.report.comparison import pair_up
from int_bench.report.published import PublishedRow, find
from int_bench.report.statistics import MARGIN, Estimate, Paired, estimate
from int_bench.report.tables import Cell, Column, Row, Table, with_interval
from int_bench.scoring.results import RunScores

Judgement = Literal["better", "worse", "same", "undecidable"]

FIELD = (
    Column("section", "", numeric=False),
    Column("method", "method", numeric=False),
    *(score.column(interval=score.key == "S") for score in SCORE_COLUMNS if score.tasks is None),
    Column("difference", "Sα minus INT", 3, interval=True),
    Column("p", "p", 4),
    Column("judgement", "than INT", numeric=False),
    Column("over_floor", "Sα over the floor", 3, interval=True),
    Column("named", "right name", 3),
    Column("scored", "scored"),
    Column("failed", "failed"),
    Column("missing", "missing"),
)
CLAIMS = (
    Column("table", "table", numeric=False),
    Column("method", "against INT", numeric=False),
    Column("paper", "Sα there", 3),
    Column("difference", "Sα here", 3, interval=True),
    Column("outcome", "outcome", numeric=False),
)
_PAPER = {
    "camoworld": "chameleon",
    "camoworld_polyp": "kvasir",
    "camoworld_skin": "isic",
}
"""The set of the paper that a drawn one stands for. Reading: of each task the one whose rows are
complete and undoubted; the numbers are of other images and models, so only signs are compared."""
_S = stored_names(NATIVE.name)["S"]
_BASES = {
    "1": {"method": "int"},
    "2": {"method": "int"},
    "3a": {"method": "int", "iterations": 5},
    "3b": {"method": "int", "patches": "original+halves+quarters"},
    "3c": {"method": "int"},
}
"""INT itself in each of the paper's tables."""


@dataclass(frozen=True)
class Entry:
    """One run in the table.

    Attributes:
        section: the group that it stands in.
        label: its name there.
        run: its scores.
        named: share of the samples whose final prompt is the true name, 0..1; None for a method
            that names nothing.
    """

    section: str
    label: str
    run: RunScores
    named: float | None = None


@dataclass(frozen=True)
class Field:
    """The entries on one data set, and the run that each is held against, sample by sample.

    Attributes:
        dataset: its name.
        entries: in the order of the tables, each label once.
        base: INT's run, one of the entries'.
    """

    dataset: str
    entries: Sequence[Entry]
    base: RunScores

    @cached_property
    def pairs(self) -> dict[str, Paired | None]:
        """By label the entry against the base in S, for both tables; None for the base itself."""
        return {entry.label: _against(self.base, entry.run) for entry in self.entries}

    @cached_property
    def floor(self) -> RunScores | None:
        """The best trivial answer, by its mean S."""
        trivial = [entry.run for entry in self.entries if entry.run.method in KINDS]
        return max(trivial, key=lambda run: run.mean(_S) or 0.0, default=None)


def judge(pair: Paired | None, margin: float = MARGIN) -> Judgement:
    """What a paired difference shows, of scores of which more is better.

    ``same``: the interval lies within the margin, so that whatever difference there is does not
    matter; ``better``, ``worse``: else, and it excludes zero; ``undecidable``: too few images.
    """
    if pair is None or pair.interval is None:
        return "undecidable"
    low, high = pair.interval.low, pair.interval.high
    if -margin <= low and high <= margin:
        return "same"
    return "better" if low > 0 else "worse" if high < 0 else "undecidable"


def field_table(field: Field) -> Table:
    """All entries on one data set, each against the base and against the best trivial answer."""
    floor = field.floor
    rows = tuple(_row(entry, field.pairs[entry.label], floor) for entry in field.entries)
    notes = (
        NATIVE.text,
        "in brackets: 95 % interval over images (BCa bootstrap); differences are paired, image by "
        "image; p: two-sided paired permutation test, not corrected for the number of rows",
        f"same: the interval of the difference lies within {MARGIN:g} of 0; better, worse: else, "
        "and it excludes 0; undecidable: neither",
        *([f"floor: {floor.method}, the best trivial answer"] if floor else []),
    )
    return Table(f"{field.dataset}: the field", FIELD, rows, notes, "section", ())


def claims_table(field: Field) -> Table:
    """The paper's differences from INT in S beside ours: does each point the same way?"""
    paper = _PAPER.get(field.dataset, field.dataset)
    rows = [
        row for entry in field.entries for row in _claims(paper, entry, field.pairs[entry.label])
    ]
    rows.sort(key=lambda row: str(row.cells["table"]))
    notes = (
        f"there: difference of the printed Sα on {paper}, other images and models, so only signs "
        "are compared",
        f"as in the paper: the same judgement, a printed difference of up to {MARGIN:g} counting "
        "as none; no difference: within that margin here; undecidable: too few images to say",
    )
    return Table(f"{field.dataset}: what the paper says", CLAIMS, tuple(rows), notes, "table", ())


def _estimates(run: RunScores) -> dict[str, Estimate]:
    estimates = {key: estimate(run.values[name]) for key, name in stored_names(NATIVE.name).items()}
    return {key: value for key, value in estimates.items() if value is not None}


def _against(base: RunScores, run: RunScores) -> Paired | None:
    return None if run is base else pair_up(base, run, _S)


def _row(entry: Entry, pair: Paired | None, floor: RunScores | None) -> Row:
    run, counts = entry.run, entry.run.counts
    cells: dict[str, Cell] = {"section": entry.section, "method": entry.label}
    for key, value in _estimates(run).items():
        cells |= with_interval(key, value.mean, value.interval)
    if pair is not None:
        cells |= with_interval("difference", pair.difference, pair.interval)
        cells |= {"p": pair.p, "judgement": judge(pair)}
    above = _against(floor, run) if floor else None
    if above is not None:
        cells |= with_interval("over_floor", above.difference, above.interval)
    cells |= {
        "named": entry.named,
        "scored": counts.scored,
        "failed": counts.failed,
        "missing": counts.missing,
    }
    return Row(cells, floor=run.method in KINDS, ranked=entry.section != "upper bounds")


def _claims(paper: str, entry: Entry, pair: Paired | None) -> Iterator[Row]:
    run = entry.run
    if entry.section in ("readings", "sampled"):
        return  # conditions of ours, under which the paper measured nothing
    for which, of_int in _BASES.items():
        if (which == "3a") != (entry.section == "iterations"):
            continue
        printed = find(which, paper, run.method, run.iterations, run.patches)
        whole = find(which, paper, **of_int)  # type: ignore[arg-type]
        if printed is not None and whole is not None and printed is not whole:
            yield _claim(which, entry.label, _printed_difference(printed, whole), pair)


def _printed_difference(printed: PublishedRow, whole: PublishedRow) -> float:
    return printed.cells["S"].value - whole.cells["S"].value


def _claim(which: str, label: str, paper: float, pair: Paired | None) -> Row:
    cells: dict[str, Cell] = {"table": which, "method": label, "paper": paper}
    if pair is not None:
        cells |= with_interval("difference", pair.difference, pair.interval)
    return Row({**cells, "outcome": outcome(paper, judge(pair))}, ranked=False)


def outcome(paper: float, ours: Judgement) -> str:
    """Whether a judgement of ours is that of a printed difference."""
    # Rounded: the printed numbers have three decimals, their difference in binary has more.
    expected = "same" if abs(round(paper, 4)) <= MARGIN else "better" if paper > 0 else "worse"
    if ours == expected:
        return "as in the paper"
    if ours == "undecidable":
        return "undecidable"
    if ours == "same":
        return "no difference"
    return "the other way" if expected != "same" else f"{ours} here"
