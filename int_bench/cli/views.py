"""The commands that show a run, ``int-bench picture`` and ``report``, and ``int-bench train``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from int_bench.cli.words.options import DryRun, Limit, Out, Overrides
from int_bench.errors import Exit, UsageError

_LEAST = 1.0
"""MiB: style, script and the numbers of a thousand images."""


def picture(
    run_dir: Annotated[
        Path, typer.Argument(help="A run folder made with keep=soft or keep=trace.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The PNG to write.")] = Path("picture.png"),
    most: Annotated[int, typer.Option("-n", "--count", min=1, help="The first N images.")] = 4,
    ids: Annotated[
        list[str] | None, typer.Option("--id", metavar="ID", help="This image; may be repeated.")
    ] = None,
    worst: Annotated[
        int, typer.Option("--worst", min=0, metavar="K", help="The K of the lowest score.")
    ] = 0,
    best: Annotated[
        int, typer.Option("--best", min=0, metavar="K", help="The K of the highest score.")
    ] = 0,
) -> int:
    """Draw the masks and names of a run over its iterations."""
    from int_bench.cli.picture import Choice, picture_command

    print(picture_command(run_dir, out, Choice(most, tuple(ids or ()), worst, best)))
    return 0


def report(
    run_dir: Annotated[Path, typer.Argument(help="A run folder; best made with keep=trace.")],
    other: Annotated[
        Path | None, typer.Argument(help="A second one, to be seen beside it.", metavar="[RUN_DIR]")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="The file to write.")] = Path("report.html"),
    budget: Annotated[
        float, typer.Option("--budget", metavar="MIB", help="The largest file, in MiB.")
    ] = 20.0,
) -> int:
    """One HTML file to look at a run, image by image, and see why."""
    return report_command([run_dir, *([other] if other else [])], out, budget)


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
    from int_bench.cli.results import run_at
    from int_bench.cli.screen import say
    from int_bench.core.files import write_file
    from int_bench.report.html.maker import MIB
    from int_bench.report.html.page import gather
    from int_bench.report.html.render import render

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


def train(
    overrides: Overrides = None,
    limit: Limit = None,
    out: Out = None,
    dry_run: DryRun = False,
) -> int:
    """Train what a method needs; given again it resumes.

    method=plm, sapnet_select, sapnet or sam_decoder. The adapter that it prints is for
    `run ... backbone.segmenter.adapter=FOLDER`.
    """
    from int_bench.cli.screen import Command
    from int_bench.cli.training.train import train_command

    return train_command(Command("train", tuple(overrides or ()), limit, out, dry_run))


def propose(
    overrides: Overrides = None,
    limit: Limit = None,
    out: Out = None,
    dry_run: DryRun = False,
) -> int:
    """Make bags of proposals for objects; given again it resumes.

    The folder that it prints is for `train method=sapnet_select train.bags=FOLDER`.
    """
    from int_bench.cli.screen import Command
    from int_bench.cli.training.propose import propose_command

    return propose_command(Command("propose", tuple(overrides or ()), limit, out, dry_run))
