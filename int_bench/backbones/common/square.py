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

from int_bench.core.geometry import PREPROCESSINGS, padded_square
from int_bench.core.types import Image
from int_bench.errors import UsageError


def check_preprocess(name: str) -> str:
    """The name, if there is such a way to make a square.

    Raises:
        UsageError: There is none.
    """
    if name not in PREPROCESSINGS:
        raise UsageError(f"Unknown preprocess {name!r}; choose one of {', '.join(PREPROCESSINGS)}.")
    return name


def to_square(image: Image, preprocess: str, colour: tuple[int, int, int]) -> Image:
    """The square picture that a box answer refers to (``geometry.box_patch_from_square``).

    Args:
        image: (H, W, 3) RGB, 0..255.
        preprocess: ``pad``: side max(H, W), the picture in the middle (the odd pixel goes to the
            right or the bottom), bars of ``colour``; ``center_crop``: side min(H, W), the middle
            of the picture; ``squash``: side max(H, W), resized bicubically without keeping the
            aspect.
        colour: RGB of the bars, 0..255.

    Returns:
        (S, S, 3) RGB, 0..255; the picture itself if it is square.
    """
    height, width = image.shape[:2]
    if height == width:
        return image
    if preprocess == "pad":
        side, left, top = padded_square((height, width))
        square = np.empty((side, side, 3), np.uint8)
        square[:] = colour
        square[top : top + height, left : left + width] = image
        return square
    if preprocess == "center_crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return np.ascontiguousarray(image[top : top + side, left : left + side])
    side = max(height, width)
    resized = PIL.Image.fromarray(image).resize((side, side), PIL.Image.Resampling.BICUBIC)
    return np.asarray(resized, np.uint8)
