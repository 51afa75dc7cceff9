"""The floor under every table: methods that look at nothing."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from int_bench.core.geometry import fill_box
from int_bench.core.protocols import Ask
from int_bench.core.types import HardMask, Iteration, Prediction, Sample


def _single(hard: HardMask) -> Prediction:
    return Prediction((Iteration(hard, hard.astype(np.float32), ""),), (0,))


class Empty:
    """Predicts nothing."""

    roles: ClassVar[frozenset[str]] = frozenset()

    async def segment(self, sample: Sample, ask: Ask) -> Prediction:
        """An empty mask."""
        return _single(np.zeros(sample.image.size, dtype=np.bool_))


class Full:
    """Predicts everything."""

    roles: ClassVar[frozenset[str]] = frozenset()

    async def segment(self, sample: Sample, ask: Ask) -> Prediction:
        """A full mask."""
        return _single(np.ones(sample.image.size, dtype=np.bool_))


class CentreBox:
    """Predicts the centred box of half the height and half the width."""

    roles: ClassVar[frozenset[str]] = frozenset()

    async def segment(self, sample: Sample, ask: Ask) -> Prediction:
        """The mask of the centre box."""
        height, width = sample.image.size
        box_image = (width / 4, height / 4, width * 3 / 4, height * 3 / 4)
        return _single(fill_box(box_image, (height, width)))
