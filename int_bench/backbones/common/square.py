"""From a picture of any shape to the square that a vision-language model looks at.

LLaVA-1.5 was trained on pictures padded to a square with the mean colour of CLIP, and its box
answers are fractions of that square. The stock image processors crop the centre instead, which
hides the margins and shifts every box.

Reading: the paper does not say how a patch enters the model. ``pad`` is how the model was trained
and hides nothing; ``center_crop`` is what the predecessors' code does; ``squash`` keeps everything
and bends it.
"""

from __future__ import annotations

import numpy as np
import PIL.Image

from int_bench.core.geometry import Preprocess, padded_square
from int_bench.core.types import Image

Colour = tuple[int, int, int]
"""Red, green, blue, 0..255."""

LARGEST_SIDE = 7168
"""Of a square, in pixels: a longer picture is shrunk before it is padded. The models look at a few
hundred pixels; what this bounds is the memory on the way there, below 1 GB. The longest pictures of
the data sets (ISIC's, 6748 pixels) are not touched."""


def to_square(image: Image, preprocess: Preprocess, colour: Colour) -> Image:
    """The square picture that a box answer refers to (``geometry.box_patch_from_square``).

    Args:
        image: (H, W, 3) RGB, 0..255.
        preprocess: ``pad``: side max(H, W), the picture in the middle (the odd pixel goes to the
            right or the bottom), bars of ``colour``; ``center_crop``: side min(H, W), the middle
            of the picture; ``squash``: side max(H, W), resized bicubically without keeping the
            aspect.
        colour: of the bars.

    Returns:
        (S, S, 3) RGB, 0..255; the picture itself if it is square. S is at most ``LARGEST_SIDE``.
    """
    if preprocess == "center_crop":
        return shrunk(_middle(image), LARGEST_SIDE)
    image = shrunk(image, LARGEST_SIDE)
    height, width = image.shape[:2]
    if height == width:
        return image
    side, left, top = padded_square((height, width))
    if preprocess == "squash":
        return _resized(image, (side, side))
    square = np.empty((side, side, 3), np.uint8)
    square[:] = colour
    square[top : top + height, left : left + width] = image
    return square


def shrunk(image: Image, side: int) -> Image:
    """An image, (H, W, 3) uint8, no longer than ``side``; itself if it is not. At least 1 pixel."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    return _resized(image, (max(1, round(height * scale)), max(1, round(width * scale))))


def _middle(image: Image) -> Image:
    """The largest square in the middle; the image itself if it is square."""
    height, width = image.shape[:2]
    if height == width:
        return image
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def _resized(image: Image, size: tuple[int, int]) -> Image:
    height, width = size
    resized = PIL.Image.fromarray(image).resize((width, height), PIL.Image.Resampling.BICUBIC)
    return np.asarray(resized, np.uint8)
