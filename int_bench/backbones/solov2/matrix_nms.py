"""Matrix NMS: scores fall by how much a mask overlaps better ones of its category.

Source: SOLOv2 (arXiv 2003.10152), Eq. 3 to 5, gaussian decay.
"""

from __future__ import annotations

import torch
from torch import Tensor


def matrix_nms(
    masks: Tensor, categories: Tensor, scores: Tensor, areas: Tensor, sigma: float = 2.0
) -> Tensor:
    """The decayed scores, (N,), of masks that are sorted by score, best first.

    Mask j becomes s_j * min over better i of exp(-sigma (IoU_ij^2 - m_i^2)), m_i being i's own
    largest overlap with a better one; overlaps count within a category.

    Args:
        masks: (N, h, w) bool.
        categories: (N,) int64.
        scores: (N,) float32, falling.
        areas: (N,) float32, pixels of each mask, above 0.
        sigma: of the decay.
    """
    flat = masks.flatten(1).to(scores.dtype)
    shared = flat @ flat.T
    overlap = shared / (areas[None] + areas[:, None] - shared)
    alike = categories[None] == categories[:, None]
    overlap = (overlap * alike).triu(1)
    largest = overlap.max(0).values if len(overlap) else overlap.new_zeros(0)
    decay = torch.exp(-sigma * overlap**2) / torch.exp(-sigma * largest[:, None] ** 2)
    return scores * decay.min(0).values if len(scores) else scores
