"""Prompts for the tiny SAM: boxes and points as true annotations, a detector or Spatial CLIP give.

Frames: masks and coordinates are those of the model's square of 256 pixels, masks at half of its
resolution (128 x 128 cells), so that a cell is a pixel of a whole scene.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

CELL = 2
"""Pixels of the model's square per cell of a mask."""


@dataclass(frozen=True)
class Prompt:
    """One prompt per image, of one kind for all.

    Attributes:
        boxes: ``(B, 4)`` x0, y0, x1, y1 in pixels of the square, or None.
        points: ``(B, N, 2)`` x, y in pixels of the square, or None.
        labels: ``(B, N)`` 1 positive, 0 negative, or None.
    """

    boxes: Tensor | None
    points: Tensor | None
    labels: Tensor | None

    def arguments(self, device: torch.device) -> dict[str, Any]:
        """Keyword arguments of SAM's ``PromptEncoder``."""
        points = None
        if self.points is not None and self.labels is not None:
            points = (self.points.to(device), self.labels.to(device))
        boxes = None if self.boxes is None else self.boxes.to(device)
        return {"points": points, "boxes": boxes, "masks": None}


def true_boxes(masks: Tensor) -> Tensor:
    """Boxes of masks ``(B, 128, 128)``, ``(B, 4)`` pixels of the square; all of it where empty."""
    inside, size = masks > 0.5, masks.shape[-1]
    columns, rows = inside.any(1), inside.any(2)
    sides = []
    for line in (columns, rows):
        first = line.float().argmax(1)
        last = size - line.flip(1).float().argmax(1)
        sides.append((first, last))
    (x0, x1), (y0, y1) = sides
    return torch.stack([x0, y0, x1, y1], dim=1).float() * CELL


def centre_points(masks: Tensor) -> Tensor:
    """``(B, 1, 2)`` the point of each mask nearest to its centre of gravity."""
    size = masks.shape[-1]
    line = torch.arange(size, dtype=torch.float32)
    total = masks.sum((1, 2)) + 1e-6
    x, y = (masks.sum(1) * line).sum(1) / total, (masks.sum(2) * line).sum(1) / total
    away = (line - y[:, None]).square()[:, :, None] + (line - x[:, None]).square()[:, None]
    best = torch.where(masks > 0.5, away, away + 1e4).flatten(1).argmin(1)
    return ((torch.stack([best % size, best // size], dim=1) + 0.5) * CELL)[:, None]


def random_prompt(masks: Tensor, others: Tensor, rng: np.random.Generator) -> Prompt:
    """A box, points, or both.

    Args:
        masks: ``(B, 128, 128)`` of the targets.
        others: ``(B, 128, 128)`` of the animals that are not meant.
        rng: source of everything drawn.
    """
    kind = rng.choice(["box", "centre", "point", "points", "both"], p=[0.3, 0.1, 0.1, 0.1, 0.4])
    box = _shaken(true_boxes(masks), rng) if kind in ("box", "both") else None
    if kind == "both" and rng.random() < 0.1:
        # Without a detection the whole view is the box, and the points alone say what is meant.
        box = torch.tensor([0.0, 0.0, 256.0, 256.0]).expand(len(masks), -1)
    if kind == "box":
        return Prompt(box, None, None)
    if kind == "centre":
        points = centre_points(masks)
        return Prompt(None, points, torch.ones(points.shape[:2]))
    is_single = kind == "point"
    counts = (1, 0) if is_single else (int(rng.integers(1, 21)), int(rng.integers(0, 21)))
    return Prompt(box, *random_points(masks, others, counts, rng))


def random_points(
    masks: Tensor, others: Tensor, counts: tuple[int, int], rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """So many positive and negative points: ``(B, N, 2)`` and labels ``(B, N)``."""
    positive, negative = counts
    points = _positives(masks, positive, rng)
    if negative:
        points = torch.cat([points, _negatives(masks, others, negative, rng)], dim=1)
    return points, torch.tensor([1.0] * positive + [0.0] * negative).expand(len(masks), -1)


def _shaken(boxes: Tensor, rng: np.random.Generator) -> Tensor:
    """Each side moved by about 4 % of the box's extent, for one box in five by 12 %."""
    extent = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    spread = np.where(rng.random((len(boxes), 1)) < 0.2, 0.12, 0.04)
    move = torch.from_numpy(rng.standard_normal((len(boxes), 4)) * spread).float()
    return (boxes + extent * move).clamp(0.0, 256.0)


def _positives(masks: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """Points of the mask, half of the time gathered in one place, as the peak of a heat map."""
    weights = (masks > 0.5).float() + 1e-8
    if rng.random() < 0.5:
        x, y = (_draw(weights, 1, rng)[:, 0] / CELL).unbind(1)
        line = torch.arange(masks.shape[-1])
        away = (line - y[:, None]).square()[:, :, None] + (line - x[:, None]).square()[:, None]
        weights = weights * torch.exp(-away / (2.0 * rng.uniform(6.0, 20.0) ** 2)) + 1e-9
    return _draw(weights, count, rng)


def _negatives(masks: Tensor, others: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """Points off the target, some of them on another animal."""
    outside = ((masks < 0.1) & (others < 0.1)).float() + 1e-8
    rivals = (others > 0.5).float()
    share = rng.uniform(0.0, 0.5)
    scale = share * outside.sum((1, 2), keepdim=True) / (rivals.sum((1, 2), keepdim=True) + 1.0)
    return _draw(outside + rivals * scale, count, rng)


def _draw(weights: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """``(B, count, 2)`` cell centres drawn by weight, moved by up to a cell."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    cells = torch.multinomial(weights.flatten(1), count, replacement=True, generator=generator)
    size = weights.shape[-1]
    points = torch.stack([cells % size, cells // size], dim=-1).float() + 0.5
    move = torch.from_numpy(rng.uniform(-0.5, 0.5, points.shape)).float()
    return (points + move) * CELL
