"""What the models did in a run: seconds, calls, rows and memo hits by role, and their own counters.

Counts are of what the backbones received; a request answered from memory reached none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_KINDS = ("calls", "failed_calls", "requests", "rows", "hits", "shared")
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
