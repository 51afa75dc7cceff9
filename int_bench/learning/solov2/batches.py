"""Batches of labelled pictures as SOLOv2 sees them: turned, scaled, padded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate, pad

from int_bench.backbones.solov2.architecture import Architecture
from int_bench.backbones.solov2.losses import Labels
from int_bench.backbones.solov2.pixels import normalised, seen_size
from int_bench.backbones.solov2.targets import boxes_of
from int_bench.learning.solov2.labels import Labelled, Pictures

Turned = Literal["sideways", "all"]
"""Pictures are flipped sideways, or flipped and turned in all eight ways."""


class Batch(NamedTuple):
    """Pictures with what is learnt of them, in pixels of the pictures as the network sees them.

    Attributes:
        images: (B, 3, H, W) float32, normalised, padded on the right and below.
        sizes: (height, width) of each without padding.
        labels: of each picture, N objects.
        further: of each picture (N, F, H, W) bool.
        points: of each picture (N, 2) float32, x and y.
    """

    images: Tensor
    sizes: list[tuple[int, int]]
    labels: list[Labels]
    further: list[Tensor]
    points: list[Tensor]


def drawn(pictures: Pictures, count: int, how: Turned, rng: np.random.Generator) -> list[Labelled]:
    """So many different pictures, or all where there are fewer, each turned at random."""
    most = len(pictures)
    chosen = rng.choice(most, min(count, most), replace=False)
    turns = rng.integers(8 if how == "all" else 2, size=len(chosen))
    rows = zip(chosen, turns, strict=True)
    return [turned(pictures[int(index)], int(turn)) for index, turn in rows]


def batch_of(
    parts: Sequence[Labelled], architecture: Architecture, classes: Sequence[str]
) -> Batch:
    """Pictures as the network sees them, padded to one size; objects without a mask are left out.

    Args:
        parts: the pictures.
        architecture: how they are scaled and padded.
        classes: names of the categories, by number.
    """
    images = [normalised(part.image, architecture) for part in parts]
    height = max(image.shape[1] for image in images)
    width = max(image.shape[2] for image in images)
    padded = [
        pad(image, (0, width - image.shape[2], 0, height - image.shape[1])) for image in images
    ]
    batch = Batch(torch.stack(padded), [], [], [], [])
    numbers = {name: number for number, name in enumerate(classes)}
    for part in parts:
        size = (part.image.shape[0], part.image.shape[1])
        seen = seen_size(size, architecture)
        masks = _seen(part.masks, seen, (height, width))
        boxes = boxes_of(masks)
        kept = boxes[:, 2] > 0
        kinds = torch.tensor([numbers[name] for name in part.categories], dtype=torch.int64)
        more = _seen(part.further.reshape(-1, *size), seen, (height, width))
        more = more.reshape(*part.further.shape[:2], height, width)
        scale = torch.tensor([seen[1] / size[1], seen[0] / size[0]])
        batch.sizes.append(seen)
        batch.labels.append(Labels(masks[kept], boxes[kept], kinds[kept]))
        batch.further.append(more[kept])
        batch.points.append((torch.from_numpy(part.points) * scale)[kept])
    return batch


def _seen(
    masks: NDArray[np.bool_],
    seen: tuple[int, int],
    padded: tuple[int, int],
) -> Tensor:
    """Masks (N, H, W) as the network sees the picture, (N, *padded) bool."""
    made = torch.from_numpy(np.ascontiguousarray(masks))
    if tuple(made.shape[1:]) != seen and len(made):
        made = interpolate(made[None].float(), seen, mode="bilinear")[0] >= 0.5
    return pad(made, (0, padded[1] - seen[1], 0, padded[0] - seen[0]))


def turned(labelled: Labelled, turn: int) -> Labelled:
    """Flipped sideways (1), upside down (2), at the diagonal (4), or several of them."""
    arrays: list[NDArray[Any]] = [labelled.image.transpose(2, 0, 1), *labelled[1:3]]
    height, width = labelled.image.shape[:2]
    points = labelled.points.copy()
    if turn & 1:
        arrays = [array[..., ::-1] for array in arrays]
        points[:, 0] = width - points[:, 0]
    if turn & 2:
        arrays = [array[..., ::-1, :] for array in arrays]
        points[:, 1] = height - points[:, 1]
    if turn & 4:
        arrays = [array.swapaxes(-1, -2) for array in arrays]
        points = np.ascontiguousarray(points[:, ::-1])
    image = np.ascontiguousarray(arrays[0].transpose(1, 2, 0))
    return Labelled(image, arrays[1], arrays[2], labelled.categories, points)
