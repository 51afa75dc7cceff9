"""Tables: one object, rendered to the terminal, Markdown, LaTeX, CSV and JSON.

A table holds unrounded numbers; only the terminal, Markdown and LaTeX (``report/latex.py``) round,
once, for the eye, and CSV and JSON carry what was computed. Each row of numbers names its protocol,
and the notes say what the protocol is.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from rich import box
from rich.table import Table as RichTable

from int_bench.metrics.summary import Counts, Summary

Cell: TypeAlias = str | int | float | None
"""A text, a count, an unrounded number, or nothing."""

_POLICIES = {
    "error": "left out of the means",
    "skip": "left out of the means",
    "empty": "counted as empty masks in the means",
}


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: in CSV and JSON.
        title: for the eye.
        decimals: that the eye gets; None shows a cell as it is.
        numeric: whether it is set flush right.
        better: which numbers are better, where one is.
        interval: whether cells may have an interval, under ``<key>_low`` and ``<key>_high``: in
            brackets for the eye, columns of their own in CSV.
        hidden: in CSV and JSON only.
    """

    key: str
    title: str
    decimals: int | None = None
    numeric: bool = True
    better: Literal["lower", "higher"] | None = None
    interval: bool = False
    hidden: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of its cells."""
        return (self.key, *ends_of(self.key)) if self.interval else (self.key,)

    def show(self, row: Row) -> str:
        """A row's cell as text for the eye, without its interval; a dash where there is nothing."""
        if self.key in row.shown:
            return row.shown[self.key]
        cell = row.cells.get(self.key)
        return "-" if cell is None else self._text(cell)

    def show_interval(self, row: Row) -> str:
        """The interval of a row's cell in brackets; empty where there is none."""
        low, high = (row.cells.get(key) for key in ends_of(self.key))
        if not self.interval or low is None or high is None:
            return ""
        return f"[{self._text(low)}, {self._text(high)}]"

    def _text(self, cell: str | int | float) -> str:
        if self.decimals is None or isinstance(cell, str):
            return str(cell)
        return f"{cell:.{self.decimals}f}"


def absent_samples(policy: str) -> str:
    """What the means do about samples without a score, in words and as the option that says so."""
    return f"failed and missing samples are {_POLICIES[policy]} (missing={policy})"


def ends_of(key: str) -> tuple[str, str]:
    """The keys of the ends of a cell's interval."""
    return f"{key}_low", f"{key}_high"


@dataclass(frozen=True)
class Row:
    """One row, by column key.

    Attributes:
        cells: unrounded.
        floor: whether it is a trivial answer that others are held against.
        ranked: whether it takes part in best and second best; a ``floor`` row never does.
        shown: texts for the eye that stand instead of a rounded cell, such as a number as printed
            elsewhere.
    """

    cells: Mapping[str, Cell]
    floor: bool = False
    ranked: bool = True
    shown: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """Columns, rows and notes.

    Rows with the same ``section`` cells stand together; best and second best are among the rows
    with the same cells under ``rank_within``.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    section: str = "protocol"
    rank_within: tuple[str, ...] = ("dataset", "protocol")

    @property
    def visible(self) -> tuple[Column, ...]:
        """The columns for the eye."""
        return tuple(column for column in self.columns if not column.hidden)

    def to_markdown(self) -> str:
        """A Markdown table under its title, with the notes as a list beneath."""
        titles = [column.title for column in self.visible]
        rules = ["---:" if column.numeric else "---" for column in self.visible]
        body = [[_escaped(text) for text in self._shown(row)] for row in self.rows]
        lines = [f"| {' | '.join(cells)} |" for cells in (titles, rules, *body)]
        notes = [f"- {note}" for note in self.notes]
        return "\n".join([f"**{self.title}**", "", *lines, "", *notes]).rstrip() + "\n"

    def to_csv(self) -> str:
        """Comma-separated values with a header; numbers unrounded, empty where there is nothing."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        keys = [key for column in self.columns for key in column.keys]
        writer.writerow([*keys, "floor"])
        for row in self.rows:
            cells = [_exact(row.cells.get(key)) for key in keys]
            writer.writerow([*cells, int(row.floor)])
        return out.getvalue()

    def to_json(self) -> str:
        """Title, notes and rows (unrounded, null where there is nothing)."""
        rows = [{**row.cells, "floor": row.floor} for row in self.rows]
        content: dict[str, Any] = {"title": self.title, "notes": list(self.notes), "rows": rows}
        return json.dumps(content, ensure_ascii=False, allow_nan=False)

    def to_rich(self) -> RichTable:
        """A table for the terminal, a rule between sections, trivial answers dimmed."""
        caption = "\n".join(self.notes)
        table = RichTable(
            title=self.title,
            caption=caption,
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
            pad_edge=False,
            show_edge=False,
        )
        table.title_justify = table.caption_justify = "left"
        for column in self.visible:
            table.add_column(column.title, justify="right" if column.numeric else "left")
        for position, row in enumerate(self.rows):
            following = self.rows[position + 1 : position + 2]
            ends = any(self.starts_section(other, row) for other in following)
            # An interval is broken before its bracket only, not within.
            shown = [_unmarked(text).replace(", ", ",\u00a0") for text in self._shown(row)]
            table.add_row(*shown, style="dim" if row.floor else None, end_section=ends)
        return table

    def _shown(self, row: Row) -> list[str]:
        return [
            " ".join(filter(None, (column.show(row), column.show_interval(row))))
            for column in self.visible
        ]

    def starts_section(self, row: Row, before: Row) -> bool:
        """Whether a row is of another section than the row before."""
        return row.cells.get(self.section) != before.cells.get(self.section)


@dataclass(frozen=True)
class Line:
    """What a method, or a trivial answer (``floor``), reached on a data set, by protocol."""

    dataset: str
    method: str
    summaries: Sequence[Summary]
    floor: bool = False


SCORE_COLUMNS = (
    Column("dataset", "data", numeric=False),
    Column("protocol", "protocol", numeric=False),
    Column("method", "method", numeric=False),
    Column("MAE", "M ↓", 3, better="lower"),
    Column("F", "Fβ ↑", 3, better="higher"),
    Column("F_variant", "Fβ is", numeric=False),
    Column("meanE", "Eφ ↑", 3, better="higher"),
    Column("S", "Sα ↑", 3, better="higher"),
    Column("scored", "scored"),
    Column("failed", "failed"),
    Column("missing", "missing"),
)
"""The columns of the papers (M, F, E, S), what they are, and what they are over."""


def score_table(title: str, lines: Sequence[Line]) -> Table:
    """The table at the end of a run or an evaluation: protocol by protocol, the floor last.

    Args:
        title: what the table is of; the data set, if there is one only (it gets no column then).
        lines: methods and trivial answers; all with the same protocols.
    """
    protocols = list(dict.fromkeys(s.protocol for line in lines for s in line.summaries))
    ordered = sorted(lines, key=lambda line: line.floor)
    rows = [
        _score_row(line, summary)
        for protocol in protocols
        for line in ordered
        for summary in line.summaries
        if summary.protocol == protocol
    ]
    several = len({line.dataset for line in lines}) > 1
    columns = SCORE_COLUMNS if several else SCORE_COLUMNS[1:]
    counts = [s.counts for line in lines for s in line.summaries if not line.floor]
    notes = [protocol.text for protocol in protocols] + _incomplete(counts)
    return Table(title, columns, tuple(rows), tuple(notes))


def _score_row(line: Line, summary: Summary) -> Row:
    m, f, e, s = summary.printed
    counts = summary.counts
    cells: dict[str, Cell] = {
        "dataset": line.dataset,
        "protocol": summary.protocol.name,
        "method": line.method,
        "MAE": m,
        "F": f,
        "F_variant": summary.protocol.printed_f,
        "meanE": e,
        "S": s,
        "scored": counts.scored,
        "failed": counts.failed,
        "missing": counts.missing,
    }
    return Row(cells, line.floor)


def _incomplete(counts: Sequence[Counts]) -> list[str]:
    """What the means do about samples without a score, where there are any."""
    policies = dict.fromkeys(one.policy for one in counts if not one.complete)
    return [f"INCOMPLETE: {absent_samples(policy)}" for policy in policies]


def _exact(cell: Cell) -> str:
    if cell is None:
        return ""
    return repr(cell) if isinstance(cell, float) else str(cell)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _unmarked(text: str) -> str:
    """The text with what rich would take for markup made literal."""
    return text.replace("[", "\\[")
