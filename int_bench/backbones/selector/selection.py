"""The two stages put together: from bags to selected boxes and proposals, with or without training.

What each step computes stands in ``psm``, ``pnpg``, ``prm`` and ``bms``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from int_bench.backbones.selector import bms, pnpg, prm, psm, released
from int_bench.backbones.selector.network import SelectionHead
from int_bench.backbones.selector.options import Choices


@dataclass(frozen=True)
class Bags:
    """Objects of a batch of pictures, N of them, with M proposals each.

    Attributes:
        images: the picture of each, (N,), not falling.
        boxes: (N, M, 4) in pixels of the pictures as the trunk sees them.
        valid: (N, M) bool, which proposals have a mask.
        points: (N, 2), x and y.
        labels: (N,).
        limits: width, height, width, height of each object's picture, (N, 4).
    """

    images: Tensor
    boxes: Tensor
    valid: Tensor
    points: Tensor
    labels: Tensor
    limits: Tensor

    @property
    def near(self) -> Tensor:
        """As of ``psm.neighbours``."""
        return psm.neighbours(self.images, self.labels)


@dataclass(frozen=True)
class First:
    """What the PSM makes of bags.

    Attributes:
        classes: O_cls, (N, M, K).
        instances: O_ins, (N, M, K).
        distances: S_dis, (N, M).
        own: each proposal's score for its object's class, as one is selected by, (N, M).
        index: of the selected proposal, (N,).
        boxes: the selected boxes, (N, 4).
    """

    classes: Tensor
    instances: Tensor
    distances: Tensor
    own: Tensor
    index: Tensor
    boxes: Tensor

    @property
    def selected_distances(self) -> Tensor:
        """S_dis of the selected proposals, (N,)."""
        return self.distances.gather(1, self.index[:, None])[:, 0]


@dataclass(frozen=True)
class Second:
    """What the PRM makes of bags with the positive generator's boxes, P in all.

    Attributes:
        bags: the bags' scores s_prm, (N, K).
        boxes: (N, P, 4); the first M are the bag.
        own: each box's score for its object's class, as one is selected by, (N, P).
        selected: the selected boxes, (N, 4), not mined yet.
    """

    bags: Tensor
    boxes: Tensor
    own: Tensor
    selected: Tensor


def first_stage(head: SelectionHead, maps: Sequence[Tensor], bags: Bags, choices: Choices) -> First:
    """The PSM: Eq. (1) to (3)."""
    classes, instances = head(maps, bags.images, bags.boxes, 0)
    distances, kind = _distances(bags, choices), choices.psm.pdg
    guide = distances if kind == "paper" else None
    scores = psm.proposal_scores(classes, instances, bags.valid, guide)
    own = psm.of_label(scores, bags.labels).detach()
    index = own.argmax(dim=1)
    boxes = _rows(bags.boxes, index)
    if kind == "released":
        boxes = released.weighted_best(bags.boxes, own, bags.limits)
    if choices.bms.after == "both":
        boxes = _mined(boxes, bags, own, choices)
    return First(classes, instances, distances, own, index, boxes)


def _distances(bags: Bags, choices: Choices) -> Tensor:
    if choices.psm.pdg == "off":
        return torch.ones_like(bags.boxes[..., 0])
    if choices.psm.pdg == "released":
        return released.root_distances(bags.boxes, bags.points, bags.near)
    options = choices.psm
    return psm.distance_scores(
        bags.boxes, bags.points, bags.near, options.exponent, options.overlap
    )


def first_loss(first: First, bags: Bags, choices: Choices) -> Tensor:
    """L_psm of Eq. (3)."""
    classes, guide = first.classes, None
    if choices.psm.pdg == "released":
        classes = released.guided(classes, first.distances)
    elif choices.psm.pdg == "paper":
        guide = first.distances
    scores = psm.proposal_scores(classes, first.instances, bags.valid, guide)
    return psm.loss(psm.bag_scores(scores), bags.labels)


def certainty(first: First, bags: Bags) -> Tensor:
    """<c, s_psm> of Eq. (5), (N,), without gradient."""
    return first.own.sum(dim=1).clamp(0.0, 1.0)


def second_stage(
    head: SelectionHead, maps: Sequence[Tensor], bags: Bags, first: First, choices: Choices
) -> Second:
    """PPG and the PRM: Eq. (4) and the scores of Eq. (5)."""
    boxes, kind = bags.boxes, choices.pnpg.ppg
    if kind == "paper":
        around = first.selected_distances
        boxes = pnpg.positive_boxes(bags.boxes, first.boxes, around, bags.limits)
    elif kind == "released":
        boxes = released.positive_boxes(bags.boxes, first.boxes, first.distances)
    added = bags.valid.new_ones(len(boxes), boxes.shape[1] - bags.valid.shape[1])
    valid = torch.cat([bags.valid, added], dim=1)
    classes, instances = head(maps, bags.images, boxes, 1)
    scores = prm.proposal_scores(classes, instances, valid)
    by = scores
    if choices.prm.select == "softmax":
        by = psm.proposal_scores(classes, instances, valid)
    own = psm.of_label(by, bags.labels).detach()
    selected = _rows(boxes, own.argmax(dim=1))
    if choices.prm.select == "softmax":
        selected = released.weighted_best(boxes, own, bags.limits)
    return Second(scores.sum(dim=1), boxes, own, selected)


def final_boxes(bags: Bags, first: First, second: Second | None, choices: Choices) -> Tensor:
    """The boxes that the selection ends with, mined where BMS is on, (N, 4)."""
    if second is None:
        return first.boxes
    if choices.bms.after == "off":
        return second.selected
    return _mined(second.selected, bags, second.own[:, : bags.boxes.shape[1]], choices)


def _mined(boxes: Tensor, bags: Bags, scores: Tensor, choices: Choices) -> Tensor:
    options = choices.bms
    stored = options.order == "stored"
    return bms.mine(
        boxes,
        bags.boxes,
        None if stored else scores.masked_fill(~bags.valid, -1.0),
        options.k,
        options.t_min,
        "proposal" if stored else "box",
    )


def _rows(boxes: Tensor, index: Tensor) -> Tensor:
    return boxes[torch.arange(len(boxes), device=boxes.device), index]
