"""Named scoring protocols: the size, the scaling and the weights under which a map is measured.

Two are built in. They differ by more than the gain of one method over the next, so each number
carries the name of its protocol from the first to the last table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from int_bench.core.types import HardMask
from int_bench.errors import SampleError
from int_bench.metrics.maps import level_map, resize_nearest, size_of
from int_bench.metrics.metrics import ADAPTIVE_BETA2, Backend, Measurer, Measures


@dataclass(frozen=True)
class ScoringProtocol:
    """How a prediction is brought before the measures, and which of them is printed as F.

    Attributes:
        name: the name that numbers carry.
        size: (height, width) that both maps are resized to, nearest; None keeps the ground truth's
            size and resizes the prediction to it only where they differ.
        weighted_beta2: beta^2 of the weighted F-measure.
        printed_f: the variant in the column F of tables, ``adpF`` or ``wF``.
        stretch: bring each map that is not constant to the full range 0..1, as PySODMetrics and the
            MATLAB toolbox do; it changes no hard mask. A constant map is always taken as it is.
        backend: one of ``BACKENDS``; they agree to 1e-12.
    """

    name: str
    size: tuple[int, int] | None
    weighted_beta2: float
    printed_f: Literal["adpF", "wF"]
    stretch: bool = True
    backend: str = "histogram"

    @property
    def text(self) -> str:
        """The protocol in one line, as printed beneath a table."""
        size = "at ground-truth size" if self.size is None else "both at {1}x{0}".format(*self.size)
        adaptive = f"adaptive F, beta^2={ADAPTIVE_BETA2:g}"
        weighted = f"weighted F, beta^2={self.weighted_beta2:g}"
        printed = adaptive if self.printed_f == "adpF" else weighted
        return f"{self.name}: {size}; F = {printed}; E = mean over 256 thresholds; S alpha=0.5"

    def against(self, truth: HardMask) -> Scorer:
        """Prepare a ground truth for any number of predictions.

        Args:
            truth: (H, W) bool, at the size in which it is stored.

        Raises:
            SampleError: the ground truth has fewer than two pixels.
        """
        if truth.size < 2:
            raise SampleError(f"A ground truth of {truth.size} pixels cannot be scored.")
        resized = truth if self.size is None else resize_nearest(truth, self.size)
        return Scorer(self, size_of(truth), size_of(resized), _backend(self.backend)(resized))

    def score(self, prediction: NDArray[np.generic], truth: HardMask) -> Score:
        """Measure one prediction; see :meth:`against` and :meth:`Scorer.score`."""
        return self.against(truth).score(prediction)


@dataclass(frozen=True)
class Score:
    """The measures of one sample under one protocol, and what was done to its map before."""

    measures: Measures
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scorer:
    """One ground truth under one protocol: its own size, the size of scoring, and the measures."""

    protocol: ScoringProtocol
    truth_size: tuple[int, int]
    size: tuple[int, int]
    measure: Measurer

    def score(self, prediction: NDArray[np.generic]) -> Score:
        """Measure one prediction.

        Args:
            prediction: (h, w) bool, uint8 0..255 or float 0..1, of any size.

        Raises:
            SampleError: the prediction is no such map.
        """
        levels = level_map(prediction)
        fitted = levels.resized(self.size, nearest=self.protocol.size is not None)
        notes = []
        if levels.size != self.truth_size:
            notes.append(f"resized from {levels.size[1]}x{levels.size[0]}")
        final = fitted.stretched() if self.protocol.stretch else fitted
        if final is not fitted:
            notes.append("stretched to the full range")
        return Score(self.measure(final, self.protocol.weighted_beta2), tuple(notes))


NATIVE = ScoringProtocol("native", None, 1.0, "adpF")
"""The field's toolboxes: ground-truth size, adaptive F of beta^2 = 0.3, weighted F of 1."""
FAMILY = ScoringProtocol("family", (1024, 1024), 0.3, "wF")
"""What the predecessors' code does (ProMaC, GenSAM): 1024 x 1024, weighted F of beta^2 = 0.3.

Reading: the tables of the family print the weighted F as F. One project's code binarises the ground
truth by > 128, the other's by > 0; we use > 128 (``dataset.gt_threshold`` is the option).
"""
PROTOCOLS = {protocol.name: protocol for protocol in (NATIVE, FAMILY)}
"""The built-in protocols by name."""


def protocols(backend: str = "histogram") -> tuple[ScoringProtocol, ...]:
    """The built-in protocols, computed by one of ``BACKENDS``."""
    return tuple(replace(protocol, backend=backend) for protocol in PROTOCOLS.values())


def _backend(name: str) -> Backend:
    # Imported where they are needed: OpenCV takes a while, PySODMetrics seconds.
    if name == "histogram":
        from int_bench.metrics import histogram

        return histogram.against
    from int_bench.metrics import reference

    return reference.against
