"""Predicted maps before they are measured: levels 0..1, their size and their range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from int_bench.errors import SampleError

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class LevelMap:
    """A map with levels in 0..1.

    ``pixels`` are (H, W) uint8 codes into ``table``, (256,) float64; without a table they are the
    levels themselves, (H, W) float64. A map of 8 bits stays one as long as it can, because 256
    levels can be counted and a million pixels need not be computed with.
    """

    pixels: NDArray[np.uint8] | NDArray[np.float64]
    table: NDArray[np.float64] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return size_of(self.pixels)

    def levels(self) -> NDArray[np.float64]:
        """The levels, (H, W) float64."""
        if self.table is None:
            return self.pixels.astype(np.float64, copy=False)
        return self.table[self.pixels]

    def resized(self, size: tuple[int, int], nearest: bool = False) -> LevelMap:
        """The map at ``size`` (height, width).

        Hard masks (two levels) are resized by nearest neighbour and soft maps bilinearly, or
        everything by nearest neighbour if the protocol asks for it.
        """
        if self.size == size:
            return self
        if nearest or self._is_hard():
            return LevelMap(resize_nearest(self.pixels, size), self.table)  # type: ignore[arg-type]
        smooth = cv2.resize(self.levels(), size[::-1], interpolation=cv2.INTER_LINEAR)
        return LevelMap(np.clip(np.asarray(smooth, dtype=np.float64), 0.0, 1.0))

    def stretched(self) -> LevelMap:
        """The map with its lowest level at 0 and its highest at 1; a constant map as it is."""
        ends = np.array([self.pixels.min(), self.pixels.max()])
        low, high = ends if self.table is None else self.table[ends]
        if low == high or (low == 0 and high == 1):
            return self
        if self.table is None:
            return LevelMap((self.pixels - low) / (high - low))
        return LevelMap(self.pixels, np.clip((self.table - low) / (high - low), 0.0, 1.0))

    def _is_hard(self) -> bool:
        low, high = self.pixels.min(), self.pixels.max()
        return bool(((self.pixels == low) | (self.pixels == high)).all())


def level_map(prediction: NDArray[np.generic]) -> LevelMap:
    """The levels of a bool, uint8 (0..255) or float (0..1) map, (h, w).

    Raises:
        SampleError: not two-dimensional, not finite, or out of range.
    """
    if prediction.ndim != 2 or prediction.size == 0:
        raise SampleError(f"A prediction of shape {prediction.shape} is no (height, width) map.")
    if prediction.dtype == np.bool_:
        return LevelMap(prediction.astype(np.uint8) * np.uint8(255), np.arange(256) / 255)
    if prediction.dtype == np.uint8:
        return LevelMap(prediction.astype(np.uint8, copy=False), np.arange(256) / 255)
    if not np.issubdtype(prediction.dtype, np.floating):
        raise SampleError(f"A prediction of type {prediction.dtype} is not bool, uint8 or float.")
    levels = prediction.astype(np.float64)
    # A comparison with NaN is False, so this refuses NaN too.
    if not (levels.min() >= 0 and levels.max() <= 1):
        raise SampleError("A float prediction must be finite and lie in 0..1.")
    return LevelMap(levels)


def resize_nearest(array: NDArray[T], size: tuple[int, int]) -> NDArray[T]:
    """Nearest-neighbour resize of (h, w) to ``size``, sampling at pixel centres as Pillow does."""
    rows, columns = (
        (2 * np.arange(wanted) + 1) * given // (2 * wanted)
        for wanted, given in zip(size, array.shape, strict=True)
    )
    resized: NDArray[T] = array[rows[:, None], columns[None, :]]
    return resized


def size_of(array: NDArray[np.generic]) -> tuple[int, int]:
    """(height, width) of a map."""
    return array.shape[0], array.shape[1]
