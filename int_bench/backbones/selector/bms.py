"""Box mining (BMS): SAPNet, Algorithm 2. A selected box that is too small grows into larger ones.

Also the way back from a box to a mask: the proposal whose box overlaps it most.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from int_bench.backbones.selector.boxes import area, iou

Compared = Literal["box", "proposal"]
SLACK = 2.0
"""Pixels that an enclosing proposal may lack on each side."""


def mine(
    boxes: Tensor,
    bags: Tensor,
    scores: Tensor | None,
    k: int = 3,
    t_min: tuple[float, float] = (0.6, 0.3),
    compared: Compared = "box",
) -> Tensor:
    """Algorithm 2, (N, 4): each box merged with the larger of its k best proposals.

    With u the IoU of box and proposal, if it is above that of the last merge: above T_min1 the box
    becomes (proposal + u box) / (1 + u); else above T_min2, where the proposal encloses the box,
    (u proposal + box) / (1 + u).

    Reading: the "positive bag" is the original proposals, and the best are those of the highest
    score in the refinement. The released code takes the first that are stored, and once it has
    merged compares areas with that of the proposal that it merged with, not of the merged box.

    Args:
        boxes: the selected ones, (N, 4).
        bags: the original proposals, (N, M, 4).
        scores: theirs, (N, M), best first; None takes them as they are stored.
        k: how many are looked at.
        t_min: T_min1 and T_min2.
        compared: what must be smaller than the next proposal.
    """
    k = min(k, bags.shape[1])
    if scores is not None:
        order = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
        bags = bags.gather(1, order[..., None].expand(-1, -1, 4))
    merged, size = boxes, area(boxes)
    last = torch.zeros_like(size)
    for proposal in bags[:, :k].unbind(dim=1):
        u = iou(merged, proposal)
        better = (area(proposal) > size) & (u > last)
        close = better & (u > t_min[0])
        around = better & ~close & (u > t_min[1]) & _encloses(proposal, merged)
        share = u[:, None]
        nearer = torch.where(close[:, None], proposal + share * merged, share * proposal + merged)
        taken = close | around
        merged = torch.where(taken[:, None], nearer / (1.0 + share), merged)
        grown = area(proposal) if compared == "proposal" else area(merged)
        size, last = torch.where(taken, grown, size), torch.where(taken, u, last)
    return merged


def _encloses(outer: Tensor, inner: Tensor) -> Tensor:
    low = outer[:, :2] - SLACK < inner[:, :2]
    return (low & (outer[:, 2:] + SLACK > inner[:, 2:])).all(dim=1)


def nearest(boxes: Tensor, bags: Tensor, valid: Tensor) -> Tensor:
    """The proposal whose box overlaps each box most, (N,); one with a mask where there is any.

    Args:
        boxes: (N, 4).
        bags: (N, M, 4).
        valid: (N, M) bool.
    """
    overlap = iou(boxes[:, None], bags)
    return torch.where(valid, overlap, overlap - 2.0).argmax(dim=1)
