"""What the variants of one command share: the model rows of each alone, and of all together.

A row is one request that a model computed. A variant's ``rows`` were computed for it first, its
``shared`` had been computed for another variant; alone it would have computed both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_KINDS = ("rows", "shared")


@dataclass
class Tally:
    """What one variant has asked for: its images (over trials) and their counters, summed."""

    images: int = 0
    counters: Counter[str] = field(default_factory=Counter)

    def add(self, counters: Mapping[str, int]) -> None:
        """Count one more image."""
        self.images += 1
        self.counters.update(counters)

    def count(self, kind: str) -> int:
        """``rows`` or ``shared``, over all roles and verbs."""
        return sum(n for name, n in self.counters.items() if name.rpartition(".")[2] == kind)

    @property
    def alone(self) -> int:
        """The model rows that the variant would have made without the others."""
        return sum(map(self.count, _KINDS))

    def as_json(self) -> dict[str, Any]:
        """Images, rows alone, and both kinds by ``<role>.<verb>``."""
        named = [name.rpartition(".") for name in self.counters]
        verbs = sorted({verb for verb, _, kind in named if kind in _KINDS})
        split = {verb: {kind: self.counters[f"{verb}.{kind}"] for kind in _KINDS} for verb in verbs}
        return {"images": self.images, "rows_alone": self.alone, "verbs": split}


@dataclass(frozen=True)
class Sharing:
    """The tallies of all variants of one command, by name, the full method first."""

    variants: Mapping[str, Tally] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """The model rows that were computed, for all together."""
        return sum(tally.count("rows") for tally in self.variants.values())

    @property
    def saved(self) -> int:
        """The model rows that all would have made one by one, less those computed."""
        return sum(tally.count("shared") for tally in self.variants.values())

    @property
    def ratio(self) -> float | None:
        """The rows of all together over those of the first alone.

        None where that says nothing: the first asked for none, or not for as many images as the
        others (a run that was resumed).
        """
        first, *others = self.variants.values() or [Tally()]
        comparable = first.alone and all(one.images == first.images for one in others)
        return self.rows / first.alone if comparable else None

    @property
    def _worth_saying(self) -> bool:
        return len(self.variants) > 1 and any(one.alone for one in self.variants.values())

    def as_json(self) -> dict[str, Any] | None:
        """Unrounded, JSON-ready; None where there is nothing to share."""
        if not self._worth_saying:
            return None
        variants = {name: tally.as_json() for name, tally in self.variants.items()}
        return {"variants": variants, "rows": self.rows, "saved": self.saved, "ratio": self.ratio}

    def lines(self) -> list[str]:
        """For the terminal: a line per variant, and the sum; none where nothing could be shared."""
        if not self._worth_saying:
            return []
        wide = max(map(len, self.variants))
        alone = {name: f"{tally.alone:,}" for name, tally in self.variants.items()}
        high = max(map(len, alone.values()))
        first, ratio = next(iter(self.variants)), self.ratio
        times = "" if ratio is None else f", {ratio:.2f} times those of {first} alone"
        return [
            "Model rows that variants share:",
            *(f"{name:<{wide}}  {rows:>{high}} rows alone" for name, rows in alone.items()),
            f"all together {self.rows:,} rows: {self.saved:,} saved by sharing{times}",
        ]
