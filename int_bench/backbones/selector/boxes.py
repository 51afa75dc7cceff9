"""Boxes as tensors: (..., 4) float32, x0, y0, x1, y1 in pixels of one picture."""

from __future__ import annotations

import torch
from torch import Tensor


def area(boxes: Tensor) -> Tensor:
    """Of each box in square pixels, (...); 0 for one that is inside out."""
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union, 0..1, of boxes that broadcast against each other.

    >>> iou(torch.tensor([0.0, 0.0, 2.0, 2.0]), torch.tensor([1.0, 0.0, 3.0, 2.0])).item()
    0.3333333432674408
    """
    top_left = torch.maximum(first[..., :2], second[..., :2])
    bottom_right = torch.minimum(first[..., 2:], second[..., 2:])
    shared = area(torch.cat([top_left, bottom_right], dim=-1))
    return shared / (area(first) + area(second) - shared).clamp(min=1e-6)


def rescaled(boxes: Tensor, factors: Tensor) -> Tensor:
    """Boxes of other sizes around the same centres.

    Args:
        boxes: (N, 4).
        factors: (N, F) on width and height.

    Returns:
        (N, F, 4).
    """
    centres = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    halves = (boxes[:, None, 2:] - boxes[:, None, :2]) / 2 * factors[..., None]
    return torch.cat([centres - halves, centres + halves], dim=-1)


def inside(boxes: Tensor, limits: Tensor) -> Tensor:
    """Boxes cut to their pictures.

    Args:
        boxes: (..., 4).
        limits: width, height, width, height of the picture of each, to be broadcast, (..., 4).
    """
    return torch.minimum(boxes.clamp(min=0), limits)
