"""What a model will need from the CPU (a resized picture, say), computed before its turn.

While a model computes for some requests, the pictures of the next are resized and normalised on
other threads, so that a device does not wait for it. What was not begun, or not yet, is computed
where it is needed: the value is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar
from weakref import ref

V = TypeVar("V")
Submit = Callable[[Callable[[], Any]], "Future[Any]"]
"""Has something computed on another thread."""

MOST = 128
"""Values of one kind that wait at once; a picture of a detector takes 5 to 10 MB."""


class Ahead(Generic[V]):
    """Values by key, each computed once and taken once. Begun on one thread, taken on another.

    What nobody takes, as a request failed or another one's answer was enough, goes with the request
    that it was begun for.
    """

    def __init__(self) -> None:
        self._begun: dict[Hashable, tuple[Future[V], ref[Any]]] = {}

    def begin(
        self, key: Hashable, request: object, compute: Callable[[], V], submit: Submit
    ) -> None:
        """Have a value computed for a request, unless it is already, or too many wait."""
        if key not in self._begun and len(self._begun) < MOST:
            gone = ref(request, lambda _: self._begun.pop(key, None))
            self._begun[key] = submit(compute), gone

    def take(self, key: Hashable, compute: Callable[[], V]) -> V:
        """The value; computed now if nobody has begun to."""
        begun = self._begun.pop(key, None)
        return compute() if begun is None or begun[0].cancel() else begun[0].result()

    def clear(self) -> None:
        """Forget what was begun."""
        self._begun.clear()
