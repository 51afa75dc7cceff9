"""Options that several commands take, and how the shell completes them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

_EXAMPLES = """KEY=VALUE, e.g. dataset=cod10k models=tiny task=cod seed=1 method=int
backbone/inpainter=telea; `int-bench data list`, `models list` and `methods` say what there is."""


def complete_override(ctx: typer.Context, args: list[str], incomplete: str) -> list[str]:
    """Completions of ``dataset=c`` and of ``method.w=``; see :mod:`int_bench.cli.words.completion`.

    Bash breaks words at the equals sign, so that the value may arrive as a word of its own, which
    is then what it replaces.
    """
    from int_bench.cli.words.completion import override

    *_, key, mark, start = ["", "", "", *os.environ.get("COMP_WORDS", "").split()]
    if start == "=":
        key, mark, start = mark, start, ""
    verb = ctx.info_name or ""
    if mark == "=":
        candidates = override(verb, args, f"{key}={start}")
        return [text.removeprefix(f"{key}=") for text in candidates]
    return override(verb, args, incomplete)


def complete_table(incomplete: str) -> list[str]:
    """Completions of a table's name."""
    from int_bench.cli.words.completion import table

    return table(incomplete)


def complete_metric(incomplete: str) -> list[str]:
    """Completions of ``--metric``."""
    from int_bench.cli.words.completion import metric

    return metric(incomplete)


def complete_columns(incomplete: str) -> list[str]:
    """Completions of ``--columns``, of its last name."""
    from int_bench.cli.words.completion import columns

    return columns(incomplete)


Overrides = Annotated[
    list[str] | None,
    typer.Argument(help=_EXAMPLES, metavar="[KEY=VALUE]...", autocompletion=complete_override),
]
Limit = Annotated[
    str | None,
    typer.Option("--limit", "-n", metavar="N|A-B", help="Only the first N images, or A to B."),
]
Ids = Annotated[str | None, typer.Option("--ids", metavar="A,B", help="Only these images.")]
IdsFile = Annotated[
    Path | None, typer.Option("--ids-file", help="Only the images of this list, an id a line.")
]
PrintConfig = Annotated[
    bool,
    typer.Option("--print-config", help="Print the configuration, and where each value is from."),
]
Out = Annotated[Path | None, typer.Option("--out", help="Root of the run folders.")]
Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="A,B|all",
        help="Scores to show, e.g. S,IoU,Dice.",
        autocompletion=complete_columns,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check all and say what would be done.")]
Verify = Annotated[
    bool,
    typer.Option(
        "--verify", help="Read every byte that scores were made from; else sizes and dates."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say what the models have done as well.")
]
Profile = Annotated[
    Path | None,
    typer.Option("--profile", metavar="FILE.json", help="Write a trace for chrome://tracing."),
]
