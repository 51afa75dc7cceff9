"""A table as LaTeX: booktabs rules, best number of a column bold, second best underlined."""

from __future__ import annotations

from collections.abc import Iterator

from int_bench.core.text import shown
from int_bench.report.tables import Column, Row, Table

_SYMBOLS = {
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "φ": r"$\phi$",
    "Δ": r"$\Delta$",
    "†": r"$^\dagger$",
}


_ON_A_PAGE = 40
"""Rows that a ``table`` holds; a longer one is broken over pages."""


def to_latex(table: Table) -> str:
    r"""A ``table`` environment that needs ``\usepackage{booktabs}``.

    One of more rows than a page holds is a ``longtable``, which needs that package too and a single
    column of text. Numbers are rounded once, from the table's unrounded cells. Best and second best
    are found among the numbers as shown, so that equal texts are marked alike.
    """
    form = "".join("r" if column.numeric else "l" for column in table.visible)
    caption = rf"\caption{{{escaped(table.title)}}}"
    titles = _line([escaped(column.title) for column in table.visible])
    head, body = [r"\toprule", titles, r"\midrule"], [*_body(table), r"\bottomrule"]
    notes = [rf"{escaped(note)}\par" for note in table.notes]
    if notes:
        notes = ["", r"\smallskip\footnotesize\raggedright", *notes]
    if len(table.rows) > _ON_A_PAGE:
        start = [
            rf"\begin{{longtable}}{{{form}}}",
            rf"{caption}\tabularnewline",
            *head,
            r"\endhead",
        ]
        lines = ["{", *start, *body, r"\end{longtable}", *notes, "}"]
    else:
        start = [r"\begin{table}", r"\centering", caption, rf"\begin{{tabular}}{{{form}}}"]
        lines = [*start, *head, *body, r"\end{tabular}", *notes, r"\end{table}"]
    return "\n".join(lines) + "\n"


def _body(table: Table) -> Iterator[str]:
    """The rows, a rule between sections."""
    columns = table.visible
    marked = {column.key: _ranks(table, column) for column in columns if column.better}
    for position, row in enumerate(table.rows):
        if position and table.starts_section(row, table.rows[position - 1]):
            yield r"\midrule"
        yield _line([_cell(c, row, marked.get(c.key, {}).get(position)) for c in columns])


def escaped(text: str) -> str:
    """Text with the marks of LaTeX made literal, and its symbols."""
    return _with_symbols(shown(text, "latex"))


def _with_symbols(text: str) -> str:
    return "".join(_SYMBOLS.get(letter, letter) for letter in text)


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(column: Column, row: Row, rank: int | None) -> str:
    number = _with_symbols(column.show(row, "latex"))
    if rank is not None:
        number = rf"\{('textbf', 'underline')[rank]}{{{number}}}"
    return " ".join(filter(None, (number, escaped(column.show_interval(row)))))


def _ranks(table: Table, column: Column) -> dict[int, int]:
    """Positions of the rows that are best (0) and second best (1) of their group in a column."""
    groups: dict[tuple[object, ...], dict[int, float]] = {}
    for position, row in enumerate(table.rows):
        cell = row.cells.get(column.key)
        if row.ranked and not row.floor and isinstance(cell, int | float):
            group = groups.setdefault(tuple(row.cells.get(key) for key in table.rank_within), {})
            group[position] = cell if column.decimals is None else round(cell, column.decimals)
    return {
        position: rank
        for group in groups.values()
        if len(group) > 1
        for rank, number in enumerate(_two_best(group, column))
        for position, value in group.items()
        if value == number
    }


def _two_best(group: dict[int, float], column: Column) -> list[float]:
    return sorted(set(group.values()), reverse=column.better == "higher")[:2]
