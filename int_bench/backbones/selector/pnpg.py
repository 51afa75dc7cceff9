"""Positive and negative proposals (PNPG): SAPNet, Eq. (4) and Algorithm 1.

The positive generator (PPG) adds boxes around the selected one, so that a better fit can be chosen
than SAM proposed. The negative generator (NPG) adds what is no object: background, and parts.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from int_bench.backbones.selector.boxes import area, inside, iou, rescaled

Parts = Literal["random3", "centre_half", "off"]
"""Which parts of an object are negatives."""
ENLARGED = tuple(0.01 * n for n in range(1, 16))
"""By which every selected box is enlarged: 1 to 15 %."""
FREE = tuple(0.005 * n for n in range(16, 21))
"""By which a box that reaches into no neighbour is enlarged as well: 8 to 10 %."""
CROWDED = tuple(0.005 * n for n in range(1, 6))
"""By which one that does is made smaller, over S_dis: .5 to 2.5 %."""
PARTS = 3


def positive_boxes(bags: Tensor, selected: Tensor, distances: Tensor, limits: Tensor) -> Tensor:
    """SAPNet's Eq. (4): the bag and 20 boxes around the selected one, (N, M + 20, 4).

    Reading: the paper gives w+ = (1 +- v / S_dis) w without its values of v; these are those of the
    released code, and the boxes are cut to the picture on all sides.

    Args:
        bags: (N, M, 4).
        selected: (N, 4).
        distances: S_dis of the selected box, (N,); 1 where it reaches into nobody.
        limits: width, height, width, height of each object's picture, (N, 4).
    """
    factors = expansion_factors(distances)
    return torch.cat([bags, inside(rescaled(selected, factors), limits[:, None])], dim=1)


def expansion_factors(distances: Tensor) -> Tensor:
    """Of Eq. (4): factors on width and height, (N, 20), by S_dis, (N,)."""
    enlarged, free, crowded = (distances.new_tensor(v) for v in (ENLARGED, FREE, CROWDED))
    scores = distances[:, None]
    last = torch.where(scores < 1.0, 1.0 - crowded / scores, 1.0 + free)
    return torch.cat([(1.0 + enlarged).expand(len(distances), -1), last], dim=1)


def background_boxes(generator: np.random.Generator, count: int, size: tuple[int, int]) -> Tensor:
    """Algorithm 1, first half: random boxes in and around a picture, (count, 4).

    x0 is uniform in -.2 w .. w, x1 in x0 .. 1.2 w, and y likewise.
    """
    height, width = size
    sides = np.array([width, height], dtype=np.float64)
    low = (-0.2 + 1.2 * generator.random((count, 2))) * sides
    high = low + generator.random((count, 2)) * (1.2 * sides - low)
    return torch.from_numpy(np.concatenate([low, high], axis=1).astype(np.float32))


def is_background(boxes: Tensor, bags: Tensor, most: float = 0.3) -> Tensor:
    """Which boxes overlap no proposal of the picture by ``most`` (T_neg1) or more, (B,) bool.

    Args:
        boxes: (B, 4).
        bags: (P, 4), all proposals of all objects of the picture.
        most: T_neg1.
    """
    return (iou(boxes[:, None], bags) < most).all(dim=1)


def part_boxes(
    generator: np.random.Generator,
    selected: Tensor,
    kind: Parts = "random3",
    most: float = 0.5,
    smallest: Tensor | float = 64.0**2,
) -> tuple[Tensor, Tensor]:
    """Algorithm 1, second half: smaller boxes inside the selected ones.

    Reading: "the sampling of smaller proposals from inside" is three boxes of half to .7 of the
    selected box's sides anywhere in it ("random3"). The released code has one, of half the sides at
    its centre, whose IoU is always 1/4, so that T_neg2 never decides ("centre_half").

    Args:
        generator: draws sizes and places.
        selected: (N, 4).
        kind: the reading.
        most: T_neg2; a part that overlaps its object as much is none.
        smallest: boxes of at most so many square pixels have no parts; for all, or (N,).

    Returns:
        Boxes (N, P, 4), and which of them count, (N, P) bool.
    """
    number = {"random3": PARTS, "centre_half": 1, "off": 0}[kind]
    sides = selected[:, None, 2:] - selected[:, None, :2]
    share = torch.full((len(selected), number, 2), 0.5)
    place = torch.full((len(selected), number, 2), 0.5)
    if kind == "random3":
        share = torch.from_numpy(generator.uniform(0.5, 0.7, share.shape).astype(np.float32))
        place = torch.from_numpy(generator.random(place.shape, dtype=np.float32))
    share, place = share.to(selected), place.to(selected)
    low = selected[:, None, :2] + (1.0 - share) * place * sides
    boxes = torch.cat([low, low + share * sides], dim=-1)
    large = (area(selected) > smallest)[:, None]
    return boxes, (iou(boxes, selected[:, None]) < most) & large
