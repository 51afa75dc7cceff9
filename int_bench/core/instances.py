"""One object of an image, as data sets of instances know it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from int_bench.errors import MissingAsset


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


def coco_library(what: str) -> Any:
    """The module ``faster_coco_eval``: COCO's run lengths, polygons and average precision.

    Args:
        what: what needs it, in the singular, for the message.

    Raises:
        MissingAsset: it is not installed.
    """
    try:
        import faster_coco_eval
    except ImportError as error:
        raise MissingAsset(
            f"Package faster-coco-eval, which {what} needs, is not installed; pip install"
            " 'int-bench[instances]'."
        ) from error
    return faster_coco_eval
