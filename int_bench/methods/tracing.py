"""Small pictures of what a method saw, for traces; made for traced samples only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from int_bench.core.geometry import Patch
from int_bench.core.types import Box, HardMask, Image, SoftMask

VIEW_SIDE, MASK_SIDE = 320, 160
"""The longest side of a view and of a patch's mask, in pixels."""


def small_view(pixels: Image) -> NDArray[np.uint8]:
    """An image, (H, W, 3), at most ``VIEW_SIDE`` wide and high."""
    return _shrunk(pixels, VIEW_SIDE)


def small_mask(mask: SoftMask | HardMask, side: int = MASK_SIDE) -> NDArray[np.uint8]:
    """A mask, (H, W) in 0..1, as grey levels, at most ``side`` wide and high."""
    return _shrunk(np.rint(mask.astype(np.float32) * 255).astype(np.uint8), side)


def plain_box(box: Box | None) -> list[float] | None:
    """A box as records hold it."""
    return None if box is None else [float(value) for value in box]


def patch_box(patch: Patch) -> list[float]:
    """Where a patch lies."""
    return [float(value) for value in patch.box_image]


def _shrunk(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    import cv2  # of no use to a sample that is not traced

    height, width = pixels.shape[:2]
    if max(height, width) <= side:
        return pixels
    size = (
        max(1, round(width * side / max(height, width))),
        max(1, round(height * side / max(height, width))),
    )
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
