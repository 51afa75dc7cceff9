"""What is measured: the names of all variants, the measures of one map, and what computes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from int_bench.core.types import HardMask
from int_bench.metrics.maps import LevelMap

VARIANTS = (
    "MAE", "adpF", "meanF", "maxF", "wF", "adpE", "meanE", "maxE", "S", "IoU", "Dice",
)  # fmt: skip
"""Every measure that is computed, in the order of stored columns."""

ADAPTIVE_BETA2 = 0.3
"""beta^2 of adpF, meanF and maxF (Achanta et al., CVPR 2009)."""


@dataclass(frozen=True)
class Measures:
    """All variants of one map.

    ``values`` maps each of ``VARIANTS`` to a number; ``meanF``/``maxF`` and ``meanE``/``maxE`` are
    over this map's own curve. ``f_curve`` and ``e_curve`` are (256,) float64, for the thresholds
    255..0.
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
