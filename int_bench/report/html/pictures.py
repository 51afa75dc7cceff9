"""The pictures of a page: small, and as text that stands in the file itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from int_bench.core.types import HardMask, Image, SoftMask
from int_bench.data.images import Map
from int_bench.metrics.maps import level_map, resize_nearest

SIDE, MASK_SIDE = 224, 144
"""The longest side of an image's picture, and of an iteration's mask, in pixels."""
TRUTH, FIRST, SECOND = 1, 2, 4
"""Bits of a label: on the object; in the mask of the first run; of the second."""
_QUALITY = 76


@dataclass(frozen=True)
class Shot:
    """One image at the size of a picture.

    Attributes:
        thumb: the image; None where there is none.
        labels: (h, w), the bits above.
        has_truth: whether the bit of the object means anything.
        aspect: width over height of the image itself.
    """

    thumb: Image | None
    labels: NDArray[np.uint8]
    has_truth: bool
    aspect: float


def shot(image: Image | None, truth: HardMask | None, masks: Sequence[HardMask | None]) -> Shot:
    """The image with truth and masks, each at its own size, brought to one small size."""
    shapes = [array.shape for array in (image, truth, *masks) if array is not None]
    height, width = shapes[0][:2] if shapes else (3, 4)
    size = fit((height, width), SIDE)
    labels = np.zeros(size, dtype=np.uint8)
    for bit, mask in zip((TRUTH, FIRST, SECOND), (truth, *masks), strict=False):
        if mask is not None:
            labels |= resize_nearest(mask, size).astype(np.uint8) * np.uint8(bit)
    thumb = None if image is None else shrunk(image, size)
    return Shot(thumb, labels, truth is not None, width / height)


def hard(mask: Map | None) -> HardMask | None:
    """A map cut at one half, as its overlap is measured."""
    return None if mask is None else level_map(mask).levels() > 0.5


def fit(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Height and width, shrunk so that the longer one is at most ``side``.

    >>> fit((100, 400), 200), fit((3, 2), 200)
    ((50, 200), (3, 2))
    """
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def shrunk(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Pixels at ``size`` (height, width), averaged."""
    resized = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(resized, dtype=np.uint8)


def soft_picture(mask: SoftMask) -> str:
    """M_i as a grey picture."""
    levels = np.rint(mask * 255).astype(np.uint8)
    return webp(shrunk(levels, fit((mask.shape[0], mask.shape[1]), MASK_SIDE)))


def webp(pixels: NDArray[np.uint8]) -> str:
    """A picture, (h, w, 3) or (h, w), as a data URI; lossy."""
    out = io.BytesIO()
    PillowImage.fromarray(pixels).save(out, "WEBP", quality=_QUALITY, method=2)
    return uri(out.getvalue(), "webp")


def png(pixels: NDArray[np.uint8]) -> str:
    """A picture as a data URI, exact."""
    done, content = cv2.imencode(".png", pixels)
    assert done
    return uri(content.tobytes(), "png")


def uri(content: bytes, kind: str) -> str:
    """Bytes as an address that holds them."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
