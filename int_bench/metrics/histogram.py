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

import cv2
import numpy as np
from numpy.typing import NDArray

from int_bench.core.types import HardMask
from int_bench.metrics.maps import LevelMap
from int_bench.metrics.metrics import ADAPTIVE_BETA2, METRICS, Measurer, Measures
from int_bench.metrics.weighted import WeightedTruth

_EPS = np.spacing(1)
_ADAPTIVE, _BINARY = 256, 257
"""Where the adaptive threshold and 0.5 stand behind the 256 thresholds of the curves."""
_TIE = 1e-9
_COUNTED_EXACTLY = 2**24
"""Pixels: OpenCV counts in single precision."""
_LANES = 4
"""Tables that neighbouring pixels are counted into, in turn.

A counter that is raised by one pixel is not ready for the next, so runs of one level, which masks
are made of, take twice as long in a single table.
"""
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

    @cached_property
    def cells(self) -> NDArray[np.uint8]:
        """What each pixel is counted under, (H, W): lane * 8 + part * 2 + ground truth."""
        columns = np.arange(self.mask.shape[1])
        above = (columns % _LANES * 8 + 2 * (columns >= self.column)).astype(np.uint8)
        cells = np.empty_like(self.bytes)
        np.add(self.bytes[: self.row], above, out=cells[: self.row])
        np.add(self.bytes[self.row :], above + np.uint8(4), out=cells[self.row :])
        return cells

    def count(self, codes: NDArray[np.uint8]) -> Floats:
        """Pixels by part, ground truth and code: (4, 2, 256) whole numbers."""
        kinds = 8 * _LANES
        if codes.size < _COUNTED_EXACTLY:
            ranges = [0, kinds, 0, 256]
            counts = cv2.calcHist([self.cells, codes], [0, 1], None, [kinds, 256], ranges)
        else:
            flat = self.cells.astype(np.intp) * 256 + codes
            counts = np.bincount(flat.reshape(-1), minlength=kinds * 256)
        by_lane: Floats = np.asarray(counts, dtype=np.float64).reshape(_LANES, 4, 2, 256)
        joint: Floats = by_lane.sum(axis=0)
        return joint

    def _split(self) -> tuple[int, int]:
        """The rounded centroid plus one, as in MATLAB; the middle if there is no object."""
        height, width = self.mask.shape
        if self.foreground == 0:
            return int(np.round(height / 2)) + 1, int(np.round(width / 2)) + 1
        rows, columns = (
            cv2.reduce(self.bytes, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S).reshape(-1)
            for axis in (1, 0)
        )
        y = (np.arange(height) @ rows) / self.foreground
        x = (np.arange(width) @ columns) / self.foreground
        return int(np.round(y)) + 1, int(np.round(x)) + 1


def _measure(prediction: LevelMap, truth: _Truth, weighted_beta2: float | None) -> Measures:
    assert prediction.table is not None
    table = prediction.table
    joint = truth.count(np.asarray(prediction.pixels, dtype=np.uint8))
    off, on = joint.sum(axis=0)
    confusion = _confusion(on, off, prediction, truth)
    f_measures, e_measures = confusion.f_measure(), confusion.e_measure()
    f_curve, e_curve = f_measures[:256], e_measures[:256]
    values = {
        "MAE": (off @ table + on @ (1 - table)) / truth.mask.size,
        "adpF": f_measures[_ADAPTIVE],
        "meanF": f_curve.mean(),
        "maxF": f_curve.max(),
        "wF": float("nan")
        if weighted_beta2 is None
        else truth.weighted.f_measure(prediction.levels(), weighted_beta2),
        "adpE": e_measures[_ADAPTIVE],
        "meanE": e_curve.mean(),
        "maxE": e_curve.max(),
        "S": _structure(joint, prediction, truth),
        "IoU": confusion.overlap(1)[_BINARY],
        "Dice": confusion.overlap(2)[_BINARY],
    }
    return Measures({name: float(values[name]) for name in METRICS}, f_curve, e_curve)


def _twice_the_mean(counts: Floats, prediction: LevelMap) -> float:
    """The adaptive threshold.

    Where a level is that close to it, the mean is summed over pixels, as the library does: its last
    bit decides.
    """
    assert prediction.table is not None
    threshold = 2 * float(counts @ prediction.table) / int(counts.sum())
    if np.abs(prediction.table - threshold).min() < _TIE:
        return 2 * float(prediction.levels().mean())
    return threshold


def _confusion(on: Floats, off: Floats, prediction: LevelMap, truth: _Truth) -> _Confusion:
    """At the thresholds 255..0 of the curves, the adaptive threshold, and 0.5: (258,)."""
    assert prediction.table is not None
    table = prediction.table
    # Truncated as the library does: a level of a stretched map can fall into the bin below its own.
    bins = (table * 255).astype(np.uint8)
    adaptive = table >= min(_twice_the_mean(on + off, prediction), 1)
    hits, false_alarms = (
        np.concatenate(
            [
                np.cumsum(np.bincount(bins, weights=counts, minlength=256)[::-1]),
                [counts @ adaptive, counts @ (table > 0.5)],
            ]
        )
        for counts in (on, off)
    )
    return _Confusion(hits, false_alarms, truth)


class _Confusion:
    """Hits and false alarms at some thresholds, and the measures that follow for each of them."""

    def __init__(self, hits: Floats, false_alarms: Floats, truth: _Truth) -> None:
        self.hits, self.false_alarms, self.truth = hits, false_alarms, truth

    def f_measure(self) -> Floats:
        """(1 + beta^2) P R / (beta^2 P + R), 0 without hits (Achanta et al., CVPR 2009)."""
        precision = _ratio(self.hits, self.hits + self.false_alarms)
        recall = self.hits / max(self.truth.foreground, 1)
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


def _structure(joint: Floats, prediction: LevelMap, truth: _Truth) -> float:
    """The S-measure with alpha = 0.5 (Fan et al., ICCV 2017)."""
    assert prediction.table is not None
    table, size = prediction.table, truth.mask.size
    off, on = joint.sum(axis=0)
    if not truth.is_mixed:
        mean = float(prediction.levels().mean())
        return mean if truth.foreground else 1 - mean
    share = truth.foreground / size
    objects = share * _object(on, table) + (1 - share) * _object(off, 1 - table)
    regions = float(_similarities(joint, prediction, truth) @ joint.sum(axis=(1, 2))) / size
    return max(0.0, 0.5 * objects + 0.5 * regions)


def _object(counts: Floats, table: Floats) -> float:
    """How high and how even the levels are where they should be 1."""
    n = int(counts.sum())
    mean = counts @ table / n
    deviation = np.sqrt(counts @ (table - mean) ** 2 / (n - 1)) if n > 1 else 0.0
    return float(2 * mean / (mean**2 + 1 + deviation + _EPS))


def _similarities(joint: Floats, prediction: LevelMap, truth: _Truth) -> Floats:
    """Structural similarity of each part, (4,), from the counts (4, 2, 256); 0 without pixels."""
    assert prediction.table is not None
    table, by_level = prediction.table, joint.sum(axis=1)
    outside, inside = joint.sum(axis=2).T
    n = np.maximum(outside + inside, 1)
    x, y = by_level @ table / n, inside / n
    centred = table - x[:, None]
    variance_x = (by_level * centred**2).sum(axis=1)
    variance_y = inside * (1 - y) ** 2 + outside * y**2
    weights = joint[:, 1] * (1 - y)[:, None] - joint[:, 0] * y[:, None]
    covariance = (centred * weights).sum(axis=1)
    rest = n - 1 + _EPS
    alpha = 4 * x * y * covariance / rest
    beta = (x**2 + y**2) * ((variance_x + variance_y) / rest)
    similar = np.where(alpha != 0, alpha / (beta + _EPS), beta == 0)
    return _with_flat_parts(similar * (outside + inside > 0), by_level, prediction, truth)


def _with_flat_parts(
    similar: Floats, by_level: Floats, prediction: LevelMap, truth: _Truth
) -> Floats:
    """The similarities (4,), those of parts with one level between 0 and 1 from the reference.

    Whether such a part counts as equal to a constant truth hangs on the rounding of its mean.
    """
    assert prediction.table is not None
    for index in np.flatnonzero(np.count_nonzero(by_level, axis=1) == 1):
        if prediction.table[by_level[index].argmax()] not in (0.0, 1.0):
            from int_bench.metrics import reference

            part = truth.parts[index]
            similar[index] = reference.similarity(prediction.levels()[part], truth.mask[part])
    return similar


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """The quotient, 0 where the denominator is 0."""
    zero = denominator == 0
    return np.where(zero, 0.0, numerator / np.where(zero, 1.0, denominator))
