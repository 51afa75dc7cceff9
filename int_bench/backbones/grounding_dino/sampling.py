"""Deformable attention without copies of what was sampled, on CUDA and of batches.

The library stacks the samples of all levels and points with the points innermost, multiplies and
sums: a third of a detector's time is spent on moving them. Here each level is weighed and summed
where it was sampled, points outermost. Of the same formula, in another order of summands.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MethodType
from typing import Any

from torch import Tensor
from torch.nn.functional import grid_sample


def summed_where_sampled(model: Any) -> Any:
    """A GroundingDINO whose deformable attention is this one, but for one picture on a CPU.

    What is computed alone there stays what it is, to the bit.
    """
    for module in model.modules():
        if type(module).__name__ == "MultiScaleDeformableAttention":
            module.forward = MethodType(_attended, module)
    return model


def _attended(
    self: Any, value: Tensor, shapes: Tensor, sizes: Sequence[tuple[int, int]], *rest: Any
) -> Tensor:
    """Weighted sums of samples, (B, Q, heads * D).

    Args:
        self: the library's module.
        value: (B, S, heads, D), S over all levels.
        shapes: (L, 2) height and width of each level, ...
        sizes: ... as numbers.
        rest: where each level starts in S; x and y of the samples, 0..1, (B, Q, heads, L, P, 2);
            their weights, (B, Q, heads, L, P); what has no meaning here.
    """
    if not value.is_cuda and len(value) == 1:
        return type(self).forward(self, value, shapes, sizes, *rest)  # type: ignore[no-any-return]
    _, places, weights, *_ = rest
    rows, _, heads, width = value.shape
    levels = value.permute(0, 2, 3, 1).flatten(0, 1).split([h * w for h, w in sizes], dim=-1)
    # Queries innermost, as neighbouring threads read them: (L, B * heads, P, Q, 2) and (..., Q).
    grids = (2 * places - 1).permute(3, 0, 2, 4, 1, 5).flatten(1, 2).contiguous()
    weights = weights.permute(3, 0, 2, 4, 1).flatten(1, 2)[:, :, None].contiguous()
    total: Any = 0
    for level, size, grid, weight in zip(levels, sizes, grids, weights, strict=True):
        sampled = grid_sample(level.unflatten(-1, size), grid, align_corners=False)
        total = total + sampled.mul_(weight).sum(2)  # (B * heads, D, P, Q) over P
    answer: Tensor = total.view(rows, heads * width, places.shape[1]).transpose(1, 2)
    return answer.contiguous()
