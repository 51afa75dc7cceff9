"""The measures of an 8-bit map from one histogram: equal to PySODMetrics, many times faster.

Everything but the weighted F-measure depends on a map only through how many pixels of each level
lie on and off the object, in each of the four parts that the S-measure cuts the image into. One
joint count of (part, ground truth, level) therefore holds all of it: 4 x 2 x 256 numbers. The
weighted F needs the distance to the object, which belongs to the ground truth and is computed once
for all maps.

The formulas are those of :mod:`int_bench.metrics.reference`, which also serves every map that is
not of 8 bits. The two agree to 1e-12; a test holds them to it.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from int_bench.metrics.maps import LevelMap
from int_bench.metrics.measures import ADAPTIVE_BETA2, VARIANTS, Measurer, Measures
from int_bench.metrics.weighted import WeightedTruth
from int_bench.types import HardMask

_EPS = np.spacing(1)
_TIE = 1e-9
_COUNTED_EXACTLY = 2**24
"""Pixels: OpenCV counts in single precision."""
Floats = NDArray[np.float64]


def against(truth: HardMask, weighted: bool = True) -> Measurer:
    """Prepare a ground truth, (H, W) bool, for any number of maps.

    ``weighted`` False leaves out the weighted F (NaN), which takes longer than all else together.
    """
    prepared = _Truth(truth)

    def measure(prediction: LevelMap, weighted_beta2: float) -> Measures:
        if prediction.table is None:
            # Imported where it is needed: PySODMetrics takes seconds to import.
            from int_bench.metrics import reference

            return reference.measure(prediction.levels(), truth, weighted_beta2)
        return _measure(prediction, prepared, weighted_beta2 if weighted else None)

    return measure


class _Truth:
    """A ground truth with what all maps share: the parts of the S-measure, and the distances."""

    def __init__(self, truth: HardMask) -> None:
        self.mask = truth
        self.bytes = np.ascontiguousarray(truth).view(np.uint8)
        self.foreground = int(np.count_nonzero(truth))
        self.window = slice(0, 0), slice(0, 0)
        self.row, self.column = self._split()

    @property
    def parts(self) -> tuple[tuple[slice, slice], ...]:
        """Upper left, upper right, lower left and lower right of the object's centroid."""
        height, width = self.mask.shape
        above, below = slice(0, self.row), slice(self.row, height)
        left, right = slice(0, self.column), slice(self.column, width)
        return (above, left), (above, right), (below, left), (below, right)

    @property
    def is_mixed(self) -> bool:
        """True unless the ground truth is empty or full."""
        return 0 < self.foreground < self.mask.size

    @cached_property
    def weighted(self) -> WeightedTruth:
        """The ground truth as the weighted F-measure sees it."""
        return WeightedTruth(self.mask)

    def count(self, codes: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Pixels by part, ground truth and code: (4, 2, 256)."""
        joint = np.zeros((4, 2, 256), dtype=np.int64)
        for counts, part in zip(joint, self.parts, strict=True):
            # The object's own window is all that can hold its pixels.
            inner = _overlap(part[0], self.window[0]), _overlap(part[1], self.window[1])
            counts[1] = _histogram(codes[inner], self.bytes[inner])
            counts[0] = _histogram(codes[part]) - counts[1]
        return joint

    def _split(self) -> tuple[int, int]:
        """The rounded centroid plus one, as in MATLAB; the middle if there is no object.

        Sets ``window``, the object's bounding box, on the way.
        """
        height, width = self.mask.shape
        if self.foreground == 0:
            return int(np.round(height / 2)) + 1, int(np.round(width / 2)) + 1
        rows, columns = (
            cv2.reduce(self.bytes, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S).reshape(-1)
            for axis in (1, 0)
        )
        self.window = _span(rows), _span(columns)
        y = (np.arange(height) @ rows) / self.foreground
        x = (np.arange(width) @ columns) / self.foreground
        return int(np.round(y)) + 1, int(np.round(x)) + 1


def _measure(prediction: LevelMap, truth: _Truth, weighted_beta2: float | None) -> Measures:
    assert prediction.table is not None
    table = prediction.table
    joint = truth.count(np.asarray(prediction.pixels, dtype=np.uint8))
    off, on = joint.sum(axis=0)
    chosen = table >= min(_twice_the_mean(on + off, prediction), 1)
    adaptive = _Confusion(int(on[chosen].sum()), int(off[chosen].sum()), truth)
    binary = _Confusion(int(on[table > 0.5].sum()), int(off[table > 0.5].sum()), truth)
    f_curve, e_curve = _curves(on, off, table, truth)
    values = {
        "MAE": (off @ table + on @ (1 - table)) / truth.mask.size,
        "adpF": adaptive.f_measure(),
        "meanF": f_curve.mean(),
        "maxF": f_curve.max(),
        "wF": float("nan")
        if weighted_beta2 is None
        else truth.weighted.f_measure(prediction.levels(), weighted_beta2),
        "adpE": adaptive.e_measure(),
        "meanE": e_curve.mean(),
        "maxE": e_curve.max(),
        "S": _structure(joint, prediction, truth),
        "IoU": binary.overlap(1),
        "Dice": binary.overlap(2),
    }
    return Measures({name: float(values[name]) for name in VARIANTS}, f_curve, e_curve)


def _span(sums: NDArray[Any]) -> slice:
    """From the first to the last place that is not 0."""
    used = np.flatnonzero(sums)
    return slice(int(used[0]), int(used[-1]) + 1)


def _overlap(first: slice, second: slice) -> slice:
    """What two ranges share; empty where they do not meet."""
    start = max(first.start, second.start)
    return slice(start, max(start, min(first.stop, second.stop)))


def _histogram(codes: NDArray[np.uint8], inside: NDArray[np.uint8] | None = None) -> Any:
    """Pixels of each code, (256,), where ``inside`` is not 0."""
    if codes.size == 0:
        return 0
    if codes.size < _COUNTED_EXACTLY:
        counts = cv2.calcHist([codes], [0], inside, [256], [0, 256])
        return np.asarray(counts).reshape(-1).astype(np.int64)
    chosen = codes.reshape(-1) if inside is None else codes[inside != 0]
    return np.bincount(chosen, minlength=256)


def _twice_the_mean(counts: NDArray[np.int64], prediction: LevelMap) -> float:
    """The adaptive threshold.

    Where a level is that close to it, the mean is summed over pixels, as the library does: its last
    bit decides.
    """
    assert prediction.table is not None
    threshold = 2 * float(counts @ prediction.table) / int(counts.sum())
    if np.abs(prediction.table - threshold).min() < _TIE:
        return 2 * float(prediction.levels().mean())
    return threshold


def _curves(
    on: NDArray[np.int64], off: NDArray[np.int64], table: Floats, truth: _Truth
) -> tuple[Floats, Floats]:
    """F and E at the thresholds 255..0, (256,) each."""
    # Truncated as the library does: a level of a stretched map can fall into the bin below its own.
    bins = (table * 255).astype(np.uint8)
    hits, false_alarms = (
        np.cumsum(np.bincount(bins, weights=counts, minlength=256)[::-1]).astype(np.int64)
        for counts in (on, off)
    )
    confusion = _Confusion(hits, false_alarms, truth)
    return np.asarray(confusion.f_measure()), np.asarray(confusion.e_measure())


class _Confusion:
    """Hits and false alarms, one number or one per threshold, and the measures that follow."""

    def __init__(
        self, hits: int | NDArray[np.int64], false_alarms: int | NDArray[np.int64], truth: _Truth
    ) -> None:
        self.hits = np.asarray(hits, dtype=np.float64)
        self.false_alarms = np.asarray(false_alarms, dtype=np.float64)
        self.truth = truth

    def f_measure(self) -> Floats:
        """(1 + beta^2) P R / (beta^2 P + R), 0 without hits (Achanta et al., CVPR 2009)."""
        precision = _ratio(self.hits, self.hits + self.false_alarms)
        recall = _ratio(self.hits, np.asarray(float(self.truth.foreground)))
        return _ratio(
            (1 + ADAPTIVE_BETA2) * precision * recall, ADAPTIVE_BETA2 * precision + recall
        )

    def overlap(self, weight: int) -> Floats:
        """IoU (``weight`` 1) or Dice (2): weight * TP / (weight * TP + FP + FN)."""
        errors = self.false_alarms + self.truth.foreground - self.hits
        return _ratio(weight * self.hits, weight * self.hits + errors)

    def e_measure(self) -> Floats:
        """Enhanced alignment (Fan et al., IJCAI 2018), from the four counts of the confusion."""
        size, foreground = self.truth.mask.size, self.truth.foreground
        predicted = self.hits + self.false_alarms
        if foreground == 0:
            total = size - predicted
        elif foreground == size:
            total = predicted
        else:
            misses = foreground - self.hits
            rest = size - predicted - misses
            p, t = predicted / size, foreground / size
            total = (
                _alignment(1 - p, 1 - t) * self.hits
                + _alignment(1 - p, -t) * self.false_alarms
                + _alignment(-p, 1 - t) * misses
                + _alignment(-p, -t) * rest
            )
        aligned: Floats = total / (size - 1 + _EPS)
        return aligned


def _alignment(prediction: Floats, truth: float) -> Floats:
    """The enhanced alignment of a pixel with these values after their means are taken off."""
    aligned = 2 * prediction * truth / (prediction**2 + truth**2 + _EPS)
    enhanced: Floats = (aligned + 1) ** 2 / 4
    return enhanced


def _structure(joint: NDArray[np.int64], prediction: LevelMap, truth: _Truth) -> float:
    """The S-measure with alpha = 0.5 (Fan et al., ICCV 2017)."""
    assert prediction.table is not None
    table, size = prediction.table, truth.mask.size
    off, on = joint.sum(axis=0)
    if not truth.is_mixed:
        mean = float(prediction.levels().mean())
        return mean if truth.foreground else 1 - mean
    share = truth.foreground / size
    objects = share * _object(on, table) + (1 - share) * _object(off, 1 - table)
    regions = 0.0
    for counts, part in zip(joint, truth.parts, strict=True):
        mask = truth.mask[part]
        regions += _similarity(counts, prediction, part, mask) * mask.size / size
    return max(0.0, 0.5 * objects + 0.5 * regions)


def _object(counts: NDArray[np.int64], table: Floats) -> float:
    """How high and how even the levels are where they should be 1."""
    n = int(counts.sum())
    mean = counts @ table / n
    deviation = np.sqrt(counts @ (table - mean) ** 2 / (n - 1)) if n > 1 else 0.0
    return float(2 * mean / (mean**2 + 1 + deviation + _EPS))


def _similarity(
    counts: NDArray[np.int64], prediction: LevelMap, part: tuple[slice, slice], mask: HardMask
) -> float:
    """Structural similarity of one part, from its counts (2, 256); 0 for a part of no pixels."""
    assert prediction.table is not None
    table = prediction.table
    outside, inside = counts.sum(axis=1).tolist()
    n = outside + inside
    if n == 0:
        return 0.0
    by_level = counts.sum(axis=0)
    present = np.flatnonzero(by_level)
    if len(present) == 1 and table[present[0]] not in (0.0, 1.0):
        from int_bench.metrics import reference

        # Whether such a part counts as equal to a constant truth hangs on the rounding of its mean.
        return reference.similarity(prediction.levels()[part], mask)
    x, y = by_level @ table / n, inside / n
    variance_x = by_level @ (table - x) ** 2 / (n - 1 + _EPS)
    variance_y = (inside * (1 - y) ** 2 + outside * y**2) / (n - 1 + _EPS)
    covariance = ((table - x) @ (counts[1] * (1 - y) - counts[0] * y)) / (n - 1 + _EPS)
    alpha = 4 * x * y * covariance
    beta = (x**2 + y**2) * (variance_x + variance_y)
    if alpha != 0:
        return float(alpha / (beta + _EPS))
    return 1.0 if beta == 0 else 0.0


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """The quotient, 0 where the denominator is 0."""
    if np.ndim(denominator) == 0:
        return np.asarray(numerator / denominator if denominator else 0.0 * numerator)
    zero = denominator == 0
    return np.where(zero, 0.0, numerator / np.where(zero, 1.0, denominator))
