"""Overlap of boxes, as the losses and the checks of several models need it."""

from __future__ import annotations

import torch


def box_iou(one: torch.Tensor, two: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """IoU and generalised IoU (Rezatofighi et al. 2019) of broadcastable (..., 4) corner boxes."""
    inner = torch.minimum(one[..., 2:], two[..., 2:]) - torch.maximum(one[..., :2], two[..., :2])
    outer = torch.maximum(one[..., 2:], two[..., 2:]) - torch.minimum(one[..., :2], two[..., :2])
    both = inner.clamp(min=0).prod(-1)
    area_one = (one[..., 2:] - one[..., :2]).clamp(min=0).prod(-1)
    area_two = (two[..., 2:] - two[..., :2]).clamp(min=0).prod(-1)
    union, hull = area_one + area_two - both + 1e-7, outer.clamp(min=0).prod(-1) + 1e-7
    iou = both / union
    return iou, iou - (hull - union) / hull
