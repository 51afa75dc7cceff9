"""A bounded cache that forgets what was used least recently; backbones keep features in it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Annotated, Generic, TypeVar

from torch import Tensor

from int_bench.core.limits import AtLeast

Mebibytes = Annotated[int, AtLeast(0)]
MEBIBYTE = 2**20

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Lru(Generic[K, V]):
    """At most ``capacity`` units of values, by least recent use.

    A value weighs 1 unless ``weigh`` says otherwise (for example its bytes). The newest value
    always stays, even if it alone is heavier than the capacity.
    """

    def __init__(self, capacity: int, weigh: Callable[[V], int] | None = None) -> None:
        self.capacity = capacity
        self.weight = 0
        self._weigh = weigh or (lambda value: 1)
        self._values: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: K) -> bool:
        return key in self._values

    def get(self, key: K) -> V | None:
        """The value, now the most recently used, or None."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key]

    def put(self, key: K, value: V) -> None:
        """Keep a value; the least recently used ones make room for it."""
        if key in self._values:
            self.weight -= self._weigh(self._values.pop(key))
        self._values[key] = value
        self.weight += self._weigh(value)
        while self.weight > self.capacity and len(self._values) > 1:
            _, oldest = self._values.popitem(last=False)
            self.weight -= self._weigh(oldest)

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
        self.weight = 0


def tensors(mebibytes: int) -> Lru[str, Tensor]:
    """A cache of tensors by digest, bounded by the memory that they hold."""
    return Lru(mebibytes * MEBIBYTE, weigh=lambda tensor: tensor.nbytes)
