"""Proposal selection (PSM) under point distance guidance (PDG): SAPNet, Eq. (1) to (3).

Source: Wei et al., "Semantic-aware SAM for Point-Prompted Instance Segmentation", CVPR 2024. An
object is a bag of M proposals that carries a class. Which of them shows the class best is learned
from bags alone: multiple-instance learning.

N objects, M proposals each, K classes (K + 1 where the released code has one for the background).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, one_hot

from int_bench.backbones.selector.boxes import iou

Overlap = Literal["point", "box"]
"""When a proposal counts as one that reaches into another object of its class."""


def proposal_scores(
    classes: Tensor, instances: Tensor, valid: Tensor, distances: Tensor | None = None
) -> Tensor:
    """SAPNet's Eq. (1) and (3): S = S_cls . S_ins . S_dis, (N, M, K).

    Args:
        classes: O_cls, (N, M, K) logits; softmax over the classes.
        instances: O_ins, (N, M, K) logits; softmax over the proposals.
        valid: (N, M) bool; a proposal without a mask takes no part.
        distances: S_dis, (N, M) in 0..1; None is 1.
    """
    scores = classes.softmax(dim=-1) * instance_weights(instances, valid)
    return scores if distances is None else scores * distances[..., None]


def instance_weights(instances: Tensor, valid: Tensor) -> Tensor:
    """S_ins of Eq. (1), (N, M, K): what each proposal counts in its bag; sums to 1 over M."""
    weights = instances.softmax(dim=1) * valid[..., None]
    return weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-12)


def neighbours(images: Tensor, labels: Tensor) -> Tensor:
    """Which objects are others of the same class in the same picture, (N, N) bool.

    Args:
        images: (N,) the picture of each object.
        labels: (N,) its class.
    """
    same = (images[:, None] == images) & (labels[:, None] == labels)
    return same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)


def reaches(boxes: Tensor, points: Tensor, near: Tensor, overlap: Overlap = "point") -> Tensor:
    """SAPNet's Eq. (2), t, (N, M, N) bool: whether a proposal reaches into another object.

    Reading: "point" takes a proposal as overlapping where the other object's point lies strictly
    inside its box, as the introduction and the released code do; "box", as the section's text
    says, where it meets any proposal of the other object, which in a crowd nearly all do.

    Args:
        boxes: (N, M, 4).
        points: (N, 2), x and y.
        near: as of :func:`neighbours`.
        overlap: the reading.
    """
    if overlap == "box":
        return (iou(boxes[:, :, None, None], boxes) > 0).any(dim=-1) & near[:, None]
    low = (boxes[:, :, None, :2] < points).all(dim=-1)
    return low & (points < boxes[:, :, None, 2:]).all(dim=-1) & near[:, None]


def distance_scores(
    boxes: Tensor,
    points: Tensor,
    near: Tensor,
    exponent: float = 0.015,
    overlap: Overlap = "point",
) -> Tensor:
    """SAPNet's Eq. (2): S_dis = sigmoid(1 / W)^d, W the distances to who is reached into, (N, M).

    1 where nobody is. Reading: a sigmoid, as the text says and the released code does; the formula
    in print, (1 / e^(-1/W))^d, would reward overlaps. Distances are in pixels of the picture that
    the boxes are of. With the published d = .015 the score lies in .9897..1.

    Args:
        boxes: (N, M, 4).
        points: (N, 2), x and y.
        near: as of :func:`neighbours`.
        overlap: as of :func:`reaches`.
        exponent: d.
    """
    apart = torch.linalg.vector_norm(points[:, None] - points, dim=-1)
    total = (apart[:, None] * reaches(boxes, points, near, overlap)).sum(dim=-1)
    scores = torch.sigmoid(1.0 / total.clamp(min=1e-6)) ** exponent
    return torch.where(total > 0, scores, 1.0)


def bag_scores(scores: Tensor) -> Tensor:
    """SAPNet's Eq. (3), s, (N, K) in 0..1: the bag's score for each class."""
    return scores.sum(dim=1).clamp(0.0, 1.0)


def loss(bags: Tensor, labels: Tensor) -> Tensor:
    """SAPNet's Eq. (3): cross-entropy of bags' scores, summed over classes, mean over objects."""
    target = one_hot(labels, bags.shape[-1]).to(bags.dtype)
    return binary_cross_entropy(bags, target, reduction="sum") / max(len(labels), 1)


def of_label(scores: Tensor, labels: Tensor) -> Tensor:
    """The scores of each object's own class, (N, M) of (N, M, K)."""
    return scores.gather(2, labels[:, None, None].expand(-1, scores.shape[1], 1))[..., 0]
