"""The commands about what is here: ``int-bench data ...`` and ``int-bench models ...``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from int_bench.cli.words.options import Json, Overrides

data_app = typer.Typer(help="Data sets: what there is, and drawn scenes.", rich_markup_mode=None)
models_app = typer.Typer(
    help="Models: what there is, what is missing, and how it gets here.", rich_markup_mode=None
)


@data_app.callback(invoke_without_command=True)
@models_app.callback(invoke_without_command=True)
def help_alone(ctx: typer.Context) -> None:
    """Without a command, say which there are."""
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())


@data_app.command("list")
def data_list() -> int:
    """The data sets, and what is missing here."""
    from int_bench.cli.assets.listing import list_data

    return list_data()


@data_app.command("make")
def data_make(
    name: Annotated[str, typer.Argument(help="camoworld, camoworld_polyp or camoworld_skin.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write images/ and masks/ to.")],
    split: Annotated[
        str, typer.Option("--split", help="demo, train, validation or test.")
    ] = "demo",
    count: Annotated[int, typer.Option("-n", "--count", help="How many scenes.")] = 64,
) -> int:
    """Write drawn scenes as a paired folder."""
    from int_bench.cli.assets.listing import make_data

    return make_data(name, out, split, count)


@data_app.command("check")
def data_check(
    overrides: Overrides = None,
    pred: Annotated[Path | None, typer.Option("--pred", help="Folder of anybody's masks.")] = None,
    gt: Annotated[Path | None, typer.Option("--gt", help="Folder of ground truth.")] = None,
    json: Json = False,
) -> int:
    """Name what is odd in dataset=NAME, or in --pred beside --gt.

    The exit code is 4 if more than notes were found.
    """
    from int_bench.cli.assets.data import check_command

    return check_command(overrides or [], pred, gt, json)


@data_app.command("fetch")
def data_fetch(
    overrides: Overrides = None,
    yes: Annotated[bool, typer.Option("--yes", help="Accept the terms that are printed.")] = False,
) -> int:
    """Download dataset=NAME, or say how to get it by hand."""
    from int_bench.cli.assets.data import fetch_command

    return fetch_command(overrides or [], yes)


@models_app.command("fetch")
def models_fetch(overrides: Overrides = None) -> int:
    """Download the weights of models=PRESET or backbone/ROLE=NAME."""
    from int_bench.cli.assets.fetch import fetch_command

    return fetch_command(overrides or [])


@models_app.command("list")
def models_list() -> int:
    """The model presets, and what is missing here."""
    from int_bench.cli.assets.listing import list_models

    return list_models()


@models_app.command("plan")
def models_plan(overrides: Overrides = None, json: Json = False) -> int:
    """Whether models fit into a GPU of 40, 48 or 80 GB, or this one."""
    from int_bench.cli.assets.plan import plan_command

    return plan_command(overrides or [], json)
