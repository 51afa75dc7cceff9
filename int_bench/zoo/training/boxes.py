"""Overlap of boxes, as the losses and the checks of several models need it."""

from __future__ import annotations

import torch


def box_iou(first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """IoU and generalised IoU (Rezatofighi et al. 2019) of broadcastable (..., 4) corner boxes."""
    inner = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(
        first[..., :2], second[..., :2]
    )
    outer = torch.maximum(first[..., 2:], second[..., 2:]) - torch.minimum(
        first[..., :2], second[..., :2]
    )
    common = inner.clamp(min=0).prod(-1)
    area_first = (first[..., 2:] - first[..., :2]).clamp(min=0).prod(-1)
    area_second = (second[..., 2:] - second[..., :2]).clamp(min=0).prod(-1)
    union, hull = area_first + area_second - common + 1e-7, outer.clamp(min=0).prod(-1) + 1e-7
    iou = common / union
    return iou, iou - (hull - union) / hull
