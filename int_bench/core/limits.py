"""Ranges of options, written beside their types: ``Annotated[float, Within(0, 1)]``.

Configuration reads them from a constructor's source and refuses what they do not admit before
anything is loaded, so that constructors need no checks of their own. Bounds are literal numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True)
class Within:
    """A number from ``low`` to ``high``, both included.

    >>> Within(0, 1).admits(0.5), Within(0, 1).admits(float("nan"))
    (True, False)
    """

    low: float
    high: float

    def admits(self, value: Any) -> bool:
        """Whether a number is in the range; NaN never is."""
        return bool(self.low <= value <= self.high)

    def __str__(self) -> str:
        return f"from {_written(self.low)} to {_written(self.high)}"


@dataclass(frozen=True)
class AtLeast:
    """A number of at least ``low``."""

    low: float

    def admits(self, value: Any) -> bool:
        """Whether a number is in the range; NaN never is."""
        return bool(self.low <= value)

    def __str__(self) -> str:
        return f"of at least {_written(self.low)}"


@dataclass(frozen=True)
class Above:
    """A number above ``low``."""

    low: float

    def admits(self, value: Any) -> bool:
        """Whether a number is in the range; NaN never is."""
        return bool(self.low < value)

    def __str__(self) -> str:
        return f"above {_written(self.low)}"


@dataclass(frozen=True)
class MultipleOf:
    """A positive whole number that ``factor`` divides."""

    factor: int

    def admits(self, value: Any) -> bool:
        """Whether a whole number is such a multiple."""
        return bool(value > 0 and value % self.factor == 0)

    def __str__(self) -> str:
        return f"that is a multiple of {self.factor}"


@dataclass(frozen=True)
class NotEmpty:
    """A list of at least one item."""

    def admits(self, value: Any) -> bool:
        """Whether there is an item."""
        return len(value) > 0

    def __str__(self) -> str:
        return "that is not empty"


Limit = Within | AtLeast | Above | MultipleOf | NotEmpty

Share = Annotated[float, Within(0, 1)]
"""A share, a probability or a threshold of one."""
Count = Annotated[int, AtLeast(1)]
"""How many, at least one."""


def _written(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"
