"""How well proposals were selected for training objects: SAPNet's Table 7 and Figure 1.

Boxes are x0, y0, x1, y1 in pixels of the image; masks (H, W) bool.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from int_bench.core.geometry import area, tight_box
from int_bench.core.types import Box, HardMask, Values

LOCAL = 0.55
"""An object whose mask has a smaller IoU with it counts as taken in part."""
GROUP = 0.5
"""A neighbour of which a mask covers a larger share counts as taken with it."""


def box_iou(first: Box | None, second: Box) -> float:
    """Intersection over union of two boxes; 0 where there is no first one.

    >>> box_iou((0.0, 0.0, 2.0, 2.0), (1.0, 0.0, 3.0, 2.0)) == 1 / 3
    True
    """
    if first is None:
        return 0.0
    shared = area(
        (
            max(first[0], second[0]),
            max(first[1], second[1]),
            min(first[2], second[2]),
            min(first[3], second[3]),
        )
    )
    return shared / max(area(first) + area(second) - shared, 1e-6)


def takes_a_group(mask: HardMask, neighbours: Sequence[HardMask]) -> float | None:
    """1 where a mask covers more than half of a neighbour of the object's class, else 0.

    None without such neighbours: the rate is over objects that have one.
    """
    if not neighbours:
        return None
    shares = [np.count_nonzero(mask & other) / np.count_nonzero(other) for other in neighbours]
    return float(max(shares) > GROUP)


def is_local(iou: float) -> float:
    """1 where the IoU of mask and object is below .55, else 0."""
    return float(iou < LOCAL)


def filling(mask: HardMask) -> float:
    """R of Eq. (10): the share of its tight box that a mask fills; 0 for an empty one."""
    box = tight_box(mask)
    return 0.0 if box is None else np.count_nonzero(mask) / area(box)


def gaps(selected: Values, true: Values, fullest: Values) -> Values:
    """SAPNet's Eq. (10): how much more of their boxes the fullest masks fill than the objects do.

    Reading: the formula is lost in the text at hand; by its words, T_R is the mean over objects of
    the largest R of the bag, and the gap the mean of R_selected - R_true over objects whose
    selected R exceeds T_R. Here is one difference for each of these, (n,); there may be none.

    Args:
        selected: R of the selected masks, (N,).
        true: R of the true masks, (N,).
        fullest: the largest R of each object's proposals, (N,).
    """
    differences: Values = (selected - true)[selected > fullest.mean()]
    return differences
