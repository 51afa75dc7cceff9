"""Deformable attention without copies of what is sampled.

The library samples levels one by one as images, stacks the samples of all levels and points with
the points innermost, multiplies and sums: a third of a detector's time is spent on moving them.
Here, on a CPU, a sample is four weighted rows of a table, and a sum of rows is one operation; on
CUDA each level is weighed and summed where it was sampled. Of the same formula (Eq. 2 and 3 of
Deformable DETR, bilinear with zeros outside), in another order of summands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, grid_sample

Sizes = tuple[tuple[int, int], ...]
"""Height and width of each level."""


@dataclass(frozen=True)
class Levels:
    """What the sampling of given levels needs, for L levels and P points.

    Attributes:
        sizes: of the levels; S is the sum of their areas.
        widths: (2, 1, L * P) float32, width and height of the level of a point.
        spans: likewise, of what the picture fills of that level, its upper left.
        starts: of the levels in a table in which each has a border of zeros.
        length: of that table.
        first: (heads, L * P) int32, where a head's first value of the level of a point lies among
            the values of all heads.
        down: (L * P,) int32, how far below it that of the position below lies.
        margin: the most of that, and one value to the right.
    """

    sizes: Sizes
    widths: Tensor
    spans: Tensor
    starts: tuple[int, ...]
    length: int
    first: Tensor
    down: Tensor
    margin: int

    @classmethod
    def of(
        cls,
        sizes: Sizes,
        heads: int,
        points: int,
        device: torch.device,
        filled: Sizes | None = None,
    ) -> Levels:
        """For levels of these sizes, each sampled by so many heads at so many points.

        The picture fills ``filled`` of them; None: all.
        """
        starts, length = [], 0
        for height, width in sizes:
            # A column and three rows of zeros: what is sampled up to 1 outside lies between them.
            starts.append(length + width + 2)
            length += (height + 3) * (width + 1) + 2

        def of_points(values: Iterable[int], dtype: torch.dtype) -> Tensor:
            full = (torch.full((points,), value, dtype=dtype, device=device) for value in values)
            return torch.cat(list(full))

        def sides(of: Sizes) -> Tensor:
            heights, widths = zip(*of, strict=True)
            both = [of_points(side, torch.float32) for side in (widths, heights)]
            return torch.stack(both)[:, None]

        full, widths = sides(sizes), [width for _, width in sizes]
        head = torch.arange(heads, dtype=torch.int32, device=device)[:, None]
        return cls(
            sizes,
            full,
            sides(filled) if filled else full,
            tuple(starts),
            length + max(widths) + 2,  # room behind the last corner of a sample
            heads * of_points(starts, torch.int32) + head,
            of_points((heads * (width + 1) for width in widths), torch.int32),
            heads * (max(widths) + 2),
        )


def attended(value: Tensor, levels: Levels, places: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums of samples, (B, Q, heads * D).

    Args:
        value: (B, S, heads, D), S over all levels.
        levels: their sizes.
        places: (B, Q, 2, heads, L * P) float32, x and y of the samples in pixels of their level, 0
            in the middle of the first one; the points of a level lie side by side.
        weights: (B, Q, heads, L * P).
    """
    return (_of_images if value.is_cuda else _of_rows)(value, levels, places, weights)


def _of_rows(value: Tensor, levels: Levels, places: Tensor, weights: Tensor) -> Tensor:
    batch, _, heads, width = value.shape
    table = value.new_zeros((batch, levels.length, heads, width), dtype=torch.float32)
    start = 0
    for (high, wide), first in zip(levels.sizes, levels.starts, strict=True):
        place = table[:, first : first + high * (wide + 1)].unflatten(1, (high, wide + 1))
        place[:, :, :wide] = value[:, start : start + high * wide].unflatten(1, (high, wide))
        start += high * wide
    # Up to 1 outside of a level there is a share of its border; from there on nothing but zeros.
    places = torch.minimum(places.clamp(min=-1), levels.widths)
    corners = places.floor()
    (right, below), (x, y) = (part.unbind(2) for part in (places - corners, corners.int()))
    starts = torch.arange(batch, dtype=torch.int32)[:, None, None, None]
    upper = torch.addcmul(starts * (levels.length * heads) + levels.first, y, levels.down)
    # A place that is no number makes its answer none by its weight; its row only has to exist.
    upper.add_(x, alpha=heads).clamp_(0, table[..., 0].numel() - 1 - levels.margin)
    lower = upper + levels.down
    weights = weights.float()
    down = weights * below
    shares = [weights - down, down]
    shares = [part for share in shares for part in (share - share * right, share * right)]
    rows = torch.stack([upper, upper + heads, lower, lower + heads])
    sums = embedding_bag(
        rows.flatten(0, 3),
        table.view(-1, width),
        mode="sum",
        per_sample_weights=torch.stack(shares).flatten(0, 3),
    )
    return sums.view(4, batch, -1, heads * width).sum(0).to(value.dtype)


def _of_images(value: Tensor, levels: Levels, places: Tensor, weights: Tensor) -> Tensor:
    rows, _, heads, width = value.shape
    images = value.permute(0, 2, 3, 1).flatten(0, 1).split([h * w for h, w in levels.sizes], dim=-1)
    count = len(levels.sizes)
    # From -1 to 1, queries innermost as neighbouring threads read them: (L, B, heads, P, Q, 2).
    there = places.unflatten(-1, (count, -1)).permute(4, 0, 3, 5, 1, 2)
    inverse = levels.widths.reciprocal().unflatten(-1, (count, -1)).permute(2, 1, 3, 0)
    inverse = inverse[:, :, None, :, None]
    grids = torch.empty(there.shape, dtype=value.dtype, device=value.device)
    torch.addcmul(inverse - 1, there, inverse, value=2, out=grids)
    grids = grids.flatten(1, 2)
    weights = weights.unflatten(-1, (count, -1)).permute(3, 0, 2, 4, 1)
    weights = weights.flatten(1, 2)[:, :, None].contiguous()  # (L, B * heads, 1, P, Q)
    total: Any = 0
    for image, size, grid, weight in zip(images, levels.sizes, grids, weights, strict=True):
        sampled = grid_sample(image.unflatten(-1, size), grid, align_corners=False)
        total = total + sampled.mul_(weight).sum(2)  # (B * heads, D, P, Q) over P
    answer: Tensor = total.view(rows, heads * width, places.shape[1]).transpose(1, 2)
    return answer.contiguous()
