"""What data sets of instances have in common: objects, or images of objects, as samples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from int_bench.core.geometry import bounds
from int_bench.core.instances import Instance
from int_bench.core.types import HardMask
from int_bench.data.dataset import SampleFile
from int_bench.data.instances.points import point_of
from int_bench.errors import MissingAsset, SampleError

Unit = Literal["object", "image"]
"""What a sample is. Of objects, the ground truth is the object's mask; of images, their union."""
PointKind = Literal["qc", "uniform", "centroid", "file"]
"""Where the objects' points come from: :mod:`int_bench.data.instances.points`, or a file."""
Masks = npt.NDArray[np.bool_]
"""(N, H, W), a mask for each object of an image."""

_RECENT = 4
"""Images whose decoded objects are remembered: samples of one image follow one another."""


@dataclass(frozen=True)
class AnnotatedImage:
    """An image with the ids and the classes of its objects; nothing of it is decoded."""

    id: str
    path: Path | None
    objects: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Points:
    """How a data set's objects come by their points.

    Attributes:
        kind: see :data:`PointKind`.
        seed: of points that are drawn.
        clicked: x, y by the object's id, of ``kind`` file.
    """

    kind: PointKind
    seed: int
    clicked: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def point(self, object_id: str, mask: HardMask) -> tuple[float, float]:
        """The point of an object, x, y in pixels.

        Raises:
            SampleError: that of the file is not on the image.
        """
        if self.kind != "file":
            return point_of(mask, self.kind, self.seed, object_id)
        x, y = self.clicked[object_id]
        height, width = mask.shape
        if not (0.0 <= x < width and 0.0 <= y < height):
            raise SampleError(
                f"The point ({x:g}, {y:g}) of object {object_id} lies outside its image of"
                f" {width}x{height}."
            )
        return x, y


@dataclass(frozen=True)
class Objects:
    """The samples and the objects of a data set.

    Attributes:
        name: the data set's.
        images: all of them, in a fixed order.
        read: decodes the masks of an image's objects, (N, H, W).
        unit: what a sample is.
        points: of the objects.
    """

    name: str
    images: Sequence[AnnotatedImage]
    read: Callable[[AnnotatedImage], Masks]
    unit: Unit
    points: Points

    @cached_property
    def samples(self) -> tuple[SampleFile, ...]:
        """Object by object, or image by image, in the order of the images.

        Raises:
            MissingAsset: a file of points has none for some object.
        """
        self._check_points()
        if self.unit == "image":
            return tuple(
                SampleFile(image.id, image.path, truth_name=_named(image)) for image in self.images
            )
        return tuple(
            SampleFile(object_id, image.path, truth_name=category, image_id=image.id)
            for image in self.images
            for object_id, category in image.objects
        )

    def objects(self, sample: SampleFile) -> tuple[Instance, ...]:
        """The objects of the sample's image; the sample's own first, where it is one object.

        Raises:
            SampleError: an annotation cannot be decoded.
        """
        instances, _ = self._decoded(sample.topic)
        if sample.image_id is None:
            return instances
        return tuple(sorted(instances, key=lambda instance: instance.id != sample.id))

    def mask(self, sample: SampleFile) -> HardMask:
        """The ground truth of a sample, (H, W) bool.

        Raises:
            SampleError: an annotation cannot be decoded.
        """
        instances, union = self._decoded(sample.topic)
        own = [instance.mask for instance in instances if instance.id == sample.id]
        return union if sample.image_id is None else own[0]

    def describe(self, *parts: object) -> str:
        """Hash (hex sha256) of ``parts``, of the unit, and of all that decides the points."""
        clicked = sorted(self.points.clicked.items())
        text = json.dumps(
            [*map(str, parts), self.unit, self.points.kind, self.points.seed, clicked]
        )
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def _by_id(self) -> dict[str, AnnotatedImage]:
        return {image.id: image for image in self.images}

    @cached_property
    def _decoded(self) -> Callable[[str], tuple[tuple[Instance, ...], HardMask]]:
        return lru_cache(maxsize=_RECENT)(self._decode)

    def _decode(self, image_id: str) -> tuple[tuple[Instance, ...], HardMask]:
        image = self._by_id[image_id]
        masks = self.read(image)
        masks.setflags(write=False)
        instances = [
            self._instance(object_id, category, mask)
            for (object_id, category), mask in zip(image.objects, masks, strict=True)
        ]
        return tuple(instances), np.asarray(masks.any(axis=0))

    def _instance(self, object_id: str, category: str, mask: HardMask) -> Instance:
        if not mask.any():
            raise SampleError(f"Object {object_id} of data set {self.name} has an empty mask.")
        rows, columns = bounds(mask)
        edges = (columns.start, rows.start, columns.stop, rows.stop)
        box = (float(edges[0]), float(edges[1]), float(edges[2]), float(edges[3]))
        return Instance(object_id, category, mask, box, self.points.point(object_id, mask))

    def _check_points(self) -> None:
        if self.points.kind != "file":
            return
        ids = [object_id for image in self.images for object_id, _ in image.objects]
        without = [object_id for object_id in ids if object_id not in self.points.clicked]
        if without:
            raise MissingAsset(
                f"Data set {self.name}: dataset.points_file has no point for {len(without)} of"
                f" {len(ids)} objects, such as {without[0]}; complete it, or set dataset.points=qc."
            )


def _named(image: AnnotatedImage) -> str | None:
    return " and ".join(dict.fromkeys(category for _, category in image.objects)) or None


def without_caches(dataset: Any) -> dict[str, Any]:
    """The fields of a data set alone: what travels to another process, which reads again."""
    return {name: vars(dataset)[name] for name in dataset.__dataclass_fields__}
