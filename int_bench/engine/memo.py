"""Remembered answers: dropped with what they are about, or least recently used beyond a budget."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple

import numpy as np

_OVERHEAD = 320  # bytes that an entry costs besides its arrays


class _Entry(NamedTuple):
    answer: Any
    size: int
    owners: tuple[Hashable, ...]
    topic: Hashable


class Memo:
    """Answers by the key of their request.

    Args:
        budget: bytes of arrays that may be held; keys hold digests, never images.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._held = 0
        self._answers: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._about: dict[Hashable, list[Hashable]] = {}

    @property
    def held(self) -> int:
        """Bytes of arrays that are held now, and what the entries cost besides."""
        return self._held

    def find(
        self, key: Hashable, owner: Hashable = None, topic: Hashable = None
    ) -> tuple[Any, bool] | None:
        """The answer, and whether this owner asks for it for the first time; None without one.

        From now on it is about ``topic``, see :meth:`forget`.
        """
        entry = self._answers.get(key)
        if entry is None:
            return None
        self._answers.move_to_end(key)
        first = owner not in entry.owners
        # A tuple: a set would cost as much as a small answer does.
        owners = (*entry.owners, owner) if first else entry.owners
        self._hold(key, _Entry(entry.answer, entry.size, owners, topic), entry.topic)
        return entry.answer, first

    def keep(
        self,
        key: Hashable,
        answer: Any,
        owners: Iterable[Hashable] = (None,),
        topic: Hashable = None,
    ) -> None:
        """Remember an answer and who has asked for it, and drop what no longer fits."""
        entry = _Entry(answer, size_of(answer) + _OVERHEAD, tuple(owners), topic)
        self._hold(key, entry, None)
        self._held += entry.size
        while self._held > self._budget and self._answers:
            _, dropped = self._answers.popitem(last=False)
            self._held -= dropped.size

    def forget(self, topic: Hashable) -> None:
        """Drop the answers that were last asked for about this topic."""
        for key in self._about.pop(topic, ()):
            entry = self._answers.get(key)
            if entry is not None and entry.topic == topic:
                del self._answers[key]
                self._held -= entry.size

    def _hold(self, key: Hashable, entry: _Entry, before: Hashable) -> None:
        self._answers[key] = entry
        if entry.topic is not None and entry.topic != before:
            self._about.setdefault(entry.topic, []).append(key)


def size_of(answer: Any) -> int:
    """Bytes of the arrays in an answer, at any depth of tuples."""
    if isinstance(answer, np.ndarray):
        return int(answer.nbytes)
    if isinstance(answer, tuple):
        return sum(map(size_of, answer))
    values = vars(answer).values() if hasattr(answer, "__dict__") else ()
    return sum(int(value.nbytes) for value in values if isinstance(value, np.ndarray))
