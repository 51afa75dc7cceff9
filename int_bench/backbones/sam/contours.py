"""Contours of masks: outlined, cut at equal arc length, and moved back into a mask.

A contour is (n, 2) float64, the x and y of pixel centres in pixels of its mask (the top left centre
is (0.5, 0.5)), closed without repeating its first point.
"""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from int_bench.core.types import HardMask

Contour: TypeAlias = NDArray[np.float64]
_SUBPIXEL = 4  # bits behind the point of what is filled


def outline(mask: HardMask) -> Contour | None:
    """The outer contour of the largest component, clockwise on the screen from its topmost point.

    Reading: the paper shows one closed contour per object; holes and further components stay as the
    mask has them. Of several topmost points the leftmost one is the first.

    Args:
        mask: (H, W) bool.

    Returns:
        (n, 2), the centres of the component's outermost pixels; None of an empty mask.
    """
    kind, how = cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    contours, _ = cv2.findContours(mask.astype(np.uint8), kind, how)
    if not contours:
        return None
    largest = max(contours, key=lambda contour: (cv2.contourArea(contour), len(contour)))
    points = largest[:, 0].astype(np.float64)
    if cv2.contourArea(largest, oriented=True) < 0:
        points = points[::-1]
    top = np.lexsort((points[:, 0], points[:, 1]))[0]
    return np.asarray(np.roll(points, -top, axis=0) + 0.5)


def equal_arcs(contour: Contour, count: int) -> Contour:
    """``count`` points at equal arc length along a closed contour, from its first point on.

    >>> equal_arcs(np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]]), 8)[:3].tolist()
    [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]
    """
    arcs, closed = _arcs(contour)
    places = np.arange(count) * (arcs[-1] / count)
    return np.stack([np.interp(places, arcs, closed[:, axis]) for axis in (0, 1)], axis=1)


def shifted(contour: Contour, moves: Contour) -> Contour:
    """A contour each point of which moves as the nearest of K points at equal arc length do.

    Args:
        contour: (n, 2).
        moves: (K, 2), of the points of ``equal_arcs(contour, K)``; linear between them.
    """
    arcs, _ = _arcs(contour)
    places = np.arange(len(moves) + 1) * (arcs[-1] / len(moves))
    around = np.concatenate([moves, moves[:1]])
    steps = [np.interp(arcs[:-1], places, around[:, axis]) for axis in (0, 1)]
    return np.asarray(contour + np.stack(steps, axis=1))


def redrawn(mask: HardMask, before: Contour, after: Contour) -> HardMask:
    """The mask with what the contour gained added and what it lost taken away.

    A contour that did not move gives the mask itself; holes stay, as do other components.

    Args:
        mask: (H, W) bool.
        before: a contour of it.
        after: where it is to be.
    """
    old, new = (_filled(contour, mask.shape) for contour in (before, after))
    return np.asarray((mask & ~(old & ~new)) | (new & ~old))


def _filled(contour: Contour, shape: tuple[int, ...]) -> HardMask:
    canvas = np.zeros(shape, dtype=np.uint8)
    fixed = np.rint((contour - 0.5) * 2**_SUBPIXEL).astype(np.int32)
    return np.asarray(cv2.fillPoly(canvas, [fixed], 1, shift=_SUBPIXEL), dtype=np.bool_)


def _arcs(contour: Contour) -> tuple[NDArray[np.float64], Contour]:
    """The arc length up to each point, (n + 1,), and the contour with its first point repeated."""
    closed = np.concatenate([contour, contour[:1]])
    lengths = np.hypot(*np.diff(closed, axis=0).T)
    return np.concatenate([[0.0], np.cumsum(lengths)]), closed
