"""What an object's prompts and masks are in the frame of SAM's square, kept on the disk.

SAM resizes a picture so that its longer side is the square's and pads right and below. Masks are
kept at the resolution of its mask decoder's answers, a quarter of the square.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from int_bench.core.geometry import bounds
from int_bench.core.text import many
from int_bench.core.types import Box, HardMask
from int_bench.data.dataset import Dataset, SampleFile, objects_of
from int_bench.errors import SampleError, UsageError
from int_bench.learning.store import Rows, Store, say

_CELL = 4
"""Pixels of the square per cell of a mask."""


@dataclass(frozen=True)
class Target:
    """What is known of a sample, in pixels of its picture.

    Attributes:
        masks: K of them, (K, H, W) bool.
        point: x, y.
        box: of the object.
    """

    masks: NDArray[np.bool_]
    point: tuple[float, float]
    box: Box


@dataclass(frozen=True)
class Batch:
    """Some samples.

    Attributes:
        ids: of the samples.
        masks: (B, K, s, s) float32, 0..1, s a quarter of SAM's square.
        points: (B, 2) x, y in pixels of the square.
        boxes: (B, 4) x0, y0, x1, y1 in pixels of the square.
    """

    ids: Sequence[str]
    masks: Tensor
    points: Tensor
    boxes: Tensor

    def shaken_boxes(self, rng: np.random.Generator, spread: float) -> Tensor:
        """Boxes with each side moved by a normal share of the box's extent."""
        extent = (self.boxes[:, 2:] - self.boxes[:, :2]).repeat(1, 2)
        move = rng.standard_normal(tuple(self.boxes.shape)) * spread
        return self.boxes + extent * torch.from_numpy(move).float()


@dataclass(frozen=True)
class Targets:
    """Targets of many samples.

    Attributes:
        ids: of those that can be trained on.
        rows: where each lies.
        values: of N samples, mapped from the disk: ``masks``, (K, s, s) uint8, 0..255, and
            ``place``, (6,) float32, the point and the box.
    """

    ids: tuple[str, ...]
    rows: NDArray[np.int64]
    values: Rows

    def only(self, usable: Container[str]) -> Targets:
        """Those whose picture can be read.

        Raises:
            UsageError: there are none.
        """
        kept = [number for number, sample_id in enumerate(self.ids) if sample_id in usable]
        if not kept:
            raise UsageError("No sample is left whose picture and mask can both be read.")
        return Targets(tuple(self.ids[n] for n in kept), self.rows[kept], self.values)

    def take(self, picked: Sequence[int] | NDArray[np.int64]) -> Batch:
        """Some of them, by their number among ``ids``."""
        rows = self.values[self.rows[picked]]
        masks = torch.from_numpy(rows["masks"].copy()).float() / 255.0
        places = torch.from_numpy(rows["place"].copy())
        ids = [self.ids[number] for number in picked]
        return Batch(ids, masks, places[:, :2], places[:, 2:])


def whole(data: Dataset, sample: SampleFile) -> Target:
    """The sample's own mask, and its point: the annotated one, else the innermost."""
    mask = data.load_mask(sample)
    objects = objects_of(data, sample)
    if objects and sample.image_id is not None:
        return Target(mask[None], objects[0].point, objects[0].box)
    return Target(mask[None], innermost(mask), box_of(mask))


def targets(
    data: Dataset,
    side: int,
    scratch: Path,
    name: str,
    look: Callable[[Dataset, SampleFile], Target] = whole,
    planes: int = 1,
) -> Targets:
    """Look at all samples of a data set once.

    Args:
        data: the samples.
        side: of SAM's square, in pixels.
        scratch: the folder that they are kept in.
        name: of the files in it, such as ``train``.
        look: at one sample.
        planes: K.

    Raises:
        UsageError: nothing can be trained on.
    """
    samples, cells = data.samples(), side // _CELL
    row = np.dtype([("masks", "u1", (planes, cells, cells)), ("place", "f4", (6,))])
    owner: Any = [side, look.__name__, data.manifest(), [sample.id for sample in samples]]
    store = Store(scratch / f"{name}_targets", owner, row)

    def compute(block: Sequence[SampleFile]) -> tuple[Rows, list[int]]:
        rows, lost = np.zeros(len(block), row), []
        for place, sample in enumerate(block):
            try:
                target = look(data, sample)
                if not all(mask.any() for mask in target.masks):
                    raise SampleError("Its mask is empty.")
            except SampleError:
                lost.append(place)
                continue
            factor = side / max(target.masks.shape[1:])
            rows["masks"][place] = [_small(mask, cells) for mask in target.masks]
            rows["place"][place] = np.array([*target.point, *target.box]) * factor
        return rows, lost

    lost = store.fill(samples, compute, f"{name} sample")
    kept = [n for n in range(len(samples)) if n not in lost]
    if not kept:
        raise UsageError(
            f"No sample of {data.name} can be trained on: all are empty or cannot be read; "
            "`int-bench data check` says why."
        )
    if lost:
        say(f"{many(len(lost), 'sample')} without an object, or that cannot be read, are left out.")
    ids = tuple(samples[number].id for number in kept)
    return Targets(ids, np.array(kept), store.values())


def innermost(mask: HardMask) -> tuple[float, float]:
    """x, y of the pixel that is farthest from what is not the mask; the middle of an empty one."""
    away = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(away.argmax()), mask.shape)
    return float(x) + 0.5, float(y) + 0.5


def box_of(mask: HardMask) -> Box:
    """The tight box of a mask; all of an empty one."""
    if not mask.any():
        return 0.0, 0.0, float(mask.shape[1]), float(mask.shape[0])
    rows, columns = bounds(mask)
    return float(columns.start), float(rows.start), float(columns.stop), float(rows.stop)


def _small(mask: HardMask, cells: int) -> NDArray[np.uint8]:
    """A mask at the decoder's resolution, (cells, cells), 0..255: the share of each cell."""
    factor = cells / max(mask.shape)
    height, width = (max(round(length * factor), 1) for length in mask.shape)
    small = np.zeros((cells, cells), np.uint8)
    levels = mask.astype(np.uint8) * 255
    small[:height, :width] = cv2.resize(levels, (width, height), interpolation=cv2.INTER_AREA)
    return small
