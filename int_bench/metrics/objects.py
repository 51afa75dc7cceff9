"""Which of several objects one mask finds."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from int_bench.core.types import HardMask


def object_overlaps(mask: HardMask, objects: Sequence[HardMask]) -> NDArray[np.float64]:
    """IoU of a mask with each object, (K,), the other objects' pixels aside.

    Args:
        mask: (H, W), a segmentation of all objects together.
        objects: (H, W) each, disjoint and not empty.

    >>> left, right = np.array([[True, False, False]]), np.array([[False, False, True]])
    >>> object_overlaps(np.array([[True, True, True]]), [left, right]).tolist()
    [0.5, 0.5]
    """
    together = np.any(objects, axis=0)
    overlaps = []
    for target in objects:
        own = mask & (target | ~together)
        overlaps.append((own & target).sum() / (own | target).sum())
    return np.array(overlaps, dtype=np.float64)


def all_found(mask: HardMask, objects: Sequence[HardMask], least: float = 0.5) -> bool:
    """Whether each object has at least this IoU with the mask: "both found" where there are two."""
    return bool((object_overlaps(mask, objects) >= least).all())
