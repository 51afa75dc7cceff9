"""The floor under every table: answers that look at nothing."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import numpy as np

from int_bench.core.geometry import fill_box
from int_bench.core.protocols import Ask
from int_bench.core.types import HardMask, Iteration, Masks, Prediction, Sample

Kind = Literal["empty", "full", "centre_box"]
"""Nothing, everything, and the centred box of half the height and half the width."""
KINDS: tuple[Kind, ...] = get_args(Kind)


def trivial_mask(kind: Kind, size: tuple[int, int]) -> HardMask:
    """One of the trivial answers, (H, W) bool of ``size``.

    The centre box leaves a quarter of each side out at each end, in whole pixels, so that it lies
    in the middle of any size.

    >>> trivial_mask("centre_box", (5, 8)).astype(int).sum(axis=1).tolist()
    [0, 4, 4, 4, 0]
    """
    height, width = size
    if kind == "centre_box":
        return fill_box((width / 4, height / 4, width * 3 / 4, height * 3 / 4), size)
    return np.full(size, kind == "full", dtype=np.bool_)


class Empty:
    """Predicts nothing."""

    roles: ClassVar[frozenset[str]] = frozenset()

    async def segment(self, sample: Sample, ask: Ask) -> Prediction:
        """An empty mask."""
        return _single("empty", sample)


class Full:
    """Predicts everything."""

    roles: ClassVar[frozenset[str]] = frozenset()

    async def segment(self, sample: Sample, ask: Ask) -> Prediction:
        """A full mask."""
        return _single("full", sample)


class CentreBox:
    """Predicts the centred box of half the height and half the width."""

    roles: ClassVar[frozenset[str]] = frozenset()

    async def segment(self, sample: Sample, ask: Ask) -> Prediction:
        """The mask of the centre box."""
        return _single("centre_box", sample)


def _single(kind: Kind, sample: Sample) -> Prediction:
    hard = trivial_mask(kind, sample.image.size)
    return Prediction((Iteration(Masks(hard, hard.astype(np.float32)), ""),), (0,))
