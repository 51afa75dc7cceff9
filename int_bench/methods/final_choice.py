"""Which iteration's mask is the final one: Eq. (13), and the rules of INT's predecessors.

Sources: INT, Section 3.3; GenSAM (arXiv 2312.07374) and ProMaC (arXiv 2408.15205), whose released
code decides what they do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from int_bench.core import equations
from int_bench.core.types import Masks

Costs = Callable[[Sequence[Masks]], Sequence[float]]
"""What each of some masks costs by a rule."""


def closest(masks: Sequence[Masks]) -> Sequence[float]:
    """INT: the soft mask closest to the mean of all, see ``equations.distances_to_mean``."""
    return equations.distances_to_mean([mask.soft for mask in masks])


def closest_hard(masks: Sequence[Masks]) -> Sequence[float]:
    """GenSAM: the hard mask that differs in the fewest pixels from the sign of the mean logits."""
    mean = np.mean([mask.evidence for mask in masks], axis=0, dtype=np.float64)
    return [float((mask.hard != (mean > 0)).sum()) for mask in masks]


def smallest(masks: Sequence[Masks]) -> Sequence[float]:
    """ProMaC as released: the hard mask of the smallest area, so that an empty one always wins.

    There the averaged map is cut at the wrong threshold and is true everywhere; masks are 8 bit
    (0 and 255) and the squared difference to 1 wraps around, to 1 off the mask and to 4 on it.
    Hence the cost of a mask is H W + 3 area.
    """
    return [float(mask.hard.sum()) for mask in masks]


def last(masks: Sequence[Masks]) -> Sequence[float]:
    """The last iteration: each costs how many follow it."""
    return [float(following) for following in reversed(range(len(masks)))]


COSTS: Mapping[str, Costs] = {
    "closest": closest,
    "closest_hard": closest_hard,
    "smallest": smallest,
    "last": last,
}
"""By the name that a method's YAML gives as ``final``."""


def cheapest(costs: Sequence[float]) -> int:
    """The index of the mask that costs least; ties go to the first."""
    return int(np.argmin(costs))
