"""Which iteration's mask is the final one: Eq. (13), and the rules of INT's predecessors.

Sources: INT, Section 3.3; GenSAM (arXiv 2312.07374) and ProMaC (arXiv 2408.15205), whose released
code decides what they do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from int_bench.core import equations
from int_bench.core.types import HardMask, Logits, SoftMask


@dataclass(frozen=True)
class Vote:
    """One iteration's masks, each (H, W) in the image frame; ``logits`` None is ``soft - 0.5``."""

    hard: HardMask
    soft: SoftMask
    logits: Logits | None = None

    @property
    def evidence(self) -> Logits:
        """What is averaged; above 0 means object."""
        return self.soft - np.float32(0.5) if self.logits is None else self.logits


def closest(votes: Sequence[Vote]) -> int:
    """INT: the soft mask closest to the mean of all, see ``equations.closest_to_mean``."""
    return equations.closest_to_mean([vote.soft for vote in votes])


def closest_hard(votes: Sequence[Vote]) -> int:
    """GenSAM: the hard mask that differs in the fewest pixels from the sign of the mean logits.

    Ties go to the first.
    """
    mean = np.mean([vote.evidence for vote in votes], axis=0, dtype=np.float64)
    return int(np.argmin([int((vote.hard != (mean > 0)).sum()) for vote in votes]))


def smallest(votes: Sequence[Vote]) -> int:
    """ProMaC as released: the hard mask of the smallest area, so that an empty one always wins.

    There the averaged map is cut at the wrong threshold and is true everywhere; masks are 8 bit
    (0 and 255) and the squared difference to 1 wraps around, to 1 off the mask and to 4 on it.
    Hence the cost of a mask is H W + 3 area. Ties go to the first.
    """
    return int(np.argmin([int(vote.hard.sum()) for vote in votes]))


def last(votes: Sequence[Vote]) -> int:
    """The last iteration."""
    return len(votes) - 1


CHOICES: Mapping[str, Callable[[Sequence[Vote]], int]] = {
    "closest": closest,
    "closest_hard": closest_hard,
    "smallest": smallest,
    "last": last,
}
"""By the name that a method's YAML gives as ``final``."""
