"""Random crowds: bags of boxes, points and classes, the same on every machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

HEIGHT, WIDTH = 600, 900
PICTURES, OBJECTS, PROPOSALS, CLASSES = 200, 5, 6, 4


@dataclass(frozen=True)
class Crowds:
    """A thousand objects, five a picture.

    Attributes:
        bags: (N, 6, 4), from parts to groups around the object's point.
        truths: the true boxes, (N, 4).
        points: (N, 2).
        labels: (N,).
        images: (N,).
    """

    bags: Tensor
    truths: Tensor
    points: Tensor
    labels: Tensor
    images: Tensor


def crowds() -> Crowds:
    """Boxes of .3 to 2.5 times the sides of the true one, and labels of few classes."""
    generator = np.random.default_rng(12)
    count = PICTURES * OBJECTS
    sides = np.array([WIDTH, HEIGHT], dtype=np.float64)
    points = (0.1 + 0.8 * generator.random((count, 2))) * sides
    half = 20.0 + 130.0 * generator.random((count, 2))
    centres = points + (generator.random((count, 2)) - 0.5) * half
    truths = _boxes(centres, half, sides)
    scales = 0.3 + 2.2 * generator.random((count, PROPOSALS, 1)) ** 2
    shaken = 1.0 + 0.2 * (generator.random((count, PROPOSALS, 2)) - 0.5)
    moved = centres[:, None] + 0.3 * (generator.random((count, PROPOSALS, 2)) - 0.5) * half[:, None]
    bags = _boxes(moved, half[:, None] * scales * shaken, sides)
    labels = generator.integers(CLASSES, size=count)
    images = np.repeat(np.arange(PICTURES), OBJECTS)
    boxes, truth, point = (torch.from_numpy(a.astype(np.float32)) for a in (bags, truths, points))
    return Crowds(boxes, truth, point, torch.from_numpy(labels), torch.from_numpy(images))


def logits(seed: int, *shape: int) -> Tensor:
    """Numbers in -3..3, (*shape)."""
    drawn = np.random.default_rng(seed).random(shape) * 6.0 - 3.0
    return torch.from_numpy(drawn.astype(np.float32))


def _boxes(centres: np.ndarray, half: np.ndarray, sides: np.ndarray) -> np.ndarray:
    low = np.clip(centres - half, 0.0, sides - 4.0)
    high = np.clip(centres + half, low + 2.0, sides)
    return np.concatenate([low, high], axis=-1)
