"""Data sets in COCO's format: a folder of images and a JSON file of their objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from int_bench.core.instances import Instance, coco_library
from int_bench.core.limits import Count, Within
from int_bench.core.typed import Malformed
from int_bench.core.types import HardMask, Image
from int_bench.data.dataset import SampleFile
from int_bench.data.decoding import MAX_PIXELS, refuse_huge
from int_bench.data.images import read_image
from int_bench.data.instances.coco_file import (
    Annotations,
    Picture,
    Shape,
    read_annotations,
    segmentation_of,
)
from int_bench.data.instances.rle import mask_of
from int_bench.data.instances.samples import (
    AnnotatedImage,
    Decoded,
    Objects,
    PointKind,
    Points,
    Unit,
    first_of,
    without_caches,
    without_errors,
)
from int_bench.data.pairing import Finding
from int_bench.errors import MissingAsset, SampleError


@dataclass(frozen=True)
class CocoInstances:
    """A split of a data set in COCO's format, object by object or image by image.

    Masks, boxes and categories are the annotation's; a box is the tight rectangle of the mask.
    Crowds (``iscrowd`` 1) are no objects; :meth:`crowds` tells them for an evaluation.

    Attributes:
        name: the set's name in tables and run folders.
        images: candidate folders of images under ``root``, best known layout first; ``{split}``
            stands for the split.
        annotations: candidate annotation files, as ``images``.
        root: where the candidates are looked for.
        split: ``train``, ``val``, ``test`` or ``demo``, of those that the set has.
        published: the number of images of each split.
        whole: refuse another number than the published.
        unit: ``object`` or ``image``: what a sample is.
        points: how objects come by their points: ``qc``, ``uniform``, ``centroid``, or ``file``.
        points_seed: of points that are drawn.
        points_file: of ``points=file``: a JSON object of ``[x, y]`` by object id.
        max_megabytes: a longer annotation file is refused before it is read.
        max_pixels: larger images are refused, by name, before they are decoded.
        task, models: the task and the model preset that the set is run with by default.
        licence, source, fetch: terms, where it comes from, and how to get it, for the user to read.
    """

    name: str
    images: str | Sequence[str]
    annotations: str | Sequence[str]
    root: str = "."
    split: Literal["train", "val", "test", "demo"] = "val"
    published: Mapping[str, int] = field(default_factory=dict)
    whole: bool = True
    unit: Unit = "object"
    points: PointKind = "qc"
    points_seed: Annotated[int, Within(0, 9223372036854775807)] = 0
    points_file: str | None = None
    max_megabytes: Count = 2048
    max_pixels: Count = MAX_PIXELS
    task: str = "object"
    models: str = ""
    licence: str = ""
    source: str = ""
    fetch: str = ""

    @cached_property
    def image_folder(self) -> Path:
        """The folder of images.

        Raises:
            MissingAsset: none of the candidates exists.
        """
        return self._find(self.images, "its folder of images")

    @cached_property
    def annotation_file(self) -> Path:
        """The annotation file.

        Raises:
            MissingAsset: none of the candidates exists.
        """
        return self._find(self.annotations, "its annotation file")

    @cached_property
    def content(self) -> Annotations:
        """What the annotation file holds.

        Raises:
            MissingAsset: it is not there, or is none.
        """
        path = self.annotation_file
        try:
            return read_annotations(path, self.max_megabytes * 10**6)
        except Malformed as error:
            hint = "; raise dataset.max_megabytes" if "longer than" in str(error) else ""
            raise MissingAsset(
                f"Data set {self.name}: {path} cannot be used: {error}{hint}."
            ) from error
        except OSError as error:
            raise MissingAsset(
                f"Data set {self.name}: {path} cannot be read: {error.strerror or error}."
            ) from error

    @property
    def categories(self) -> tuple[str, ...]:
        """The names of the categories in the order of their numbers.

        Raises:
            MissingAsset: the annotation file cannot be used.
        """
        return self.content.categories

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with the annotations and the files of images; no pixel is read.

        Raises:
            MissingAsset: a folder or the annotation file is missing, or is none.
        """
        content, findings = self.content, list[Finding]()
        findings += [
            Finding("bad_annotation", self.name, f"{self.annotation_file.name}: {fault}", "error")
            for fault in content.faults
        ]
        count, wanted = len(content.pictures), self.published.get(self.split)
        if self.whole and wanted is not None and count != wanted:
            message = (
                f"{count} images in {self.annotation_file}, {wanted} expected; get the whole file,"
                " or set dataset.whole=false to use it as it is"
            )
            findings.append(Finding("count", self.name, message, "error"))
        paths = {self.image_folder / picture.file_name: picture for picture in content.pictures}
        there = {path for folder in {path.parent for path in paths} for path in _files(folder)}
        for path, picture in paths.items():
            if path not in there:
                message = f"image {path} is missing"
                findings.append(Finding("missing_image", picture.id, message, "error"))
        return tuple(findings)

    def samples(self) -> Sequence[SampleFile]:
        """Images ``NAME``, or objects ``NAME-ANNOTATION``, in the order of the file.

        Raises:
            MissingAsset: a file is missing or none, or the set is not whole.
        """
        coco_library("a file of annotations")  # its absence is told before any model is loaded
        without_errors(self.name, self.findings)
        return self.objects_of_images.samples

    def load_image(self, sample: SampleFile) -> Image:
        """The picture, (H, W, 3) uint8 RGB, in the frame of its annotations.

        Raises:
            SampleError: the file cannot be decoded, or is of another size than its annotations.
        """
        picture = self._pictures[sample.topic]
        path = self.image_folder / picture.file_name
        image = read_image(path, max_pixels=self.max_pixels, size=picture.size)
        if image.shape[:2] != picture.size:
            height, width = picture.size
            raise SampleError(
                f"Image {path} is {image.shape[1]}x{image.shape[0]}, its annotations are of"
                f" {width}x{height}; get the file that they were made for."
            )
        return image

    def load_mask(self, sample: SampleFile) -> HardMask:
        """The object's mask, or the union of all objects of the image, (H, W) bool.

        Raises:
            SampleError: the annotation cannot be decoded, or its mask is empty.
        """
        return self.objects_of_images.mask(sample)

    def objects(self, sample: SampleFile) -> tuple[Instance, ...]:
        """The objects of the sample's image; the sample's own first, where it is one object.

        Raises:
            SampleError: the sample's own annotation cannot be decoded.
        """
        return self.objects_of_images.objects(sample)

    def crowds(self, sample: SampleFile) -> tuple[tuple[str, HardMask], ...]:
        """Regions of the image with many objects of a category, by its name, (H, W) bool each.

        They are no truth; an evaluation counts what lies on them neither way.

        Raises:
            SampleError: the image is larger than ``max_pixels``.
        """
        picture = self._pictures[sample.topic]
        refuse_huge(self.image_folder / picture.file_name, picture.size, self.max_pixels)
        shapes = self.content.crowds.get(picture.id, ())
        masks = [(shape.category, self._mask(shape, picture.size)) for shape in shapes]
        return tuple((name, mask) for name, mask in masks if not isinstance(mask, SampleError))

    @property
    def crowd_count(self) -> int:
        """Regions of all images with many objects."""
        return sum(map(len, self.content.crowds.values()))

    def manifest(self) -> str:
        """Hash (hex sha256) of the annotation file and of all that decides samples and points."""
        return self.objects_of_images.describe("coco", self.split, self.content.digest)

    def __getstate__(self) -> dict[str, Any]:
        """What travels to another process, which reads the annotations itself."""
        return without_caches(self)

    @cached_property
    def objects_of_images(self) -> Objects:
        """The objects of all images.

        Raises:
            MissingAsset: a file is missing or none.
        """
        images = [
            AnnotatedImage(
                picture.id,
                self.image_folder / picture.file_name,
                tuple((s.id, s.category) for s in self.content.objects.get(picture.id, ())),
            )
            for picture in self.content.pictures
        ]
        points = Points.of(self.points, self.points_seed, self.points_file)
        return Objects(self.name, images, self._read, self.unit, points)

    @cached_property
    def _pictures(self) -> dict[str, Picture]:
        return {picture.id: picture for picture in self.content.pictures}

    def _read(self, image: AnnotatedImage) -> Decoded:
        picture = self._pictures[image.id]
        refuse_huge(self.image_folder / picture.file_name, picture.size, self.max_pixels)
        shapes = self.content.objects.get(image.id, ())
        return Decoded(picture.size, [self._mask(shape, picture.size) for shape in shapes])

    def _mask(self, shape: Shape, size: tuple[int, int]) -> HardMask | SampleError:
        try:
            return mask_of(segmentation_of(shape), size)
        except Malformed as error:
            return SampleError(f"Object {shape.id} of data set {self.name}: {error}.")

    def _find(self, candidates: str | Sequence[str], what: str) -> Path:
        names = [candidates] if isinstance(candidates, str) else candidates
        named = [name.replace("{split}", self.split) for name in names]
        return first_of(named, self.root, f"Data set {self.name}: {what}", self.fetch)


def _files(folder: Path) -> Iterator[Path]:
    """The files of a folder; none of one that is not there."""
    with suppress(OSError):
        yield from folder.iterdir()
