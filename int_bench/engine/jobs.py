"""What the broker is given and what it gives back: one unit of work, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from int_bench.core.protocols import Ask

R = TypeVar("R")


@dataclass(frozen=True)
class Job(Generic[R]):
    """One unit of work of an owner: ``start`` is called when the job is admitted, not before.

    Jobs of one ``topic`` (an image, say) follow one another: its answers are forgotten when they
    have all ended. None: what they asked stays while there is room.
    """

    key: Hashable
    start: Callable[[Ask], Coroutine[Any, Any, R]]
    owner: Hashable = None
    topic: Hashable = None


@dataclass(frozen=True)
class Outcome(Generic[R]):
    """What became of a job: its value or its error, its own counters, and seconds by role."""

    key: Hashable
    value: R | None
    error: Exception | None
    counters: dict[str, int]
    seconds: dict[str, float]
