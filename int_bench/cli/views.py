"""The commands that show a run: ``int-bench picture`` and ``int-bench report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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
    """Draw the masks and names of a run over its iterations, with ground truth or without."""
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
    """One HTML file to look at a run, image by image, and see why; opened by a double click."""
    from int_bench.cli.report import report_command

    return report_command([run_dir, *([other] if other else [])], out, budget)
