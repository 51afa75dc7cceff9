"""``int-bench report RUN [RUN2]``: a run, or one beside another, as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from int_bench.cli.results import run_at
from int_bench.cli.screen import say
from int_bench.core.files import write_file
from int_bench.errors import Exit, UsageError
from int_bench.report.html.maker import MIB
from int_bench.report.html.page import gather
from int_bench.report.html.render import render

_LEAST = 1.0
"""MiB: style, script and the numbers of a thousand images."""


def report_command(places: Sequence[Path], out: Path, budget: float) -> int:
    """Write the page, and say where it lies and what there was no room for.

    Args:
        places: one or two run folders, or the beginnings of their hashes.
        out: the file to write.
        budget: MiB that it may have.

    Raises:
        MissingAsset: a folder is no run folder.
        UsageError: the same run twice, too small a budget, or the file cannot be written.
    """
    folders = [run_at(place) for place in places]
    if len(folders) > 1 and folders[0].resolve() == folders[1].resolve():
        raise UsageError(f"{folders[0]} is given twice; give two runs, or one.")
    if budget < _LEAST:
        raise UsageError(f"--budget is {budget:g} MiB, and a page takes at least {_LEAST:g}.")
    page = gather(folders, int(budget * MIB))
    text = render(page).encode(errors="backslashreplace")
    write_file(out, text)
    for note in (*page.warnings, *page.left_out):
        say(note)
    print(f"{out} ({len(text) / MIB:.1f} MiB, {len(page.entries)} images)")
    return Exit.DONE
