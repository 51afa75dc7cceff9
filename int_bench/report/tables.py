"""Tables: one object, rendered to the terminal, Markdown, CSV and JSON.

A table holds unrounded numbers; only the terminal and Markdown round, for the eye, and CSV and JSON
carry what was computed. Each row of numbers names its protocol, and the notes say what the protocol
is.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

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
    """One column: its key in CSV and JSON, its title, and how many decimals the eye gets."""

    key: str
    title: str
    decimals: int | None = None
    numeric: bool = True

    def show(self, cell: Cell) -> str:
        """A cell as text for the eye; a dash where there is nothing."""
        if cell is None:
            return "-"
        return f"{cell:.{self.decimals}f}" if self.decimals is not None else str(cell)


@dataclass(frozen=True)
class Row:
    """One row, by column key; a ``floor`` row is a trivial answer that others are held against."""

    cells: Mapping[str, Cell]
    floor: bool = False


@dataclass(frozen=True)
class Table:
    """Columns, rows and notes; rows with the same ``section`` cells stand together."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    section: str = "protocol"

    def to_markdown(self) -> str:
        """A Markdown table under its title, with the notes as a list beneath."""
        titles = [column.title for column in self.columns]
        rules = ["---:" if column.numeric else "---" for column in self.columns]
        body = [[_escaped(text) for text in self._shown(row)] for row in self.rows]
        lines = [f"| {' | '.join(cells)} |" for cells in (titles, rules, *body)]
        notes = [f"- {note}" for note in self.notes]
        return "\n".join([f"**{self.title}**", "", *lines, "", *notes]).rstrip() + "\n"

    def to_csv(self) -> str:
        """Comma-separated values with a header; numbers unrounded, empty where there is nothing."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([*(column.key for column in self.columns), "floor"])
        for row in self.rows:
            cells = [_exact(row.cells.get(column.key)) for column in self.columns]
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
        for column in self.columns:
            table.add_column(column.title, justify="right" if column.numeric else "left")
        for position, row in enumerate(self.rows):
            following = self.rows[position + 1 : position + 2]
            ends = any(self._section(row) != self._section(other) for other in following)
            shown = [_unmarked(text) for text in self._shown(row)]
            table.add_row(*shown, style="dim" if row.floor else None, end_section=ends)
        return table

    def _shown(self, row: Row) -> list[str]:
        return [column.show(row.cells.get(column.key)) for column in self.columns]

    def _section(self, row: Row) -> Cell:
        return row.cells.get(self.section)


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
    Column("MAE", "M ↓", 3),
    Column("F", "Fβ ↑", 3),
    Column("F_variant", "Fβ is", numeric=False),
    Column("meanE", "Eφ ↑", 3),
    Column("S", "Sα ↑", 3),
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
    return [
        f"INCOMPLETE: failed and missing samples are {_POLICIES[policy]} (missing={policy})"
        for policy in policies
    ]


def _exact(cell: Cell) -> str:
    if cell is None:
        return ""
    return repr(cell) if isinstance(cell, float) else str(cell)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _unmarked(text: str) -> str:
    """The text with what rich would take for markup made literal."""
    return text.replace("[", "\\[")
