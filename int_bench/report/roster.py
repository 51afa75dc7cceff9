"""Every method of the paper's Tables 1 and 2, with what gives its row here.

What runs here is told from its name alone (``published.find``). The other rows enter as masks that
their authors or others have made: ``int-bench eval`` scores any folder of maps in the same way and
puts it into the same tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from int_bench.report.published import SETS, find, published

_TABLES = ("1", "2")


@dataclass(frozen=True)
class Entry:
    """One method of the paper's tables.

    Attributes:
        method: as printed.
        setting: kind of supervision, as printed.
        tables: which tables have it.
        ours: the methods here whose runs belong beside it; empty if it enters as masks.
    """

    method: str
    setting: str
    tables: tuple[str, ...]
    ours: tuple[str, ...]

    @property
    def how(self) -> str:
        """What to type."""
        if self.ours:
            return "int-bench run " + " or ".join(f"method={name}" for name in self.ours)
        return f"as masks: int-bench eval --pred DIR --gt DIR --method {self._name!r}"

    @property
    def _name(self) -> str:
        """The name under which ``published.find`` knows the row whatever else has this name."""
        kind = self.setting.partition(" ")[0].lower()
        return self.method if kind == "task-generic" else f"{self.method} {kind}"


def roster(names: Sequence[str]) -> tuple[Entry, ...]:
    """The methods of Tables 1 and 2, each once, in the order of the paper.

    Args:
        names: the methods that can be run here.
    """
    tables: dict[tuple[str, str], list[str]] = {}
    ours: dict[tuple[str, str], list[str]] = {}
    by_printed = {printed.name: name for name, printed in SETS.items()}
    for which in _TABLES:
        for row in published(which):
            key = row.method, row.setting
            if which not in tables.setdefault(key, []):
                tables[key].append(which)
            found = ours.setdefault(key, [])
            dataset = by_printed[row.dataset]
            found += [n for n in names if n not in found and find(which, dataset, n) == row]
    return tuple(Entry(*key, tuple(tables[key]), tuple(ours[key])) for key in tables)
