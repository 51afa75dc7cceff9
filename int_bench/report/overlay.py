"""A mask drawn over its picture."""

from __future__ import annotations

import cv2
import numpy as np

from int_bench.core.types import HardMask, Image

_TINT = (255, 128, 0)
_SHARE = 0.35
"""Of the tint within the mask."""
_PER_LINE = 300
"""Pixels of the longer side for each pixel of the outline's width."""


def overlay(image: Image, mask: HardMask) -> Image:
    """The picture, tinted within the mask, with an outline of a light and a dark line.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    drawn = image.copy()
    tinted = image[mask].astype(np.float32) * (1 - _SHARE) + np.array(_TINT, np.float32) * _SHARE
    drawn[mask] = np.rint(tinted).astype(np.uint8)
    rims, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    width = max(1, round(max(mask.shape) / _PER_LINE))
    for colour, thickness in (((0, 0, 0), 3 * width), ((255, 255, 255), width)):
        cv2.drawContours(drawn, rims, -1, colour, thickness)
    return drawn
