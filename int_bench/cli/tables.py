"""``int-bench table``: the paper's tables with ours beside them, or runs beside each other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from int_bench.cli.results import DEFAULT_ROOT, load_run, runs_in
from int_bench.cli.screen import say
from int_bench.errors import UsageError, UserError
from int_bench.report.latex import to_latex
from int_bench.report.paper_tables import paper_table, runs_table
from int_bench.report.published import TABLES
from int_bench.report.rows import Settings
from int_bench.report.tables import Table
from int_bench.scoring.stored import RunScores

_WIDTH = 160  # characters of a table that does not go to a terminal
FORMATS: dict[str, Callable[[Table], str]] = {
    "md": Table.to_markdown,
    "latex": to_latex,
    "csv": Table.to_csv,
    "json": lambda table: table.to_json() + "\n",
    "terminal": lambda table: _drawn(table),
}


@dataclass(frozen=True)
class TableCommand:
    """What was typed.

    Attributes:
        words: the table's name, and further run folders.
        runs: ``--runs``.
        format: ``--format``; None chooses by the name of ``out``, or the terminal.
        out: ``--out``; None prints.
        settings: of the statistics.
    """

    words: Sequence[str]
    runs: Sequence[Path]
    format: str | None
    out: Path | None
    settings: Settings


def table_command(command: TableCommand) -> int:
    """Print or write a table.

    Raises:
        UsageError: no table and no runs, or an unknown format.
        MissingAsset: a folder is missing or holds no scores.
    """
    names = [word for word in command.words if word in TABLES]
    places = [*command.runs, *(Path(word) for word in command.words if word not in TABLES)]
    if len(names) > 1 or not (names or places):
        raise UsageError(f"Say which table ({', '.join(TABLES)}), or --runs DIR [DIR...].")
    if not (names or command.runs or places[0].exists()):
        raise UsageError(f"There is no table {command.words[0]!r}; choose {', '.join(TABLES)}.")
    if names and command.settings.against:
        raise UsageError("--against compares runs with each other: give --runs DIR, and no table.")
    render = FORMATS[_format(command)]
    runs = [load_run(folder) for folder in runs_in(places)] if places else _all_runs()
    if names:
        table = paper_table(names[0], runs, command.settings)
    else:
        table = runs_table(_with_base(runs, command.settings.against), command.settings)
    if command.out is None:
        print(render(table), end="")
    else:
        _write(command.out, render(table))
    return 0


def _all_runs() -> list[RunScores]:
    """Every scored run under the default root; the others are named on stderr."""
    if not DEFAULT_ROOT.is_dir():
        return []
    runs = []
    for folder in runs_in([DEFAULT_ROOT]) if any(DEFAULT_ROOT.iterdir()) else []:
        try:
            runs.append(load_run(folder))
        except UserError as error:
            say(f"left out {folder}: {error}")
    return runs


def _with_base(runs: list[RunScores], against: str | None) -> list[RunScores]:
    """The runs, the one that others are compared with among them."""
    methods = list(dict.fromkeys(run.method for run in runs))
    if against is not None and against not in methods:
        raise UsageError(f"No run of --against {against} here; there are {', '.join(methods)}.")
    return runs


def _format(command: TableCommand) -> str:
    by_suffix = {".tex": "latex", ".md": "md", ".csv": "csv", ".json": "json"}
    suffix = command.out.suffix if command.out else ""
    chosen = command.format or by_suffix.get(suffix, "terminal")
    if chosen not in FORMATS:
        raise UsageError(f"--format must be {', '.join(FORMATS)}, not {chosen!r}.")
    return chosen


def _drawn(table: Table) -> str:
    """For the terminal, at its width."""
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    with console.capture() as capture:
        console.print(table.to_rich())
    return capture.get()


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from error
    say(f"wrote {path}")
