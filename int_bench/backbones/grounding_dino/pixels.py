"""A picture as a GroundingDINO reads it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.image_transforms import get_size_with_aspect_ratio


def pixels_of(image: PIL.Image.Image, processor: Any) -> Tensor:
    """Resized, normalised and padded, (1, 3, H, W) float32, channels last.

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
        given: Tensor = processor(images=image, return_tensors="pt")["pixel_values"]
        return given.contiguous(memory_format=torch.channels_last)
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
    return torch.from_numpy(rows).view(len(rows), -1, 3).permute(2, 0, 1)[None]


@lru_cache(64)
def _affine(
    mean: tuple[float, ...], deviation: tuple[float, ...], factor: float, width: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What a row of pixels is multiplied by and what is added, as it lies: channels by turns."""
    means, deviations = np.asarray(mean), np.asarray(deviation)
    both = (factor / deviations, -means / deviations)
    scale, shift = (np.tile(values.astype(np.float32), width) for values in both)
    return scale, shift
