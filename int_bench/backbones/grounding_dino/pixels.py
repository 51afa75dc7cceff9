"""A picture as a GroundingDINO reads it."""

from __future__ import annotations

from typing import Any

import numpy as np
import PIL.Image
import torch
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
    mean, deviation = (
        np.asarray(x, np.float64) for x in (processor.image_mean, processor.image_std)
    )
    # Rows as they lie in memory: the three channels by turns.
    scale, shift = (
        np.tile(x.astype(np.float32), width)
        for x in (processor.rescale_factor / deviation, -mean / deviation)
    )
    rows = np.multiply(resized.reshape(height, -1), scale, dtype=np.float32)
    rows += shift
    if processor.do_pad and space is not None and (space.height, space.width) != (height, width):
        rows = np.pad(rows, ((0, space.height - height), (0, 3 * (space.width - width))))
    return torch.from_numpy(rows).view(len(rows), -1, 3).permute(2, 0, 1)[None]
