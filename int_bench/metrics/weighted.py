"""The weighted F-measure (Margolin et al., CVPR 2014), with what the ground truth decides kept.

Errors inside the object are forgiven where their neighbourhood is right, errors outside weigh less
the nearer they are to the object. Only the first needs the map's surroundings, and only around the
object; the second is one weighted sum.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from int_bench.core.types import HardMask

_EPS = np.spacing(1)
_RADIUS, _SIGMA = 3, 5.0
_FALLOFF = np.log(0.5) / 5
_BEYOND = 512
"""Pixels: at this distance the weight is 2 to within one part in 10^30."""
Floats = NDArray[np.float64]


class WeightedTruth:
    """A ground truth, (H, W) bool, prepared for the weighted F-measure of any number of maps."""

    def __init__(self, truth: HardMask) -> None:
        # Here, as it is slow to import and a dry run computes nothing.
        from scipy.ndimage import distance_transform_edt

        self.foreground = int(np.count_nonzero(truth))
        if self.foreground == 0:
            return
        self.window = _window(truth)
        self.inside = truth[self.window]
        self.outside = np.where(truth, 0.0, _weights(truth))
        # The nearest object pixel of each pixel around the object, as a flat index into the window.
        rows, columns = distance_transform_edt(
            ~self.inside, return_distances=False, return_indices=True
        )
        self.nearest = rows * self.inside.shape[1] + columns

    def f_measure(self, levels: Floats, beta2: float) -> float:
        """The measure of a map, (H, W) float64 0..1; 0 for an empty ground truth."""
        if self.foreground == 0:
            return 0.0
        errors = np.abs(levels[self.window] - self.inside)
        spread = errors.reshape(-1)[self.nearest]
        smooth = _blur(spread)[self.inside]
        own = errors[self.inside]
        inside = np.where(smooth < own, smooth, own)
        hits = self.foreground - inside.sum()
        false_alarms = np.vdot(levels, self.outside)
        recall = 1 - inside.mean()
        precision = hits / (hits + false_alarms + _EPS)
        return float((1 + beta2) * recall * precision / (recall + beta2 * precision + _EPS))


def _window(truth: HardMask) -> tuple[slice, slice]:
    """The object's bounding box with a margin of the blur's radius, cut at the image."""
    slices = []
    for axis in (1, 0):
        used = np.flatnonzero(truth.any(axis=axis))
        slices.append(slice(max(int(used[0]) - _RADIUS, 0), int(used[-1]) + _RADIUS + 1))
    return slices[0], slices[1]


def _weights(truth: HardMask) -> Floats:
    """2 - exp(log(1/2) / 5 * distance to the object), (H, W): 1 at the object, 2 far away."""
    distance = cv2.distanceTransform((~truth).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Squared distances are integers, so the single-precision result can be made exact.
    squared = np.rint(np.minimum(distance, _BEYOND).astype(np.float64) ** 2).astype(np.int64)
    weights: Floats = _weight_by_squared_distance()[squared]
    return weights


@cache
def _weight_by_squared_distance() -> Floats:
    table: Floats = 2 - np.exp(_FALLOFF * np.sqrt(np.arange(_BEYOND**2 + 1)))
    return table


def _blur(errors: Floats) -> Floats:
    """A 7 x 7 Gaussian of sigma 5 that sums to 1, nothing beyond the border."""
    offsets = np.arange(-_RADIUS, _RADIUS + 1)
    kernel = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    kernel /= kernel.sum()
    blurred = cv2.sepFilter2D(errors, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(blurred, dtype=np.float64)
