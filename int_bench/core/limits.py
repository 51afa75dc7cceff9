"""Ranges of options, written beside their types: ``Annotated[float, Within(0, 1)]``.

Configuration reads them from a constructor's source and refuses what they do not admit before
anything is loaded, so that constructors need no checks of their own. Bounds are literal numbers.
"""

from __future__ import annotations

import re
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
    """A list of at least one item, or a text of more than blanks."""

    def admits(self, value: Any) -> bool:
        """Whether there is an item."""
        return len(value.strip() if isinstance(value, str) else value) > 0

    def __str__(self) -> str:
        return "that is not empty"


@dataclass(frozen=True)
class Matches:
    """A text that a regular expression matches as a whole; ``meaning`` says it in words."""

    pattern: str
    meaning: str

    def admits(self, value: Any) -> bool:
        """Whether the text matches."""
        return re.fullmatch(self.pattern, value) is not None

    def __str__(self) -> str:
        return f"({self.meaning})"


Limit = Within | AtLeast | Above | MultipleOf | NotEmpty | Matches

Share = Annotated[float, Within(0, 1)]
"""A share, a probability or a threshold of one."""
Count = Annotated[int, AtLeast(1)]
"""How many, at least one."""
Text = Annotated[str, NotEmpty()]
"""A text of more than blanks."""
Device = Annotated[str, Matches("auto|cpu|cuda(:[0-9]{1,3})?", "auto, cpu, cuda or cuda:N")]
"""Where a model computes; auto: the first CUDA device if there is one, else the CPU."""


def _written(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"
