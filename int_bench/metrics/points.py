"""What hangs on where somebody clicks, and how well boundaries fit.

Measures of masks that were made from several points of one object: their mean IoU, and how much
they differ (the claim of PLM, arXiv 2403.09199, in one number). A set's number is the mean over
objects. The paper's own measures are not known; these are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from int_bench.core.types import HardMask

_SHARE = 0.02
"""Width of the boundary of Boundary IoU, of the diagonal: Cheng et al., CVPR 2021."""


@dataclass(frozen=True)
class PointScores:
    """One object; its masks are those of the positions of the point.

    Attributes:
        first: IoU of the mask of the first position.
        mean: mean IoU over positions.
        spread: standard deviation of the IoU over positions (n in the denominator).
        distance: mean distance of the masks' boundaries to the true one in pixels, NaN where all
            masks are empty.
        boundary: mean boundary IoU.
    """

    first: float
    mean: float
    spread: float
    distance: float
    boundary: float

    def values(self) -> NDArray[np.float64]:
        """(5,), in the order of the attributes."""
        return np.array(astuple(self))


def point_scores(masks: Sequence[HardMask], truth: HardMask) -> PointScores:
    """The measures of one object.

    Args:
        masks: (H, W) bool, of each position.
        truth: (H, W) bool, not empty.

    >>> truth = np.eye(2, dtype=bool)
    >>> scores = point_scores([truth, np.array([[True, False], [False, False]])], truth)
    >>> scores.first, scores.mean, scores.spread
    (1.0, 0.75, 0.25)
    """
    ious = np.array([_iou(mask, truth) for mask in masks])
    away = [distance for mask in masks if (distance := boundary_distance(mask, truth)) is not None]
    return PointScores(
        first=float(ious[0]),
        mean=float(ious.mean()),
        spread=float(ious.std()),
        distance=float(np.mean(away)) if away else float("nan"),
        boundary=float(np.mean([boundary_iou(mask, truth) for mask in masks])),
    )


def boundary_distance(mask: HardMask, truth: HardMask) -> float | None:
    """Mean distance between the boundary pixels of a mask and of the truth, in pixels.

    From each to the nearest of the other, the mean over a boundary, the mean of both ways: of one
    way alone a small mask inside of a true one would do well. A boundary pixel has a neighbour to a
    side that is not of the mask, or lies at the image's edge. None of an empty mask.
    """
    edges = boundary(mask), boundary(truth)
    if not edges[0].any():
        return None
    first, second = (
        cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for edge in edges
    )
    return float((second[edges[0]].mean() + first[edges[1]].mean()) / 2.0)


def boundary(mask: HardMask) -> HardMask:
    """The outermost pixels of a mask, (H, W) bool."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(mask & ~inner)


def boundary_iou(mask: HardMask, truth: HardMask, share: float = _SHARE) -> float:
    """IoU of what of either mask lies within a distance of its own boundary.

    Args:
        mask: (H, W) bool.
        truth: (H, W) bool.
        share: the distance, of the image's diagonal; at least one pixel.
    """
    width = max(1, round(share * float(np.hypot(*mask.shape))))
    return _iou(_rim(mask, width), _rim(truth, width))


def _rim(mask: HardMask, width: int) -> HardMask:
    """What an erosion by ``width`` squares takes away; outside of the image is nothing."""
    square = np.ones((3, 3), dtype=np.uint8)
    padded = np.pad(mask, 1).astype(np.uint8)
    kept = cv2.erode(padded, square, iterations=width)[1:-1, 1:-1]
    return np.asarray(mask & (kept == 0))


def _iou(mask: HardMask, truth: HardMask) -> float:
    either = int((mask | truth).sum())
    return float((mask & truth).sum() / either) if either else 1.0
