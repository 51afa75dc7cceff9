"""A picture as a GroundingDINO reads it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.image_transforms import get_size_with_aspect_ratio


class Padding(NamedTuple):
    """How a picture lies in a larger frame: at its upper left. Height and width, in pixels.

    Attributes:
        picture: of the picture, after it was resized.
        frame: of the frame, to which boxes are relative.
    """

    picture: tuple[int, int]
    frame: tuple[int, int]

    def around(self, size: tuple[int, int]) -> tuple[float, float]:
        """Height and width of the frame in pixels of an image of ``size`` that was resized so.

        >>> Padding(picture=(128, 64), frame=(128, 128)).around((64, 32))
        (64.0, 64.0)
        """
        high, wide = (f / p for f, p in zip(self.frame, self.picture, strict=True))
        return size[0] * high, size[1] * wide


def pixels_of(image: PIL.Image.Image, processor: Any) -> tuple[Tensor, Padding | None]:
    """Resized, normalised and padded, (1, 3, H, W) float32, channels last, and its padding if any.

    The library's image processor does the same in several passes over float64 (its PIL one, which
    equals the original code's transforms). Settings that no checkpoint has are left to it.

    Args:
        image: RGB.
        processor: a ``GroundingDinoImageProcessorPil``.
    """
    size, space = processor.size, processor.pad_size
    if not (processor.do_resize and processor.do_rescale and processor.do_normalize) or not (
        size.shortest_edge and size.longest_edge
    ):
        inputs = processor(images=image, return_tensors="pt")
        given: Tensor = inputs["pixel_values"].contiguous(memory_format=torch.channels_last)
        seen = inputs.get("pixel_mask", torch.ones_like(given[:, 0]))[0].bool()
        return given, _padding((int(seen[:, 0].sum()), int(seen[0].sum())), given)
    height, width = get_size_with_aspect_ratio(
        (image.height, image.width), size.shortest_edge, size.longest_edge
    )
    resized = np.asarray(image.resize((width, height), processor.resample))
    mean, deviation = (tuple(x) for x in (processor.image_mean, processor.image_std))
    scale, shift = _affine(mean, deviation, processor.rescale_factor, width)
    rows = np.multiply(resized.reshape(height, -1), scale, dtype=np.float32)
    rows += shift
    if processor.do_pad and space is not None and (space.height, space.width) != (height, width):
        rows = np.pad(rows, ((0, space.height - height), (0, 3 * (space.width - width))))
    pixels = torch.from_numpy(rows).view(len(rows), -1, 3).permute(2, 0, 1)[None]
    return pixels, _padding((height, width), pixels)


def _padding(picture: tuple[int, int], pixels: Tensor) -> Padding | None:
    frame = (pixels.shape[2], pixels.shape[3])
    return None if picture == frame else Padding(picture, frame)


@lru_cache(64)
def _affine(
    mean: tuple[float, ...], deviation: tuple[float, ...], factor: float, width: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What a row of pixels is multiplied by and what is added, as it lies: channels by turns."""
    means, deviations = np.asarray(mean), np.asarray(deviation)
    both = (factor / deviations, -means / deviations)
    scale, shift = (np.tile(values.astype(np.float32), width) for values in both)
    return scale, shift
