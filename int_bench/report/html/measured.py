"""What a page measures anew: curves over thresholds, the floor, and how large the objects are.

Stored scores are of hard masks at one threshold. Where soft masks were kept the curves are of the
soft mask of the chosen iteration; else they are of the hard mask, and flat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from int_bench.core.types import HardMask, SoftMask
from int_bench.metrics.histogram import against
from int_bench.metrics.maps import level_map
from int_bench.metrics.metrics import METRICS, Measures
from int_bench.metrics.summary import Counts
from int_bench.scoring.results import RunScores

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curves:
    """Means over images for the thresholds 255..0, each (256,) in 0..1.

    Attributes:
        n: images.
        soft: of how many of them the map was soft.
    """

    n: int
    soft: int
    f: Floats
    e: Floats
    precision: Floats
    recall: Floats


class CurveSum:
    """Adds up curves image by image."""

    def __init__(self) -> None:
        self.n = self.soft = 0
        self._sums = np.zeros((4, 256))

    def add(self, measures: Measures, levels: NDArray[np.uint8], truth: HardMask) -> None:
        """Another image; ``levels`` are (H, W), 0..255."""
        on = np.bincount(levels[truth], minlength=256)[::-1].cumsum()
        off = np.bincount(levels[~truth], minlength=256)[::-1].cumsum()
        taken = on + off
        precision = np.divide(on, taken, out=np.ones(256), where=taken > 0)
        recall = on / max(int(truth.sum()), 1)
        self._sums += np.stack([measures.f_curve, measures.e_curve, precision, recall])
        self.n += 1
        self.soft += bool(((levels > 0) & (levels < 255)).any())

    def curves(self) -> Curves | None:
        """The means; None without an image."""
        return Curves(self.n, self.soft, *(self._sums / self.n)) if self.n else None


def map_measures(levels: NDArray[np.uint8], truth: HardMask) -> Measures:
    """All measures but the weighted F of levels (h, w), 0..255, at the size of the truth."""
    fitted = level_map(levels).resized(_size(truth)).stretched()
    return against(truth, weighted=False)(fitted, 1.0)


def levels_of(mask: SoftMask | HardMask, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A mask in 0..1 as levels of 8 bits at ``size`` (height, width)."""
    levels = np.rint(np.asarray(mask, dtype=np.float32) * 255).astype(np.uint8)
    fitted = level_map(levels).resized(size).levels()
    return np.rint(fitted * 255).astype(np.uint8)


def floor_scores(name: str, rows: Mapping[str, Measures], like: RunScores) -> RunScores:
    """A trivial answer's scores as those of a run, under the protocol ``native``.

    Args:
        name: ``empty``, ``full`` or ``centre_box``.
        rows: its measures by sample.
        like: the run that it stands beneath.
    """
    ids = tuple(rows)
    values = {
        f"native.{metric}": np.array([[row.values[metric] for row in rows.values()]])
        for metric in METRICS
    }
    counts = Counts(len(ids), len(ids), 0, 0, "error")
    return RunScores(like.folder, name, like.dataset, ids, values, counts, like.task)


def spread(count: int, most: int) -> Sequence[int]:
    """At most ``most`` of ``count`` places, evenly."""
    if count <= most:
        return range(count)
    return [int(place) for place in np.linspace(0, count - 1, most).round()]


def _size(truth: HardMask) -> tuple[int, int]:
    return truth.shape[0], truth.shape[1]
