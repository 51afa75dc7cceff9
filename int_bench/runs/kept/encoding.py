"""What is kept of a prediction, as files: masks as PNG, what was seen as one sheet an iteration.

A sheet holds the small pictures of a traced iteration side by side, as one WebP; where each of them
lies stands in the record (``pictures`` of :class:`int_bench.core.details.Details`). One file for
each iteration, not for each picture: a run of ten thousand images stays a folder that can be
copied.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from int_bench.core.types import Pictures, Prediction
from int_bench.runs.layout import Keep

Files = Sequence[tuple[str, bytes]]
"""Encoded files by what they are: ``final``, ``1``, ``soft_1``, ..., ``trace_1``, ..."""

_WIDTH = 672  # of a sheet, in pixels, unless one picture is wider
_CELL = 8  # pictures begin and end on the blocks of the encoder, so that none bleeds into another
_QUALITY = 80


def encoded(prediction: Prediction | None, keep: Keep) -> Files:
    """The files of a prediction that are kept."""
    return [] if prediction is None else list(_files(prediction, keep))


def _files(prediction: Prediction, keep: Keep) -> Iterator[tuple[str, bytes]]:
    for number, item in enumerate(prediction.iterations if keep != "final" else (), start=1):
        yield str(number), _png(item.masks.hard.astype(np.uint8) * 255)
        if keep in ("soft", "trace"):
            yield f"soft_{number}", _png(np.rint(item.masks.soft * 255).astype(np.uint8))
        if keep == "trace" and item.pictures:
            yield f"trace_{number}", sheet(item.pictures)
    yield "final", _png(prediction.final.masks.hard.astype(np.uint8) * 255)


def places(pictures: Pictures) -> dict[str, list[int]]:
    """Where each picture lies on its sheet: x, y, width, height in pixels; in rows, as they come.

    >>> grey = np.zeros((10, 400), dtype=np.uint8)
    >>> places({"view": grey, "erased": grey, "hole": grey[:, :100]})
    {'view': [0, 0, 400, 10], 'erased': [0, 16, 400, 10], 'hole': [408, 16, 100, 10]}
    """
    placed: dict[str, list[int]] = {}
    left = top = below = 0
    for name, picture in pictures.items():
        height, width = picture.shape[:2]
        if left and left + width > _WIDTH:
            left, top = 0, below
        placed[name] = [left, top, width, height]
        left += _beyond(width)
        below = max(below, top + _beyond(height))
    return placed


def sheet(pictures: Pictures) -> bytes:
    """The pictures on their places, as WebP."""
    placed = places(pictures)
    canvas = np.full((*_size(placed), 3), 255, dtype=np.uint8)
    for name, picture in pictures.items():
        x, y, width, height = placed[name]
        canvas[y : y + height, x : x + width] = picture if picture.ndim == 3 else picture[..., None]
    out = io.BytesIO()
    PillowImage.fromarray(canvas).save(out, "WEBP", quality=_QUALITY, method=2)
    return out.getvalue()


def _size(placed: Mapping[str, Sequence[int]]) -> tuple[int, int]:
    """Height and width that hold all places."""
    ends = [(y + height, x + width) for x, y, width, height in placed.values()]
    return max(bottom for bottom, _ in ends), max(right for _, right in ends)


def _beyond(length: int) -> int:
    """Where the next picture begins: a block's border at least half a block away."""
    return -(-(length + _CELL // 2) // _CELL) * _CELL


def _png(mask: NDArray[np.uint8]) -> bytes:
    _, content = cv2.imencode(".png", mask)
    return bytes(content.tobytes())
