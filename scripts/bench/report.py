"""What a benchmark prints and keeps: one small table, one JSON file, and gates that can fail."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("torch", "transformers", "diffusers", "numpy", "pysodmetrics")


@dataclass(frozen=True)
class Row:
    """One measured number.

    ``bar`` is what it is held to: at least (``sense`` ``>=``), at most (``<=``) or exactly
    (``==``); None where it is only told.
    """

    what: str
    value: float
    unit: str = ""
    sense: str = ">="
    bar: float | None = None

    @property
    def passed(self) -> bool:
        """Whether it meets its bar; True without one."""
        if self.bar is None:
            return True
        checks = {">=": self.value >= self.bar, "<=": self.value <= self.bar}
        return checks.get(self.sense, self.value == self.bar)


def finish(
    name: str, rows: Sequence[Row], sizes: Mapping[str, Any], folder: Path | None, note: str = ""
) -> int:
    """Print the table, write ``<folder>/<name>.json``, and return the exit code: 1 below a bar.

    Args:
        name: of the benchmark's module below this room; its last part is that of the file.
        rows: the numbers.
        sizes: what was run, JSON-ready.
        folder: where the file goes; None writes none.
        note: what the numbers cannot show, under the table.
    """
    console = Console(width=110)
    console.print(_table(name, rows))
    if note:
        console.print(note, style="dim")
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            "benchmark": name,
            "command": f"python -m scripts.bench.{name} {' '.join(sys.argv[1:])}".strip(),
            "machine": machine(),
            "sizes": dict(sizes),
            "rows": [asdict(row) | {"passed": row.passed} for row in rows],
            "passed": all(row.passed for row in rows),
        }
        (folder / f"{name.rpartition('.')[2]}.json").write_text(
            json.dumps(content, indent=1) + "\n"
        )
    return int(not all(row.passed for row in rows))


def _table(name: str, rows: Sequence[Row]) -> Table:
    table = Table(title=name, title_justify="left")
    table.add_column("what")
    table.add_column("measured", justify="right")
    table.add_column("bar", justify="right")
    table.add_column("")
    for row in rows:
        bar = "" if row.bar is None else f"{row.sense} {_short(row.bar)}"
        verdict = "" if row.bar is None else "ok" if row.passed else "[red]MISSED[/red]"
        table.add_row(row.what, f"{_short(row.value)} {row.unit}".strip(), bar, verdict)
    return table


def _short(number: float) -> str:
    if float(number).is_integer() and abs(number) < 1e9:
        return f"{int(number):,}"
    return f"{number:.4g}"


def machine() -> dict[str, Any]:
    """What the numbers were measured with."""
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "packages": {package: version(package) for package in PACKAGES},
    }
