"""What data sets of instances have in common: objects, or images of objects, as samples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from int_bench.core.files import expanded
from int_bench.core.geometry import bounds
from int_bench.core.instances import Instance
from int_bench.core.types import HardMask
from int_bench.data.dataset import SampleFile
from int_bench.data.instances.points import point_of, read_points
from int_bench.data.pairing import Finding
from int_bench.errors import MissingAsset, SampleError, UsageError

Unit = Literal["object", "image"]
"""What a sample is. Of objects, the ground truth is the object's mask; of images, their union."""
PointKind = Literal["qc", "uniform", "centroid", "file"]
"""Where the objects' points come from: :mod:`int_bench.data.instances.points`, or a file."""
_RECENT = 4
"""Images whose decoded objects are remembered: samples of one image follow one another."""


@dataclass(frozen=True)
class AnnotatedImage:
    """An image with the ids and the classes of its objects; nothing of it is decoded."""

    id: str
    path: Path | None
    objects: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Decoded:
    """The objects of an image, decoded.

    Attributes:
        size: (height, width) of the image.
        masks: of each object in its order, (H, W) bool; what is wrong with those that have none.
    """

    size: tuple[int, int]
    masks: Sequence[HardMask | SampleError]


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

    @classmethod
    def of(cls, kind: PointKind, seed: int, file: str | None) -> Points:
        """The points that ``dataset.points`` and its company ask for.

        Raises:
            UsageError: those of a file without a file, or the other way round.
            MissingAsset: the file is not there, or holds no points.
        """
        if (kind == "file") != (file is not None):
            raise UsageError(
                "dataset.points=file and dataset.points_file=FILE go together: a JSON object of"
                " [x, y] by the objects' ids."
            )
        return cls(kind, seed, {} if file is None else read_points(file))

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


class _Image(NamedTuple):
    """Objects of an image that could be decoded, what is wrong with the others, their union."""

    instances: list[Instance]
    faults: dict[str, str]
    union: HardMask


@dataclass(frozen=True)
class Objects:
    """The samples and the objects of a data set.

    Attributes:
        name: the data set's.
        images: all of them, in a fixed order.
        read: decodes the masks of an image's objects.
        unit: what a sample is.
        points: of the objects.
    """

    name: str
    images: Sequence[AnnotatedImage]
    read: Callable[[AnnotatedImage], Decoded]
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

        Objects that cannot be decoded are left out; each is named where it is the sample.

        Raises:
            SampleError: the sample's own annotation cannot be decoded.
        """
        instances, faults, _ = self._decoded(sample.topic)
        if sample.image_id is None:
            return tuple(instances)
        if sample.id in faults:
            raise SampleError(faults[sample.id])
        return tuple(sorted(instances, key=lambda instance: instance.id != sample.id))

    def mask(self, sample: SampleFile) -> HardMask:
        """The ground truth of a sample, (H, W) bool.

        Raises:
            SampleError: the sample's own annotation cannot be decoded.
        """
        if sample.image_id is None:
            return self._decoded(sample.topic)[2]
        return self.objects(sample)[0].mask

    def faults(self, image: AnnotatedImage) -> Mapping[str, str]:
        """What is wrong with objects of an image that cannot be decoded, by their ids."""
        return self._decoded(image.id)[1]

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
    def _decoded(self) -> Callable[[str], _Image]:
        return lru_cache(maxsize=_RECENT)(self._decode)

    def _decode(self, image_id: str) -> _Image:
        image = self._by_id[image_id]
        decoded = self.read(image)
        instances, faults = list[Instance](), dict[str, str]()
        union = np.zeros(decoded.size, dtype=np.bool_)
        for (object_id, category), mask in zip(image.objects, decoded.masks, strict=True):
            try:
                instance = self._instance(object_id, category, mask)
            except SampleError as error:
                faults[object_id] = str(error)
                continue
            union |= instance.mask
            instances.append(instance)
        return _Image(instances, faults, union)

    def _instance(self, object_id: str, category: str, mask: HardMask | SampleError) -> Instance:
        if isinstance(mask, SampleError):
            raise mask
        if not mask.any():
            raise SampleError(f"Object {object_id} of data set {self.name} has an empty mask.")
        mask.setflags(write=False)
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
    return {part.name: vars(dataset)[part.name] for part in fields(dataset)}


def untrained(training: Sequence[SampleFile], validation: Sequence[SampleFile]) -> tuple[str, ...]:
    """The categories of objects of validation that no object of training has, in their order.

    What was never seen cannot be learnt. Samples that are no objects have no categories.
    """
    seen = {sample.truth_name for sample in training}
    names = dict.fromkeys(s.truth_name for s in validation if s.image_id is not None)
    return tuple(name for name in names if name is not None and name not in seen)


def first_of(candidates: str | Sequence[str], root: str, what: str, hint: str) -> Path:
    """The first file or folder under ``root`` that is there.

    Args:
        candidates: best known layout first.
        root: what they lie under; none of an absolute one.
        what: they are, for the message, the data set's name first.
        hint: how to get it.

    Raises:
        MissingAsset: none is there.
    """
    names = [candidates] if isinstance(candidates, str) else list(candidates)
    folder = expanded(root)
    for name in names:
        path = folder / expanded(name)
        if path.exists():
            return path
    tried = ", ".join([str((folder / expanded(names[0])).absolute()), *names[1:]])
    raise MissingAsset(f"{what} not found: {tried}; {hint}.")


def without_errors(name: str, findings: Sequence[Finding]) -> None:
    """Refuse a data set that something is wrong with.

    Raises:
        MissingAsset: there is an error; it names the first.
    """
    errors = [finding.message for finding in findings if finding.severity == "error"]
    if errors:
        more = f" (and {len(errors) - 1} more; `int-bench data check` lists all)"
        raise MissingAsset(f"Data set {name}: {errors[0]}{more if len(errors) > 1 else ''}.")
