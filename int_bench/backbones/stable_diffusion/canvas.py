"""The square that an inpainter works on, and the way back: letterbox, feathered composite.

Frames: *image* is the request's image, (H, W); *canvas* is the model's square, (S, S). A letterbox
keeps the aspect ratio and fills the rest of the square with the image's own mirror or edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from int_bench.core.types import HardMask, Image, SoftMask

Padding = Literal["reflect", "edge"]
_BORDERS: dict[Padding, int] = {
    "reflect": cv2.BORDER_REFLECT_101,
    "edge": cv2.BORDER_REPLICATE,
}
_PIXELS_AT_ONCE = 2**20
"""Of a composite: bounds the memory that it takes beside its images."""


@dataclass(frozen=True)
class Canvas:
    """An image and its mask on the model's square.

    Attributes:
        image: (S, S, 3) uint8.
        mask: (S, S) bool, True on every pixel that any masked image pixel falls on.
        window: (top, left, height, width) of the image inside the square, in canvas pixels.
    """

    image: Image
    mask: HardMask
    window: tuple[int, int, int, int]


def to_canvas(image: Image, mask: HardMask, size: int, padding: Padding | None) -> Canvas:
    """Put an image and its mask on a square.

    Args:
        image: (H, W, 3) uint8, any size.
        mask: (H, W) bool.
        size: side of the square in pixels.
        padding: ``reflect`` or ``edge`` (letterbox), or None: squash both sides to the square.

    Returns:
        The square. The mask is padded in the same way as the image, so that the mirror image of
        a masked object is masked as well and cannot be copied back.
    """
    height, width = mask.shape
    scale = size / max(height, width)
    inner = (max(1, round(height * scale)), max(1, round(width * scale)))
    if padding is None:
        inner = (size, size)
    top, left = (size - inner[0]) // 2, (size - inner[1]) // 2
    border = (top, size - inner[0] - top, left, size - inner[1] - left)
    kind = _BORDERS[padding or "edge"]
    covered = resized(mask.astype(np.float32), inner) > 1e-6
    return Canvas(
        image=np.asarray(cv2.copyMakeBorder(resized(image, inner), *border, kind), np.uint8),
        mask=cv2.copyMakeBorder(covered.astype(np.uint8), *border, kind).astype(bool),
        window=(top, left, *inner),
    )


def from_canvas(filled: Image, window: tuple[int, int, int, int], size: tuple[int, int]) -> Image:
    """Cut the window out of a filled square, (S, S, 3) uint8, and give it the image's (H, W)."""
    top, left, height, width = window
    return resized(filled[top : top + height, left : left + width], size)


def resized(array: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Resize to (height, width): area averages when shrinking, else cubic (masks: linear)."""
    height, width = size
    if array.shape[:2] == size:
        return array
    if height < array.shape[0] or width < array.shape[1]:
        method = cv2.INTER_AREA
    else:
        method = cv2.INTER_CUBIC if array.ndim == 3 else cv2.INTER_LINEAR
    return cast("NDArray[Any]", cv2.resize(array, (width, height), interpolation=method))


def cover_cells(mask: HardMask, cell: int) -> HardMask:
    """Grow a mask, (S, S), to whole cells of ``cell`` pixels: any masked pixel masks its cell.

    Reading: diffusers samples the mask at one pixel per latent cell, so that a thin mask could
    vanish from the latents; growing it hides at most ``cell - 1`` more pixels of context.
    """
    side = mask.shape[0] // cell
    cells = mask.reshape(side, cell, side, cell).any(axis=(1, 3))
    return cells.repeat(cell, axis=0).repeat(cell, axis=1)


def feathered(mask: HardMask, width: float) -> SoftMask:
    """The opacity of the fill, (H, W) in 0..1: zero outside the mask, rising inwards from its rim.

    Reading: the ramp lies inside the mask, so that an erased image differs from the original
    nowhere else (the released masks are dilated by more than the ramp).

    Args:
        mask: (H, W) bool.
        width: length of the ramp in pixels; 0 is a hard edge.

    Returns:
        ``min(1, distance / (width + 1))`` with the Euclidean distance to the nearest pixel
        outside the mask; the image's border is no rim.
    """
    if width <= 0 or mask.all():
        return mask.astype(np.float32)
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    opacity: SoftMask = np.asarray(distance, np.float32)
    np.divide(opacity, width + 1, out=opacity)
    return np.minimum(opacity, 1.0, out=opacity)


def composite(image: Image, filled: Image, opacity: SoftMask) -> Image:
    """``opacity * filled + (1 - opacity) * image``, rounded; exactly ``image`` where it is 0.

    Args:
        image: (H, W, 3) uint8.
        filled: (H, W, 3) uint8.
        opacity: (H, W) float32, 0..1.
    """
    blended = image.copy()
    columns = np.flatnonzero(opacity.any(axis=0))
    if not len(columns):
        return blended
    across = slice(columns[0], columns[-1] + 1)
    lines = np.flatnonzero(opacity.any(axis=1))
    for top in range(lines[0], lines[-1] + 1, step := max(1, _PIXELS_AT_ONCE // image.shape[1])):
        part = slice(top, min(top + step, lines[-1] + 1)), across
        weight = opacity[part][..., None]
        new, old = filled[part].astype(np.float32), image[part].astype(np.float32)
        blend = np.rint(weight * new + (1 - weight) * old).astype(np.uint8)
        blended[part] = np.where(weight > 0, blend, image[part])
    return blended
