"""What SOLOv2 learns from: dice of the masks of positive cells, focal loss of all categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from int_bench.backbones.solov2.architecture import Architecture
from int_bench.backbones.solov2.head import Outputs
from int_bench.backbones.solov2.targets import Cells, assign, shrunk

DICE_WEIGHT = 3.0
_ALPHA, _GAMMA = 0.25, 2.0
_EPS = 1e-3


@dataclass(frozen=True)
class Labels:
    """The instances of one picture, N of them.

    Attributes:
        masks: (N, H, W) bool, in pixels of the picture as the network sees it.
        boxes: (N, 4) float32, x0, y0, x1, y1, from which level and region follow.
        categories: (N,) int64.
    """

    masks: Tensor
    boxes: Tensor
    categories: Tensor


def dice(probabilities: Tensor, targets: Tensor) -> Tensor:
    """1 - 2 sum(p t) / (sum p^2 + sum t^2), (P, h, w) twice to (P,)."""
    p, t = probabilities.flatten(1), targets.flatten(1).to(probabilities.dtype)
    overlap = (p * t).sum(1)
    return 1 - 2 * overlap / (((p * p).sum(1) + _EPS) + ((t * t).sum(1) + _EPS))


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    """The focal loss of sigmoids (Lin et al., arXiv 1708.02002), any shape, elementwise.

    Args:
        logits: of each category.
        targets: 0 or 1, of the same shape.
    """
    p = logits.sigmoid()
    missed = (1 - p) * targets + p * (1 - targets)
    weight = (_ALPHA * targets + (1 - _ALPHA) * (1 - targets)) * missed**_GAMMA
    return binary_cross_entropy_with_logits(logits, targets, reduction="none") * weight


def assigned(
    labels: Sequence[Labels], architecture: Architecture, classes: int, size: tuple[int, int]
) -> list[Cells]:
    """The cells of each picture of a batch; see :func:`targets.assign`."""
    return [
        assign(part.masks, part.boxes, part.categories, architecture, classes, size)
        for part in labels
    ]


def mask_loss(outputs: Outputs, cells: Sequence[Cells], masks: Sequence[Tensor]) -> Tensor:
    """Dice of the masks of positive cells: their sum over the number of positive cells, weighted.

    Args:
        outputs: of a batch.
        cells: by picture.
        masks: by picture (N, H, W) bool.

    Returns:
        A scalar; 0 where no cell is positive.
    """
    positive = sum(picture.positive for picture in cells)
    return DICE_WEIGHT * dice_of_cells(outputs, cells, masks).sum() / max(positive, 1)


def dice_of_cells(outputs: Outputs, cells: Sequence[Cells], masks: Sequence[Tensor]) -> Tensor:
    """Dice of the mask of each positive cell, all pictures' one after the other, (P,).

    Only these masks are made. Arguments are those of :func:`mask_loss`.
    """
    parts, height, width = [], *outputs.features.shape[-2:]
    starts = torch.tensor([0, *(level.shape[-1] ** 2 for level in outputs.kernels)]).cumsum(0)
    kernels = torch.cat([level.flatten(2) for level in outputs.kernels], 2)
    for index, (picture, wanted) in enumerate(zip(cells, masks, strict=True)):
        if len(picture.level) == 0:
            continue
        columns = (starts[picture.level] + picture.cell).to(kernels.device)
        rows = kernels[index].index_select(1, columns).T
        logits = (rows @ outputs.features[index].flatten(1)).unflatten(1, (height, width))
        targets = logits.new_zeros(logits.shape)
        small = shrunk(wanted)[picture.instance].to(targets)
        targets[:, : small.shape[1], : small.shape[2]] = small
        parts.append(dice(logits.sigmoid(), targets))
    return torch.cat(parts) if parts else outputs.features.flatten()[:0]


def category_loss(outputs: Outputs, cells: Sequence[Cells]) -> Tensor:
    """Focal loss of all cells and categories over the number of positive cells and one, scalar."""
    total = outputs.features.new_zeros(())
    for level, logits in enumerate(outputs.categories):
        wanted = torch.stack([picture.categories[level] for picture in cells]).to(logits.device)
        classes = logits.shape[1]
        hot = one_hot(wanted, classes + 1)[..., :classes].permute(0, 3, 1, 2)
        total = total + focal(logits, hot.to(logits.dtype)).sum()
    return total / (sum(picture.positive for picture in cells) + 1)


def class_entropy(outputs: Outputs, cells: Sequence[Cells]) -> Tensor:
    """Cross-entropy of the categories at positive cells, their mean, scalar; 0 without such cells.

    No part of SOLOv2: it tells classes apart long before the focal loss, which first has to learn
    where objects are, does so in a small network.
    """
    logits, wanted = [], []
    for level, grid in enumerate(outputs.categories):
        classes = grid.shape[1]
        kinds = torch.stack([picture.categories[level] for picture in cells]).to(grid.device)
        positive = kinds < classes
        logits.append(grid.permute(0, 2, 3, 1)[positive])
        wanted.append(kinds[positive])
    if not any(map(len, wanted)):
        return outputs.features.sum() * 0.0
    return cross_entropy(torch.cat(logits), torch.cat(wanted))
