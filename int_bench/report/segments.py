"""What was found in pictures without ground truth, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from int_bench.report.tables import Cell, Column, Row, Table
from int_bench.runs.reader import Run
from int_bench.runs.segments import Segment, segments

_LISTED = 40  # rows for the eye

_COLUMNS = (
    Column("method", "method", numeric=False),
    Column("trial", "trial"),
    Column("id", "picture", numeric=False),
    Column("name", "name", numeric=False),
    Column("box", "box x0 y0 x1 y1"),
    Column("share", "share"),
    Column("seconds", "s", decimals=1),
    Column("status", "status", numeric=False, hidden=True),
    Column("mask", "mask", numeric=False, hidden=True),
    Column("error", "error", numeric=False, hidden=True),
)


def segments_table(title: str, labelled: Sequence[tuple[str, Segment]]) -> Table:
    """A row for each picture: the name that was chosen, the mask's box and share, seconds.

    Args:
        title: what the table is of.
        labelled: what was found, with the method that found it (a column where they differ).
    """
    several = {
        "method": len({method for method, _ in labelled}) > 1,
        "trial": len({segment.trial for _, segment in labelled}) > 1,
    }
    columns = [column for column in _COLUMNS if several.get(column.key, True)]
    rows = [_row(method, segment) for method, segment in labelled]
    return Table(title, tuple(columns), tuple(rows), section="method")


def found_by(folders: Sequence[Path]) -> Table:
    """What runs without ground truth found.

    Args:
        folders: the run folders.

    Raises:
        MissingAsset: one is no run folder, or nothing of it was run.
    """
    runs = [Run(folder) for folder in folders]
    labelled = [(run.label, segment) for run in runs for segment in segments(run)]
    return segments_table("What was found", labelled)


def shortened(table: Table, all_of_it: str) -> Table:
    """The first rows for the eye, and where all of them are."""
    more = len(table.rows) - _LISTED
    if more <= 0:
        return table
    return replace(
        table, rows=table.rows[:_LISTED], notes=(f"and {more} more: {all_of_it}", *table.notes)
    )


def _row(method: str, segment: Segment) -> Row:
    box = None if segment.box is None else " ".join(map(str, segment.box))
    cells: dict[str, Cell] = {
        "method": method,
        "trial": segment.trial + 1,
        "id": segment.id,
        "name": segment.name,
        "box": box,
        "share": segment.share,
        "seconds": segment.seconds,
        "status": segment.status,
        "mask": None if segment.mask is None else str(segment.mask),
        "error": segment.error,
    }
    shown = {} if segment.share is None else {"share": f"{segment.share:.1%}"}
    if segment.status != "ok":
        shown["name"] = "failed"
    return Row(cells, shown=shown, ranked=False)
