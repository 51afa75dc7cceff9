"""Which cells of SOLOv2's grids learn which instance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from int_bench.backbones.solov2.architecture import Architecture

REGION = 0.2
"""Of the box, around the centre of mass, in which cells are positive."""
STRIDE = 4
"""Of the mask features."""


@dataclass(frozen=True)
class Cells:
    """The cells of one picture that learn an instance; P of them over all levels.

    A cell that lies in the region of two instances learns both masks and the category of the later.

    Attributes:
        level: (P,) int64.
        cell: (P,) int64, row * S + column.
        instance: (P,) int64.
        categories: by level (S, S) int64; the number of classes is the background.
    """

    level: Tensor
    cell: Tensor
    instance: Tensor
    categories: tuple[Tensor, ...]

    @property
    def positive(self) -> int:
        """How many different cells are positive."""
        return len(self.of(slice(None)))

    def of(self, rows: Tensor | slice) -> set[tuple[int, int]]:
        """The different cells, level and place, that some rows name."""
        level, cell = self.level[rows].tolist(), self.cell[rows].tolist()
        return set(zip(level, cell, strict=True))


def assign(
    masks: Tensor,
    boxes: Tensor,
    categories: Tensor,
    architecture: Architecture,
    classes: int,
    size: tuple[int, int],
) -> Cells:
    """The cells of one picture's instances.

    An instance belongs to each level whose range holds the square root of its box's area; there to
    the cells of a region around its centre of mass, of ``REGION`` of its box's sides and at most 3
    x 3 cells. Instances with an empty mask are left out.

    Args:
        masks: (N, H, W) bool, in pixels of the padded picture or of its upper left part.
        boxes: (N, 4) float32, x0, y0, x1, y1 in pixels.
        categories: (N,) int64.
        architecture: grids and ranges.
        classes: number of categories.
        size: (height, width) of the padded picture in pixels.
    """
    sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
    centres, areas = _centres(masks)
    ranges = boxes.new_tensor(architecture.ranges)[:, :, None]
    chosen = (sides >= ranges[:, 0]) & (sides <= ranges[:, 1]) & (areas > 0)
    bounds = _bounds(centres, boxes, architecture.grids, size).tolist()
    learnt: list[tuple[int, int, int]] = []
    labels = [torch.full((grid, grid), classes) for grid in architecture.grids]
    for level, instance in chosen.nonzero().tolist():
        top, bottom, left, right = bounds[level][instance]
        labels[level][top : bottom + 1, left : right + 1] = categories[instance]
        learnt += [
            (level, row * architecture.grids[level] + column, instance)
            for row in range(top, bottom + 1)
            for column in range(left, right + 1)
        ]
    table = torch.tensor(learnt, dtype=torch.int64).reshape(-1, 3)
    return Cells(table[:, 0], table[:, 1], table[:, 2], tuple(labels))


def _bounds(centres: Tensor, boxes: Tensor, grids: Sequence[int], size: tuple[int, int]) -> Tensor:
    """First and last row, first and last column of each instance's cells, (L, N, 4) int64.

    The quotients are rounded as in the released code of SOLOv2: in float32, one after the other.
    """
    spans = torch.stack([boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]], 1)
    half = 0.5 * spans * REGION
    extent = boxes.new_tensor(size)
    cell = boxes.new_tensor([1.0 / grid for grid in grids])[:, None, None]
    last = torch.tensor(grids)[:, None, None] - 1

    def cells(places: Tensor) -> Tensor:
        return ((places / extent) // cell).to(torch.int64)

    middle = cells(centres)
    first = torch.maximum(cells(centres - half).clamp(min=0), middle - 1)
    final = torch.minimum(torch.minimum(cells(centres + half), last), middle + 1)
    return torch.stack([first[..., 0], final[..., 0], first[..., 1], final[..., 1]], -1)


def _centres(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Centres of mass, (N, 2) float32, row and column of pixels from 0, and areas, (N,) float32.

    An empty mask has no centre: NaN.
    """
    rows, columns = _counts(masks)
    areas = rows.long().sum(1).float()
    moments = [
        (counts.long() * torch.arange(counts.shape[1])).sum(1) / areas for counts in (rows, columns)
    ]
    return torch.stack(moments, 1), areas


def shrunk(masks: Tensor) -> Tensor:
    """Masks at the size of the mask features: (N, H, W) bool to (N, H / 4, W / 4) bool.

    Bilinear, so each pixel tells what most of the four in its middle are; a half is object.
    """
    height, width = (side // STRIDE * STRIDE for side in masks.shape[-2:])
    pixels = masks[:, :height, :width].view(torch.uint8)
    middle = STRIDE // 2
    rows = pixels[:, middle - 1 :: STRIDE] + pixels[:, middle::STRIDE]
    return rows[..., middle - 1 :: STRIDE] + rows[..., middle::STRIDE] >= 2


def _counts(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels of each row (N, H) and of each column (N, W), whole numbers in float32.

    By products, which are exact here and many times faster than sums of bool.
    """
    height, width = masks.shape[-2:]
    pixels = masks.float()
    return pixels @ torch.ones(width), torch.ones(height) @ pixels


def boxes_of(masks: Tensor) -> Tensor:
    """Tight boxes, (N, H, W) bool to (N, 4) float32: x0, y0, x1, y1, half open; 0 of an empty mask.

    >>> boxes_of(torch.tensor([[[False, False], [True, True]], [[False] * 2] * 2])).tolist()
    [[0.0, 1.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0]]
    """
    ends = []
    for counts in reversed(_counts(masks)):
        there = (counts > 0).to(torch.uint8)
        last = there.shape[1] - there.flip(1).argmax(1)
        ends.append((there.argmax(1), torch.where(there.amax(1) > 0, last, 0)))
    (left, right), (top, bottom) = ends
    return torch.stack([left, top, right, bottom], 1).float()
