"""What the models did in a command, by role, and what its variants shared.

Counts are of what the backbones received; a request answered from memory reached none of them. A
row is one request that a model computed. A variant's ``rows`` were computed for it first, its
``shared`` had been computed for another variant; alone it would have computed both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_KINDS = ("calls", "failed_calls", "requests", "rows", "hits", "shared")
_ROWS = ("rows", "shared")
_TITLES = ("model", "seconds", "per image", "calls", "requests", "rows", "hits", "avoided")


@dataclass(frozen=True)
class RoleWork:
    """The work of one model.

    Attributes:
        seconds: wall-clock time inside its calls, loading its weights at the first one included.
        counts: ``calls``, ``failed_calls`` (out of memory, say; made again in halves),
            ``requests`` of the methods, ``rows`` computed for them, ``hits`` in the memo, of which
            ``shared`` are each method's first on what was computed for another.
        counted: what the model counts itself, e.g. ``vision_passes``.
    """

    seconds: float
    counts: Mapping[str, int]
    counted: Mapping[str, int] = field(default_factory=dict)

    @property
    def avoided(self) -> float:
        """The share of requests, 0..1, that an equal one made before or in flight answered."""
        return self.counts["hits"] / max(self.counts["requests"], 1)


@dataclass(frozen=True)
class Work:
    """The work of all models in one command, for the images that it worked on."""

    images: int = 0
    roles: Mapping[str, RoleWork] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Unrounded but for the seconds, JSON-ready."""
        return {
            "images": self.images,
            "roles": {
                role: {
                    "seconds": round(work.seconds, 6),
                    "seconds_per_image": round(work.seconds / max(self.images, 1), 6),
                    **work.counts,
                    "avoided": work.avoided,
                    "counted": dict(work.counted),
                }
                for role, work in self.roles.items()
            },
        }

    def lines(self) -> list[str]:
        """For the terminal: a row per model, then what the models counted; none without work."""
        if not self.roles:
            return []
        rows = [_TITLES, *(self._row(role, work) for role, work in self.roles.items())]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = [
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
            for row in rows
        ]
        counted = [
            f"{role.ljust(widths[0])}  " + ", ".join(f"{key} {n}" for key, n in shown.items())
            for role, work in self.roles.items()
            if (shown := self._shown(work))
        ]
        return [f"Work of the models for {self.images} images:", *table, *counted]

    def _row(self, role: str, work: RoleWork) -> tuple[str, ...]:
        counts = [str(work.counts[kind]) for kind in ("calls", "requests", "rows", "hits")]
        spent = (f"{work.seconds:.2f}", f"{work.seconds / max(self.images, 1):.3f}")
        return role, *spent, *counts, f"{100 * work.avoided:.0f} %"

    @staticmethod
    def _shown(work: RoleWork) -> dict[str, int]:
        failed = work.counts["failed_calls"]
        return {**({"failed_calls": failed} if failed else {}), **work.counted}


def work_of(images: int, counters: Mapping[str, int], seconds: Mapping[str, float]) -> Work:
    """The work behind a broker's totals.

    Args:
        images: how many it worked on; with several trials or methods, each one of theirs counts.
        counters: ``<role>.<verb>.<kind>`` of the broker, ``<role>.<name>`` of the backbones.
        seconds: by role.
    """
    used = sorted({name.partition(".")[0] for name, number in counters.items() if number})
    return Work(images, {role: _of_role(role, counters, seconds) for role in used})


def _of_role(role: str, counters: Mapping[str, int], seconds: Mapping[str, float]) -> RoleWork:
    split = [(name.split("."), n) for name, n in counters.items() if name.startswith(f"{role}.")]
    totals = dict.fromkeys(_KINDS, 0)
    for parts, number in split:
        if len(parts) == 3:
            totals[parts[2]] += number
    own = {parts[1]: number for parts, number in split if len(parts) == 2}
    return RoleWork(seconds.get(role, 0.0), totals, own)


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
        return sum(map(self.count, _ROWS))

    def as_json(self) -> dict[str, Any]:
        """Images, rows alone, and both kinds by ``<role>.<verb>``."""
        named = [name.rpartition(".") for name in self.counters]
        verbs = sorted({verb for verb, _, kind in named if kind in _ROWS})
        split = {verb: {kind: self.counters[f"{verb}.{kind}"] for kind in _ROWS} for verb in verbs}
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
        first, *later = self.variants.values() or [Tally()]
        comparable = first.alone and all(tally.images == first.images for tally in later)
        return self.rows / first.alone if comparable else None

    @property
    def _worth_saying(self) -> bool:
        return len(self.variants) > 1 and any(tally.alone for tally in self.variants.values())

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
