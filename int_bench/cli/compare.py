"""``int-bench compare``: one run against another on the same samples."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from int_bench.cli.results import load_run
from int_bench.config.binding import closest
from int_bench.errors import UsageError
from int_bench.report.comparison import compare
from int_bench.scoring.stored import CURVE_MAXIMA, metric_names

_WIDTH = 140


@dataclass(frozen=True)
class CompareCommand:
    """What was typed.

    Attributes:
        a: the run that is compared with.
        b: the other.
        metric: ``--metric``.
        common: ``--common``: compare on the samples that both have.
        most: ``--count``: how many samples to list.
        json: ``--json``.
    """

    a: Path
    b: Path
    metric: str = "native.S"
    common: bool = False
    most: int = 10
    json: bool = False


def compare_command(command: CompareCommand) -> int:
    """Print the paired statistics and the samples that changed most.

    Raises:
        UsageError: an unknown metric, or runs of different samples without ``--common``.
        MissingAsset: a folder is no scored run.
    """
    metric = _checked(command.metric)
    runs = load_run(command.a), load_run(command.b)
    found = compare(*runs, metric, command.common)
    if command.json:
        print(json.dumps(found.as_json(command.most), ensure_ascii=False, allow_nan=False))
        return 0
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    console.print(found.table().to_rich())
    console.print()
    console.print(found.changes(command.most).to_rich())
    return 0


def _checked(metric: str) -> str:
    known = metric_names()
    if metric in known:
        return metric
    if metric.rpartition(".")[2] in CURVE_MAXIMA:
        raise UsageError(
            f"{metric} is the maximum of a mean curve and no mean over samples; choose another."
        )
    raise UsageError(
        f"Unknown metric {metric!r}; choose one of {', '.join(known)}." + closest(metric, known)
    )
