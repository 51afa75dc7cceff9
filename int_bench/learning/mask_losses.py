"""Losses and overlaps of mask logits."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Marks(NamedTuple):
    """Marked pixels of pictures: what weak supervision knows.

    Attributes:
        places: (B, N, 2) x, y in -1..1 over the logits' plane.
        inside: (B, N) 1.0 on the object, 0.0 beside it.
    """

    places: Tensor
    inside: Tensor


def mask_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Five times the binary cross-entropy plus the dice loss, (B, M).

    Args:
        logits: (B, M, s, s).
        masks: the same shape, 0..1.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, masks, reduction="none").mean((2, 3))
    soft = logits.sigmoid()
    overlap = 2.0 * (soft * masks).sum((2, 3)) + 1.0
    return 5.0 * entropy + 1.0 - overlap / (soft.sum((2, 3)) + masks.sum((2, 3)) + 1.0)


def partial_entropy(logits: Tensor, marks: Marks) -> Tensor:
    """The binary cross-entropy over marked pixels alone, (B, M): inside and outside weigh the same.

    Args:
        logits: (B, M, s, s), read between their cells.
        marks: of the pictures.
    """
    read = F.grid_sample(logits, marks.places[:, None], align_corners=False)[:, :, 0]
    known = marks.inside[:, None].expand_as(read)
    entropy = F.binary_cross_entropy_with_logits(read, known, reduction="none")
    sides = [(entropy * side).sum(2) / side.sum(2).clamp(min=1.0) for side in (known, 1.0 - known)]
    return torch.stack(sides).mean(0)


def overlaps(predicted: Tensor, masks: Tensor) -> Tensor:
    """IoU of hard masks, (B, M).

    Args:
        predicted: (B, M, s, s) bool.
        masks: (B, M or 1, s, s) bool.
    """
    common, either = (predicted & masks).sum((2, 3)), (predicted | masks).sum((2, 3))
    return common / either.clamp(min=1)
