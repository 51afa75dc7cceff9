"""What is measured: the one table of all measures, the measures of one map, what computes them.

A new measure is a row of ``METRICS`` and its number in :mod:`int_bench.metrics.histogram` and
:mod:`int_bench.metrics.reference`; stored columns, means, comparisons and the floor follow. Which
of them stand in tables is said in :mod:`int_bench.report.columns`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from int_bench.core.types import HardMask
from int_bench.metrics.maps import LevelMap

Mean = Literal["samples", "f_curve", "e_curve"]


@dataclass(frozen=True)
class Metric:
    """One measure.

    Attributes:
        name: in stored columns.
        symbol: in tables.
        lower_is_better: whether less is better.
        decimals: that tables show.
        mean: how a data set's number comes about: ``samples``, the mean over samples; or the
            maximum of the mean over samples of that curve of :class:`Measures` (one threshold for
            the whole data set, as in PySODMetrics and the MATLAB toolbox).
    """

    name: str
    symbol: str
    lower_is_better: bool = False
    decimals: int = 3
    mean: Mean = "samples"

    @property
    def title(self) -> str:
        """The symbol with an arrow to the better side."""
        return f"{self.symbol} {'↓' if self.lower_is_better else '↑'}"


METRICS = {
    metric.name: metric
    for metric in (
        Metric("MAE", "M", lower_is_better=True),
        Metric("adpF", "Fβ"),
        Metric("meanF", "mean Fβ"),
        Metric("maxF", "max Fβ", mean="f_curve"),
        Metric("wF", "Fβ"),
        Metric("adpE", "adaptive Eφ"),
        Metric("meanE", "Eφ"),
        Metric("maxE", "max Eφ", mean="e_curve"),
        Metric("S", "Sα"),
        Metric("IoU", "IoU"),
        Metric("Dice", "Dice"),
    )
}
"""Every measure that is computed, by name, in the order of stored columns."""

ADAPTIVE_BETA2 = 0.3
"""beta^2 of adpF, meanF and maxF (Achanta et al., CVPR 2009)."""


@dataclass(frozen=True)
class Measures:
    """All measures of one map.

    ``values`` maps each name of ``METRICS`` to a number; ``meanF``/``maxF`` and ``meanE``/``maxE``
    are over this map's own curve. ``f_curve`` and ``e_curve`` are (256,) float64, for the
    thresholds 255..0.
    """

    values: Mapping[str, float]
    f_curve: NDArray[np.float64]
    e_curve: NDArray[np.float64]


BACKENDS = ("histogram", "reference")
"""What computes the measures, by module: our own counts, or PySODMetrics itself."""
Measurer: TypeAlias = Callable[[LevelMap, float], Measures]
"""Measures a map against one ground truth of the same size, for a beta^2 of the weighted F."""
Backend: TypeAlias = Callable[[HardMask], Measurer]
"""Prepares a ground truth, (H, W) bool, for any number of maps; see ``reference.against``."""


def metric_of(stored: str) -> Metric:
    """The measure of a stored column, ``<protocol>.<name>`` or ``<name>``."""
    return METRICS[stored.rpartition(".")[2]]
