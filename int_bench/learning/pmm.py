"""The point matching loss L_pm (after the abstract and figures of 2403.09199; details ours).

Reading: "minimise the distance between the true points and the estimated points" compares two
closed contours point by point, so each is cut at equal arc length, and of all ways to go around the
true one that with the least distance is taken, before the step and without a gradient.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from int_bench.backbones.sam.contours import Contour, equal_arcs, outline
from int_bench.core.types import HardMask

Matching = Literal["cyclic", "nearest"]
"""``cyclic``: equal arc length, the best start and direction. ``nearest``: the closest true point
of each point (Chamfer), which lets points gather."""


def contours_of(masks: NDArray[np.bool_], count: int) -> Tensor:
    """The contours of masks in the frame of a square, (B, count, 2) float32 in 0..1, x first.

    NaN where a mask is empty.

    Args:
        masks: (B, m, m) bool.
        count: points of each, at equal arc length from the topmost one, clockwise.
    """
    rows = [_contour(mask, count) for mask in masks]
    return torch.tensor(np.stack(rows), dtype=torch.float32)


def _contour(mask: HardMask, count: int) -> Contour:
    contour = outline(mask)
    if contour is None:
        return np.full((count, 2), np.nan)
    return np.asarray(equal_arcs(contour, count) / mask.shape[0])


def matched(contours: Tensor, truths: Tensor, matching: Matching = "cyclic") -> Tensor:
    """For each point of V the true point that it belongs to, (B, K, 2); no gradient.

    ``cyclic``: ``g_{k+s}`` or ``g_{s-k}``, with the shift s and the direction of the least
    ``sum_k |v_k - g|_1``. ``nearest``: ``argmin_j |v_k - g_j|_1``.

    Args:
        contours: V, (B, K, 2).
        truths: G, (B, K, 2).
        matching: which.
    """
    contours = contours.detach()
    count = contours.shape[1]
    apart = torch.cdist(contours, truths, p=1.0)  # (B, K, K)
    if matching == "nearest":
        chosen = apart.argmin(2)
    else:
        steps = torch.arange(count, device=contours.device)
        ways = torch.cat([steps[:, None] + steps, steps[:, None] - steps]) % count  # (2K, K)
        costs = apart[:, steps, ways].sum(2)  # (B, 2K)
        chosen = ways[costs.argmin(1)]
    return truths.gather(1, chosen[..., None].expand(-1, -1, 2))


def point_loss(moved: Tensor, wanted: Tensor, beta: float) -> Tensor:
    """``L_pm = 1/K sum_k smoothL1(v*_k - g_k; beta)``, of each contour, (B,).

    Smooth L1 is ``d^2 / (2 beta)`` below beta and ``|d| - beta / 2`` above, summed over x and y.

    Args:
        moved: V*, (B, K, 2) in 0..1 of the square.
        wanted: the matched true points, (B, K, 2).
        beta: where the square ends; one cell of the decoder's masks, 1 / (4 g).
    """
    apart = F.smooth_l1_loss(moved, wanted, beta=beta, reduction="none")
    return apart.sum(2).mean(1)
