"""What the two stages learn from a batch of bags: L_psm and L_prm, as Eq. (9) adds them up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from int_bench.backbones.selector import pnpg, prm
from int_bench.backbones.selector.network import SelectionHead
from int_bench.backbones.selector.options import Choices, Pnpg
from int_bench.backbones.selector.selection import (
    Bags,
    First,
    Second,
    certainty,
    first_loss,
    first_stage,
    second_stage,
)

LAMBDA = 0.25
"""Weight of L_psm in Eq. (9)."""


@dataclass(frozen=True)
class Learnt:
    """A batch's loss, and what the stages made of it.

    Attributes:
        total: lambda L_psm + L_prm, a scalar; without the second stage, the first term.
        parts: by name ``psm``, and with the second stage ``positive`` and ``negative``.
        first: of the PSM.
        second: of the PRM; None where it does not learn yet.
    """

    total: Tensor
    parts: Mapping[str, Tensor]
    first: First
    second: Second | None


def selection_loss(
    head: SelectionHead,
    maps: Sequence[Tensor],
    bags: Bags,
    choices: Choices,
    generator: np.random.Generator,
    refined: bool,
) -> Learnt:
    """SAPNet's Eq. (9) without the masks.

    Args:
        head: of the selection.
        maps: of the pictures, finest first.
        bags: of their objects.
        choices: what the method does.
        generator: draws the boxes of Algorithm 1.
        refined: whether the second stage learns, too.
    """
    first = first_stage(head, maps, bags, choices)
    parts = {"psm": first_loss(first, bags, choices)}
    total = LAMBDA * parts["psm"]
    if not refined:
        return Learnt(total, parts, first, None)
    sure = certainty(first, bags)
    second = second_stage(head, maps, bags, first, choices)
    positive = prm.positive_loss(second.bags, bags.labels, sure)
    negative = torch.zeros_like(positive)
    if choices.pnpg.npg != "none":
        places, boxes = _negatives(bags, first, choices.pnpg, generator)
        classes, _ = head(maps, places, boxes[:, None], 1)
        counted = torch.ones_like(places, dtype=torch.bool)
        negative = prm.negative_loss(classes[:, 0], counted, sure, choices.prm.neg_norm)
    parts |= {"positive": positive, "negative": negative}
    return Learnt(total + prm.loss(positive, negative), parts, first, second)


def _negatives(
    bags: Bags, first: First, options: Pnpg, generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """The images (U,) and boxes (U, 4) of Algorithm 1; only those that count."""
    places, boxes = [], []
    low, high = options.t_neg
    for image in bags.images.unique():
        rows = bags.images == image
        width, height = (int(side) for side in bags.limits[rows][0, :2])
        drawn = pnpg.background_boxes(generator, options.background, (height, width))
        drawn = drawn.to(bags.boxes)
        proposals = bags.boxes[rows][bags.valid[rows]]
        drawn = drawn[pnpg.is_background(drawn, proposals, low)]
        boxes.append(drawn)
        places.append(image.expand(len(drawn)))
    smallest = (options.smallest_side * bags.limits[:, :2].amin(dim=1)) ** 2
    selected = bags.boxes[torch.arange(len(bags.labels)), first.index]
    parts, counted = pnpg.part_boxes(generator, selected, options.parts, high, smallest)
    boxes.append(parts[counted])
    places.append(bags.images[:, None].expand_as(counted)[counted])
    return torch.cat(places), torch.cat(boxes)
