"""What the authors' public code computes where it departs from the paper, for comparison.

The departures, each named in :data:`DEPARTURES`, are those of the repository zhaoyangwei123/SAPNet
at ed0d086 (2024-05). Only what cannot be said by an option of the other modules stands here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from int_bench.backbones.selector.boxes import inside, rescaled
from int_bench.backbones.selector.pnpg import expansion_factors
from int_bench.backbones.selector.psm import reaches

DEPARTURES: Mapping[str, str] = MappingProxyType(
    {
        "true_centres": "PDG's points are the centres of the true boxes, not the annotated points",
        "root_distance": "PDG sums square roots of distances",
        "logits": "PDG multiplies the class logits by at least .989, in the loss only",
        "background_class": "the PSM has a class for the background that no row ever carries",
        "mined_twice": "BMS runs after the PSM as well, and moves the box that PPG looks for",
        "last_expanded": "PPG expands the last stored box where it does not find the selected one",
        "stored_order": "BMS takes the first three stored boxes, not the best three",
        "proposal_area": "BMS compares areas with the proposal of the last merge",
        "softmax_selection": "the PRM selects by a softmax over classes, its loss has a sigmoid",
        "negatives_by_objects": "the loss of negatives is divided by the number of objects",
        "centre_half": "the one part of an object is its centre, so that T_neg2 never decides",
        "unclamped": "PPG's boxes are cut at the left and the top only",
    }
)
"""Name of each departure, and what it is."""
POWER = 1 / 64


def root_distances(boxes: Tensor, centres: Tensor, near: Tensor) -> Tensor:
    """The public code's S_dis, sigmoid(1 / W) with W the sum of square roots of distances, (N, M).

    Args:
        boxes: (N, M, 4).
        centres: of the true boxes, (N, 2).
        near: as of ``psm.neighbours``.
    """
    apart = torch.linalg.vector_norm(centres[:, None] - centres, dim=-1).sqrt()
    total = (apart[:, None] * reaches(boxes, centres, near)).sum(dim=-1)
    return torch.where(total > 0, torch.sigmoid(1.0 / total.clamp(min=1e-6)), 1.0)


def guided(classes: Tensor, distances: Tensor) -> Tensor:
    """The class logits (N, M, K) under PDG, of which the loss alone is computed."""
    return classes * (distances**POWER)[..., None]


def weighted_best(bags: Tensor, scores: Tensor, limits: Tensor) -> Tensor:
    """The selected box, (N, 4): that of the highest score s, times s / (s + 1e-8).

    Args:
        bags: (N, M, 4).
        scores: of the object's class, (N, M).
        limits: width, height, width, height of each object's picture, to which it is cut, (N, 4).
    """
    best, index = scores.max(dim=1)
    selected = bags.gather(1, index[:, None, None].expand(-1, 1, 4))[:, 0]
    return inside(selected * (best / (best + 1e-8))[:, None], limits)


def positive_boxes(bags: Tensor, selected: Tensor, distances: Tensor) -> Tensor:
    """The bag and 20 boxes around the stored box that lies within 1 pixel of the selected one.

    Args:
        bags: (N, M, 4).
        selected: (N, 4), mined already; where no stored box is so near, the last one is expanded.
        distances: (N, M), of :func:`root_distances`.

    Returns:
        (N, M + 20, 4), not cut to the picture on the right and below.
    """
    near = ((bags - selected[:, None]).abs() < 1.0).all(dim=-1)
    index = torch.where(near.any(dim=1), near.int().argmax(dim=1), bags.shape[1] - 1)
    rows = torch.arange(len(bags), device=bags.device)
    expanded = rescaled(bags[rows, index], expansion_factors(distances[rows, index]))
    return torch.cat([bags, expanded], dim=1).clamp(min=0)
