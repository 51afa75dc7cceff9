"""What a model will need from the CPU (a resized picture, say), computed before its turn.

While a model computes for some requests, the pictures of the next are resized and normalised on
other threads, so that a device does not wait for it. What was not begun, or not yet, is computed
where it is needed: the value is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

V = TypeVar("V")
Submit = Callable[[Callable[[], Any]], "Future[Any]"]
"""Has something computed on another thread."""

MOST = 128
"""Values of one kind that wait at once; a picture of a detector takes 5 to 10 MB."""


class Ahead(Generic[V]):
    """Values by key, each computed once and taken once. Begun on one thread, taken on another."""

    def __init__(self) -> None:
        self._begun: dict[Hashable, Future[V]] = {}

    def begin(self, key: Hashable, compute: Callable[[], V], submit: Submit) -> None:
        """Have a value computed, unless it is already, or too many wait."""
        if key not in self._begun and len(self._begun) < MOST:
            self._begun[key] = submit(compute)

    def take(self, key: Hashable, compute: Callable[[], V]) -> V:
        """The value; computed now if nobody has begun to."""
        future = self._begun.pop(key, None)
        return compute() if future is None or future.cancel() else future.result()

    def clear(self) -> None:
        """Forget what was begun."""
        self._begun.clear()
