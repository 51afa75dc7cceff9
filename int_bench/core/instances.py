"""One object of an image, as data sets of instances know it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Instance:
    """An annotated object.

    Attributes:
        id: unique in its data set and safe as a file name; the id of the object's own sample, and
            what its point is keyed by.
        category: its class, by name.
        mask: (H, W) bool, its visible pixels; never empty.
        box: x1, y1, x2, y2 in pixels of the image, half open: the tight rectangle of ``mask``.
        point: x, y in pixels of the image, the centre of the top left pixel being (0.5, 0.5): the
            one click that point supervision knows of it.
    """

    id: str
    category: str
    mask: NDArray[np.bool_]
    box: tuple[float, float, float, float]
    point: tuple[float, float]
