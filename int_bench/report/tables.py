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
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from rich import box
from rich.table import Table as RichTable
from rich.text import Text

from int_bench.core.text import Medium, shown

if TYPE_CHECKING:  # it imports scipy.stats, which the end of a run does not wait for
    from int_bench.report.statistics import Interval

Cell: TypeAlias = str | int | float | None
"""A text, a count, an unrounded number, or nothing."""

_NAMES, _NAME, _BLANKS = 3, 10, 2
"""Columns of names that each part of a table begins with, the characters that they get at least,
and the blanks behind each column."""
_POLICIES = {
    "error": "failed samples are left out of the means",
    "skip": "failed and missing samples are left out of the means (--missing skip)",
    "empty": "failed and missing samples count as empty masks in the means (--missing empty)",
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

    def show(self, row: Row, medium: Medium = "terminal") -> str:
        """A row's cell as text for the eye, without its interval; a dash where there is nothing.

        Texts are such as the medium prints as text and as nothing else.
        """
        cell = row.shown.get(self.key, row.cells.get(self.key))
        if isinstance(cell, str):
            return shown(cell, medium)
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
    """What the means do about samples without a score, in words."""
    return _POLICIES.get(policy, policy)


def ends_of(key: str) -> tuple[str, str]:
    """The keys of the ends of a cell's interval."""
    return f"{key}_low", f"{key}_high"


def with_interval(key: str, value: float, interval: Interval | None) -> dict[str, Cell]:
    """A number with the ends of its interval, by their keys."""
    low, high = ends_of(key)
    ends = (interval.low, interval.high) if interval else (None, None)
    return {key: value, low: ends[0], high: ends[1]}


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
        body = [self._texts(row, "markdown") for row in self.rows]
        lines = [f"| {' | '.join(cells)} |" for cells in (titles, rules, *body)]
        notes = [f"- {shown(note, 'markdown')}" for note in self.notes]
        title = f"**{shown(self.title, 'markdown')}**"
        return "\n".join([title, "", *lines, "", *notes]).rstrip() + "\n"

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
        return json.dumps(content, allow_nan=False)

    def to_rich(self, width: int | None = None) -> list[RichTable | Text]:
        """Tables for the terminal, a rule between sections, trivial answers dimmed.

        One, unless the columns do not fit side by side: then several beneath each other that all
        begin with the same columns of names. Texts are folded and numbers stay whole. The notes
        come last, at the width of the terminal and not of a narrow table.

        Args:
            width: of the terminal in characters; None for one table of any width.
        """
        texts = [self._texts(row, "terminal") for row in self.rows]
        width = None if width is None else width + _BLANKS  # the last column has none behind it
        if width is not None and sum(self._needs(texts)) > width:
            texts = [[text.replace(" [", "\n[") for text in row] for row in texts]
        tables = [self._rich(part, texts) for part in self._parts(texts, width)]
        tables[0].title = Text(shown(self.title))
        notes = [Text("\n".join(map(shown, self.notes)), "table.caption")] if self.notes else []
        return [*tables, *notes]

    def _parts(self, texts: Sequence[Sequence[str]], width: int | None) -> list[list[int]]:
        """Places of the visible columns of each table: the first names, and what fits beside."""
        needs = self._needs(texts)
        numbers = [place for place, column in enumerate(self.visible) if column.numeric]
        names = list(range(min([*numbers, _NAMES, len(needs)])))
        rest = list(range(len(names), len(needs)))
        if width is None or not rest or sum(needs) <= width:
            return [[*names, *rest]]
        room = width - sum(needs[place] for place in names)
        parts, used = [[rest[0]]], needs[rest[0]]
        for place in rest[1:]:
            if used + needs[place] > room:
                parts.append([])
                used = 0
            parts[-1].append(place)
            used += needs[place]
        return [[*names, *part] for part in parts]

    def _needs(self, texts: Sequence[Sequence[str]]) -> list[int]:
        """Characters that each visible column takes at least, with the blanks behind it."""
        return [self._least(place, texts) + _BLANKS for place in range(len(self.visible))]

    def _least(self, place: int, texts: Sequence[Sequence[str]]) -> int:
        """A number's column takes its longest line, a text's its longest word, at most a few."""
        column = self.visible[place]
        cells = [column.title, *(row[place] for row in texts)]
        if column.numeric:
            return max(len(line) for cell in cells for line in cell.splitlines() or [""])
        return min(_NAME, max(len(word) for cell in cells for word in cell.split(" ")))

    def _rich(self, places: Sequence[int], texts: Sequence[Sequence[str]]) -> RichTable:
        table = RichTable(
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
            pad_edge=False,
            show_edge=False,
        )
        table.title_justify = "left"
        for place in places:
            column = self.visible[place]
            side: Literal["left", "right"] = "right" if column.numeric else "left"
            least = self._least(place, texts)
            table.add_column(
                column.title,
                justify=side,
                overflow="fold",
                min_width=least,
                no_wrap=column.numeric,
            )
        for position, row in enumerate(self.rows):
            following = self.rows[position + 1 : position + 2]
            ends = any(self.starts_section(other, row) for other in following)
            cells = [Text(texts[position][place]) for place in places]
            table.add_row(*cells, style="dim" if row.floor else None, end_section=ends)
        return table

    def _texts(self, row: Row, medium: Medium) -> list[str]:
        return [
            " ".join(filter(None, (column.show(row, medium), column.show_interval(row))))
            for column in self.visible
        ]

    def starts_section(self, row: Row, before: Row) -> bool:
        """Whether a row is of another section than the row before."""
        return row.cells.get(self.section) != before.cells.get(self.section)


def _exact(cell: Cell) -> str:
    if isinstance(cell, str):
        return shown(cell, "csv")
    if cell is None:
        return ""
    return repr(cell) if isinstance(cell, float) else str(cell)
