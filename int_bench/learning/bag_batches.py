"""Pictures and bags of training images, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from int_bench.backbones.selector.network import normalised
from int_bench.backbones.selector.selection import Bags
from int_bench.data.dataset import InstanceDataset, SampleFile
from int_bench.data.instances.bags import ImageBags
from int_bench.errors import MissingAsset


@dataclass(frozen=True)
class _Objects:
    """The objects of one image as arrays."""

    sample: SampleFile
    boxes: NDArray[np.float32]
    valid: NDArray[np.bool_]
    points: NDArray[np.float32]
    centres: NDArray[np.float32]
    truths: NDArray[np.float32]
    labels: NDArray[np.int64]


class TrainingImages:
    """Pictures and bags of the training images, a batch at a time.

    Args:
        data: the training split.
        stored: bags of its images, in their order, each looked at once.
        place: where batches go.
    """

    _MOST = 2**29  # bytes of pictures that are remembered

    def __init__(
        self, data: InstanceDataset, stored: Iterable[ImageBags], place: torch.device
    ) -> None:
        self.categories = data.categories
        self._data, self._place = data, place
        samples = {sample.id: sample for sample in data.samples()}
        self._images = [
            _objects(samples[image.sample], image, self.categories)
            for image in stored
            if image.bags
        ]
        if not self._images:
            raise MissingAsset(f"No image of {data.name} has an object that can be trained on.")
        self._pictures: dict[int, NDArray[np.uint8]] = {}
        self._bytes = 0

    @property
    def count(self) -> int:
        """Images with objects."""
        return len(self._images)

    def truths(self, chosen: NDArray[np.int64]) -> Tensor:
        """The true boxes of the objects of some images, (N, 4)."""
        return self._tensor(np.concatenate([self._images[i].truths for i in chosen]))

    def batch(
        self, chosen: NDArray[np.int64], mirrored: NDArray[np.bool_], centres: bool = False
    ) -> tuple[Tensor, Bags]:
        """Normalised pictures (B, 3, H, W) and the bags of all their objects.

        Args:
            chosen: the images.
            mirrored: which of them are mirrored.
            centres: give the centres of the true boxes as the objects' points.
        """
        pictures, columns = [], list[tuple[NDArray[Any], ...]]()
        for place, (number, flipped) in enumerate(zip(chosen, mirrored, strict=True)):
            pixels, objects = self._picture(int(number)), self._images[number]
            height, width = pixels.shape[:2]
            points = objects.centres if centres else objects.points
            boxes = objects.boxes
            if flipped:
                pixels = pixels[:, ::-1]
                boxes = boxes[..., [2, 1, 0, 3]] * [-1, 1, -1, 1] + [width, 0, width, 0]
                points = points * [-1, 1] + [width, 0]
            pictures.append(self._tensor(pixels.transpose(2, 0, 1)))
            count = len(objects.labels)
            limits = np.tile(np.array([width, height], dtype=np.float32), (count, 2))
            columns.append(
                (np.full(count, place), boxes, objects.valid, points, objects.labels, limits)
            )
        images, boxes, valid, points, labels, limits = map(
            np.concatenate, zip(*columns, strict=True)
        )
        bags = Bags(
            torch.from_numpy(images).to(self._place),
            self._tensor(boxes),
            torch.from_numpy(valid).to(self._place),
            self._tensor(points),
            torch.from_numpy(labels).to(self._place),
            self._tensor(limits),
        )
        return normalised(pictures), bags

    def _picture(self, number: int) -> NDArray[np.uint8]:
        kept = self._pictures.get(number)
        if kept is None:
            kept = self._data.load_image(self._images[number].sample)
            if self._bytes + kept.nbytes <= self._MOST:
                self._pictures[number] = kept
                self._bytes += kept.nbytes
        return kept

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(self._place)


def _objects(sample: SampleFile, image: ImageBags, categories: Sequence[str]) -> _Objects:
    boxes, valid = [], []
    for bag in image.bags:
        tight = bag.boxes(image.size[0])
        boxes.append([box or (0.0, 0.0, 1.0, 1.0) for box in tight])
        valid.append([box is not None for box in tight])
    truths = np.array([bag.truth for bag in image.bags], dtype=np.float32)
    return _Objects(
        sample,
        np.array(boxes, dtype=np.float32),
        np.array(valid, dtype=np.bool_),
        np.array([bag.point for bag in image.bags], dtype=np.float32),
        ((truths[:, :2] + truths[:, 2:]) / 2).astype(np.float32),
        truths,
        np.array([categories.index(bag.category) for bag in image.bags], dtype=np.int64),
    )
