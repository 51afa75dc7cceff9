"""Proposal refinement (PRM): SAPNet, Eq. (5) to (8).

A second multiple-instance learner over the bag with the positive generator's boxes. It is taught by
the classes, weighted by how sure the first one was, and by boxes that show no object.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from int_bench.backbones.selector.psm import instance_weights

Normalisation = Literal["count", "objects"]
"""What the sum over negatives is divided by."""
EPS = 1e-6


def proposal_scores(classes: Tensor, instances: Tensor, valid: Tensor) -> Tensor:
    """sigmoid(O_cls) . softmax over proposals of O_ins, (N, M, K); no PDG in this stage."""
    return classes.sigmoid() * instance_weights(instances, valid)


def focal(scores: Tensor, target: Tensor) -> Tensor:
    """FL of Eq. (5), (...): the squared distance times cross-entropy, summed over the classes.

    Reading: with the public code's eps of 1e-6 in the logarithms.

    Args:
        scores: (..., K) in 0..1.
        target: (..., K) of 0 and 1.
    """
    hit, miss = (scores + EPS).log(), (1.0 - scores + EPS).log()
    return -((scores - target) ** 2 * (target * hit + (1.0 - target) * miss)).sum(dim=-1)


def positive_loss(bags: Tensor, labels: Tensor, certainty: Tensor) -> Tensor:
    """SAPNet's Eq. (5): the mean over objects of <c, s_psm> FL(s_prm, c).

    Args:
        bags: s_prm, (N, K) in 0..1.
        labels: (N,).
        certainty: <c, s_psm>, (N,), without gradient.
    """
    target = one_hot(labels, bags.shape[-1]).to(bags.dtype)
    return (certainty * focal(bags, target)).sum() / max(len(labels), 1)


def negative_loss(
    classes: Tensor, counted: Tensor, certainty: Tensor, norm: Normalisation = "count"
) -> Tensor:
    """SAPNet's Eq. (6) and (7): no class is to be seen in the negatives.

    Reading: Eq. (7) divides by the number of negatives ("count"); the released code by that of
    objects, which with some 2,000 negatives for 30 objects weighs them 60 times as much.

    Args:
        classes: O_cls of the negatives, (U, K) logits; the classification branch only.
        counted: (U,) bool, which boxes are negatives.
        certainty: <c, s_psm>, (N,), without gradient; its mean is beta.
        norm: the reading.
    """
    scores = classes.sigmoid()
    total = (focal(scores, torch.zeros_like(scores)) * counted).sum()
    number = counted.sum() if norm == "count" else torch.tensor(len(certainty))
    return certainty.mean() * total / number.clamp(min=1).to(total)


def loss(positive: Tensor, negative: Tensor, alpha: float = 0.25) -> Tensor:
    """SAPNet's Eq. (8): a L_pos + (1 - a) L_neg."""
    return alpha * positive + (1.0 - alpha) * negative
