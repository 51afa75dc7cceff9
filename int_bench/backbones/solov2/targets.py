"""Which cells of SOLOv2's grids learn which instance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

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
        return len(set(zip(self.level.tolist(), self.cell.tolist(), strict=True)))


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
    there = masks.flatten(1).any(1)
    learnt: list[tuple[int, int, int]] = []
    labels = []
    rows = zip(architecture.ranges, architecture.grids, strict=True)
    for level, ((low, high), grid) in enumerate(rows):
        label = torch.full((grid, grid), classes, dtype=torch.int64)
        chosen = torch.nonzero((sides >= low) & (sides <= high) & there).flatten()
        bounds = _bounds(masks[chosen], boxes[chosen], grid, size).tolist()
        for instance, (top, bottom, left, right) in zip(chosen.tolist(), bounds, strict=True):
            label[top : bottom + 1, left : right + 1] = categories[instance]
            learnt += [
                (level, row * grid + column, instance)
                for row in range(top, bottom + 1)
                for column in range(left, right + 1)
            ]
        labels.append(label)
    table = torch.tensor(learnt, dtype=torch.int64).reshape(-1, 3)
    return Cells(table[:, 0], table[:, 1], table[:, 2], tuple(labels))


def _bounds(masks: Tensor, boxes: Tensor, grid: int, size: tuple[int, int]) -> Tensor:
    """First and last row, first and last column of each instance's cells, (N, 4) int64.

    The quotients are rounded as in the released code of SOLOv2: in float32, one after the other.
    """
    spans = torch.stack([boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]], 1)
    half = 0.5 * spans * REGION
    extent, cell = boxes.new_tensor(size), 1.0 / grid
    centre = _centres(masks)

    def cells(places: Tensor) -> Tensor:
        return ((places / extent) // cell).to(torch.int64)

    middle = cells(centre)
    first = torch.maximum(cells(centre - half).clamp(min=0), middle - 1)
    last = torch.minimum(cells(centre + half).clamp(max=grid - 1), middle + 1)
    return torch.stack([first[:, 0], last[:, 0], first[:, 1], last[:, 1]], 1)


def _centres(masks: Tensor) -> Tensor:
    """Centres of mass, (N, 2) float32, row and column of pixels from 0."""
    height, width = masks.shape[-2:]
    areas = masks.flatten(1).sum(1).float()
    rows = (masks.sum(2) * torch.arange(height)).sum(1)
    columns = (masks.sum(1) * torch.arange(width)).sum(1)
    return torch.stack([rows / areas, columns / areas], 1)


def shrunk(masks: Tensor) -> Tensor:
    """Masks at the size of the mask features: (N, H, W) bool to (N, H / 4, W / 4) bool.

    Bilinear, so each pixel tells what most of the four in its middle are; a half is object.
    """
    small = interpolate(masks[None].float(), scale_factor=1 / STRIDE, mode="bilinear")[0]
    return small >= 0.5


def box_of(mask: Tensor) -> Sequence[float]:
    """The tight box of a mask that is not empty: x0, y0, x1, y1, half open."""
    rows, columns = torch.nonzero(mask.any(1)).flatten(), torch.nonzero(mask.any(0)).flatten()
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
