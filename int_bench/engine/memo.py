"""Remembered answers: the least recently used are dropped beyond a budget in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np

_OVERHEAD = 256  # bytes that an entry costs besides its arrays


class Memo:
    """Answers by the key of their request.

    Args:
        budget: bytes of arrays that may be held; keys hold digests, never images.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._held = 0
        self._answers: OrderedDict[Hashable, tuple[Any, int, tuple[Hashable, ...]]] = OrderedDict()

    def find(self, key: Hashable, owner: Hashable = None) -> tuple[Any, bool] | None:
        """The answer, and whether this owner asks for it for the first time; None without one."""
        entry = self._answers.get(key)
        if entry is None:
            return None
        self._answers.move_to_end(key)
        answer, size, owners = entry
        first = owner not in owners
        if first:
            # A tuple: a set would cost as much as a small answer does.
            self._answers[key] = (answer, size, (*owners, owner))
        return answer, first

    def keep(self, key: Hashable, answer: Any, owners: Iterable[Hashable] = (None,)) -> None:
        """Remember an answer and who has asked for it, and drop what no longer fits."""
        size = size_of(answer) + _OVERHEAD
        self._answers[key] = (answer, size, tuple(owners))
        self._held += size
        while self._held > self._budget and self._answers:
            _, (_, dropped, _) = self._answers.popitem(last=False)
            self._held -= dropped


def size_of(answer: Any) -> int:
    """Bytes of the arrays in an answer, at any depth of tuples."""
    if isinstance(answer, np.ndarray):
        return int(answer.nbytes)
    if isinstance(answer, tuple):
        return sum(map(size_of, answer))
    values = vars(answer).values() if hasattr(answer, "__dict__") else ()
    return sum(int(value.nbytes) for value in values if isinstance(value, np.ndarray))
