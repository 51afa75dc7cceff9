"""Options that several commands take, and how the shell completes them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

_EXAMPLES = """KEY=VALUE, e.g. dataset=cod10k models=tiny task=cod seed=1 method=int
backbone/inpainter=telea; `int-bench data list`, `models list` and `methods` say what there is."""


def complete_override(args: list[str], incomplete: str) -> list[str]:
    """Completions of ``dataset=c``: groups, then the options of the group.

    Bash breaks words at the equals sign, so that the option may arrive as a word of its own.
    """
    from int_bench.config.places import groups, options

    *_, group, mark, start = ["", "", "", *os.environ.get("COMP_WORDS", "").split()]
    if start == "=":
        group, mark, start = mark, start, ""
    if mark == "=":
        return [name for name in options(group) if name.startswith(start)]
    group, equals, start = incomplete.partition("=")
    if equals:
        return [f"{group}={name}" for name in options(group) if name.startswith(start)]
    return [f"{name}=" for name in groups() if name.startswith(incomplete)]


Overrides = Annotated[
    list[str] | None,
    typer.Argument(help=_EXAMPLES, metavar="[KEY=VALUE]...", autocompletion=complete_override),
]
Limit = Annotated[
    str | None, typer.Option("--limit", "-n", metavar="N", help="Only the first N images.")
]
Out = Annotated[Path | None, typer.Option("--out", help="Root of the run folders.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check all and say what would be done.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say what the models have done as well.")
]
Profile = Annotated[
    Path | None,
    typer.Option("--profile", metavar="FILE.json", help="Write a trace for chrome://tracing."),
]
