"""The labels that an instance segmenter learns from: true masks, or proposals that were chosen.

SAPNet's Tables 1 and 3: SAM-top1-SOLOv2 learns from the proposal that SAM is surest of, MIL-SOLOv2
from that of one multiple-instance learner, SAPNet from that of its whole selection; the fully
supervised SOLOv2 from true masks. All of them learn the true classes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from int_bench.core.types import Image
from int_bench.data.dataset import Dataset, SampleFile, objects_of
from int_bench.errors import SampleError
from int_bench.learning.store import say

Source = Literal["truth", "sam_top1", "mil_single", "sapnet"]
Masks = NDArray[np.bool_]


class Labelled(NamedTuple):
    """A picture and what is learnt of it; N objects, F further masks of each.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        masks: (N, H, W) bool.
        further: (N, F, H, W) bool; F is 0, 3, or the bag's size.
        categories: (N,) by name.
        points: (N, 2) float32, x and y in pixels.
    """

    image: Image
    masks: Masks
    further: Masks
    categories: tuple[str, ...]
    points: NDArray[np.float32]

    @property
    def size(self) -> int:
        """Bytes of its arrays."""
        return self.image.nbytes + self.masks.nbytes + self.further.nbytes


@dataclass(frozen=True)
class Chosen:
    """An object's chosen proposal, and three further ones (Eq. 11), its whole bag, or none."""

    category: str
    point: tuple[float, float]
    mask: Callable[[tuple[int, int]], Masks]
    further: tuple[Callable[[tuple[int, int]], Masks], ...] = ()


class Pictures:
    """The labelled pictures of a data set, decoded when they are asked for.

    Args:
        data: a sample an object, or a sample an image.
        chosen: by the id of an image's first sample; None takes the true masks.
        kept: at most so many bytes of decoded pictures are remembered.
    """

    def __init__(
        self, data: Dataset, chosen: Mapping[str, Sequence[Chosen]] | None, kept: int
    ) -> None:
        self._data, self._chosen, self._most = data, chosen, kept
        first: dict[str, SampleFile] = {}
        for sample in data.samples():
            first.setdefault(sample.topic, sample)
        learnt = (s for s in first.values() if chosen is None or chosen.get(s.id))
        self.samples = tuple(learnt)
        self._kept: OrderedDict[int, Labelled] = OrderedDict()
        self._bytes = 0
        self._lost: set[int] = set()

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Labelled:
        """One picture; the next that can be decoded where it, or its annotation, cannot.

        Raises:
            SampleError: none can.
        """
        labelled = self._kept.get(index)
        if labelled is None:
            try:
                labelled = self._read(self.samples[index])
            except SampleError as error:
                return self[self._after(index, error)]
            self._kept[index] = labelled
            self._bytes += labelled.size
        self._kept.move_to_end(index)
        while self._bytes > self._most and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].size
        return labelled

    def _after(self, index: int, error: SampleError) -> int:
        """The picture that stands in for one that cannot be decoded."""
        if index not in self._lost:
            self._lost.add(index)
            say(f"{error} It is left out.")
        if len(self._lost) == len(self):
            raise error
        return (index + 1) % len(self)

    def _read(self, sample: SampleFile) -> Labelled:
        image = self._data.load_image(sample)
        size = (image.shape[0], image.shape[1])
        if self._chosen is None:
            # Asked for as an image, so that a bad annotation costs its own object alone.
            objects = objects_of(self._data, replace(sample, id=sample.topic, image_id=None))
            masks = np.stack([known.mask for known in objects]) if objects else _none(size)
            names = tuple(known.category for known in objects)
            points = _points([known.point for known in objects])
            return Labelled(image, masks, _none(size, len(objects)), names, points)
        chosen = self._chosen[sample.id]
        masks = np.stack([part.mask(size) for part in chosen])
        rows = [[make(size) for make in part.further] for part in chosen]
        further = np.array(rows, dtype=np.bool_).reshape(len(chosen), -1, *size)
        names = tuple(part.category for part in chosen)
        return Labelled(image, masks, further, names, _points([part.point for part in chosen]))


def _points(points: Sequence[tuple[float, float]]) -> NDArray[np.float32]:
    return np.array(points, dtype=np.float32).reshape(-1, 2)


def _none(size: tuple[int, int], objects: int | None = None) -> Masks:
    shape = (0, *size) if objects is None else (objects, 0, *size)
    return np.zeros(shape, dtype=np.bool_)
