"""Training losses of the tiny GroundingDINO.

The loss that comes with the class never reaches the proposal stage (its boxes are detached and its
logits come from the query embeddings), so a small model would start from random anchors for ever.
Here every encoder cell inside an animal or a decoy and every decoder query whose reference box
overlaps one is a positive example (one-to-many), which also converges many times faster than
matching.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from int_bench.zoo.training.boxes import box_iou
from int_bench.zoo.training.grounding_dino.data import Views

STRIDES = (8, 16, 32)
OCCUPANCY = (0.5, 0.4, 0.3)  # a cell is inside an animal from this share on, per stride
TOUCHED = 0.1  # cells between this share and the one above are left out
OVERLAP = 0.3  # a reference box is positive from this IoU on


def corners(boxes: torch.Tensor) -> torch.Tensor:
    """Convert (..., 4) boxes from centre and size to x0, y0, x1, y1."""
    return torch.cat([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1)


def box_loss(
    predicted: torch.Tensor, target: torch.Tensor, chosen: torch.Tensor, least: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """(1 - GIoU) + 2 L1 over the ``chosen`` boxes, and the IoU of all of them (detached).

    Args:
        predicted: (B, Q, 4) corner boxes.
        target: (B, Q, 4) corner boxes.
        chosen: (B, Q) bool.
        least: the sum is divided by at least this number of boxes.
    """
    iou, generalised = box_iou(predicted, target)
    losses = (1 - generalised) + 2 * (predicted - target).abs().mean(-1)
    return (losses * chosen).sum() / chosen.sum().clamp(min=least), iou.detach()


def cells(views: Views) -> tuple[torch.Tensor, torch.Tensor]:
    """Which encoder cells lie inside which figure, and which cells are left out of the loss.

    Returns:
        inside: (B, M, N) bool for the N cells of all strides; at most one figure per cell.
        ignored: (B, N) bool.
    """
    share = [F.avg_pool2d(views.masks.float(), stride).flatten(2) for stride in STRIDES]
    inside = torch.cat([level > limit for level, limit in zip(share, OCCUPANCY, strict=True)], 2)
    touched = torch.cat(share, 2).sum(1) > TOUCHED
    for later in range(1, inside.shape[1]):
        inside[:, later] &= ~inside[:, :later].any(1)
    hardly = (views.names == -2)[..., None] & inside
    inside &= (views.names >= 0)[..., None]
    return inside, (touched & ~inside.any(1)) | hardly.any(1)


def encoder_loss(out: Any, words: torch.Tensor, valid: torch.Tensor, views: Views) -> torch.Tensor:
    """Class and box loss on every cell of the encoder.

    Args:
        out: output of GroundingDinoForObjectDetection.
        words: (B, M, T) float, what figure o is worth to token t (`grounding_dino_data.encode`).
        valid: (B, T) bool, tokens that are no padding.
        views: the batch.
    """
    inside, ignored = cells(views)
    target = torch.einsum("bon,bot->bnt", inside.float(), words)
    keep = valid[:, None] & ~ignored[..., None]
    logits = out.enc_outputs_class[..., : words.shape[2]].float().masked_fill(~valid[:, None], 0.0)
    score = logits.sigmoid().detach()
    wrong = (target - score).abs().clamp(min=0.02)
    weight = torch.where(target > 0, wrong, 0.5 * score**1.5) * keep
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    classes = (entropy * weight).sum() / ((target > 0) * keep).sum().clamp(min=20)
    boxes = corners(out.enc_outputs_coord_logits.float().sigmoid())
    owner = inside.float().argmax(1)[..., None].expand(-1, -1, 4)
    wanted = views.boxes.gather(1, owner)
    regression, _ = box_loss(boxes, wanted, inside.any(1), 1.0)
    return 2 * classes + regression


def decoder_loss(
    out: Any, words: torch.Tensor, valid: torch.Tensor, views: Views, negative: float
) -> torch.Tensor:
    """Class and box loss on the decoder's queries; a right word is worth the IoU of its box.

    Args:
        out: output of GroundingDinoForObjectDetection.
        words: (B, M, T) float as above.
        valid: (B, T) bool.
        views: the batch.
        negative: weight of wrong words; it moves the scores against the box threshold.
    """
    reference = corners(out.init_reference_points)[:, None]
    overlap, _ = box_iou(reference, views.boxes[:, :, None])
    is_object = (views.names >= 0)[..., None]
    hardly = ((overlap > OVERLAP) & (views.names == -2)[..., None]).any(1)
    best, owner = (overlap * is_object).max(1)
    positive = best > OVERLAP
    boxes = corners(out.pred_boxes.float())
    wanted = views.boxes.gather(1, owner[..., None].expand(-1, -1, 4))
    regression, iou = box_loss(boxes, wanted, positive, 8.0)
    right = words.gather(1, owner[..., None].expand(-1, -1, words.shape[2])) * positive[..., None]
    target = right * iou[..., None]
    logits = out.logits[..., : words.shape[2]].float().masked_fill(~valid[:, None], 0.0)
    score = logits.sigmoid().detach()
    weight = torch.where(right > 0, (target - score).abs(), negative * score**1.5)
    weight = weight * valid[:, None] * ~hardly[..., None]
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return 2 * (entropy * weight).sum() / (right > 0).sum().clamp(min=20) + regression


def dense_loss(maps: torch.Tensor, views: Views, classes: int) -> torch.Tensor:
    """Per-cell name and box loss that pre-trains the backbone.

    Args:
        maps: (B, 1 + classes + 4, 16, 16): name logits (first background), distances from the
            cell's centre to the four sides of the box as fractions of the view.
        views: the batch.
        classes: number of names.
    """
    share = F.avg_pool2d(views.masks.float(), STRIDES[0])
    inside = share > 0.5
    is_object = (views.names >= 0)[..., None, None]
    label = torch.zeros_like(inside[:, 0], dtype=torch.long)
    for slot in range(inside.shape[1]):
        label = torch.where(
            (inside & is_object)[:, slot], views.names[:, slot, None, None] + 1, label
        )
    hardly = (inside & ~is_object).any(1)
    sure = ((share.amax(1) > 0.6) | (share.sum(1) < TOUCHED)) & ~hardly
    weight = sure * torch.where(label > 0, 8.0, 1.0)
    entropy = F.cross_entropy(maps[:, : classes + 1], label, reduction="none")
    centre = (torch.arange(16, device=maps.device) + 0.5) / 16
    grid = torch.stack(torch.meshgrid(centre, centre, indexing="xy"), -1)
    sides = maps[:, classes + 1 :].permute(0, 2, 3, 1)
    boxes = torch.cat([grid - sides[..., :2], grid + sides[..., 2:]], -1)
    owner = (inside & is_object).float().argmax(1).flatten(1)[..., None].expand(-1, -1, 4)
    wanted = views.boxes.gather(1, owner)
    regression, _ = box_loss(boxes.flatten(1, 2), wanted, (label > 0).flatten(1), 1.0)
    return (entropy * weight).sum() / weight.sum().clamp(min=1) + 0.5 * regression
