"""PASCAL VOC 2012 with the annotations of SBD (Hariharan et al., ICCV 2011), object by object.

``train`` is what the field calls train_aug: all images that VOC's training list or SBD's lists
name, without those of VOC's validation list, 10,582; ``val`` is VOC's validation list, 1,449.
Reading: an image of VOC's training list has VOC's own annotation, any other SBD's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from int_bench.core.files import hash_of, read_plain
from int_bench.core.instances import Instance
from int_bench.core.limits import Count, Within
from int_bench.core.types import HardMask, Image
from int_bench.data.dataset import SampleFile
from int_bench.data.decoding import MAX_PIXELS
from int_bench.data.images import read_image
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
from int_bench.data.instances.voc_files import CATEGORIES, Labels, read_sbd, read_voc
from int_bench.data.pairing import Finding
from int_bench.errors import MissingAsset, SampleError


@dataclass(frozen=True)
class VocSbd:
    """A split of VOC 2012 and SBD, object by object or image by image.

    Every annotation of the split is read once to number its objects, some 3 ms each.

    Attributes:
        name: the set's name in tables and run folders.
        voc: candidate folders ``VOC2012`` under ``root``, best known layout first.
        sbd: candidate folders ``dataset`` of SBD; only ``train`` needs one.
        root: where the candidates are looked for.
        split: ``train`` or ``val``.
        published: the number of images of each split.
        whole: refuse another number than the published, and annotations that cannot be read; else
            their images have no objects.
        unit: ``object`` or ``image``: what a sample is.
        points: how objects come by their points: ``qc``, ``uniform``, ``centroid``, or ``file``.
        points_seed: of points that are drawn.
        points_file: of ``points=file``: a JSON object of ``[x, y]`` by object id.
        max_pixels: larger images are refused, by name, before they are decoded.
        task, models: the task and the model preset that the set is run with by default.
        licence, source, fetch: terms, where it comes from, and how to get it, for the user to read.
    """

    voc: str | Sequence[str]
    sbd: str | Sequence[str]
    name: str = "voc_sbd"
    root: str = "."
    split: Literal["train", "val"] = "val"
    published: Mapping[str, int] = field(default_factory=dict)
    whole: bool = True
    unit: Unit = "object"
    points: PointKind = "qc"
    points_seed: Annotated[int, Within(0, 9223372036854775807)] = 0
    points_file: str | None = None
    max_pixels: Count = MAX_PIXELS
    task: str = "object"
    models: str = ""
    licence: str = ""
    source: str = ""
    fetch: str = ""

    @property
    def categories(self) -> tuple[str, ...]:
        """The 20 classes of VOC."""
        return CATEGORIES

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with lists and annotations; no image is read.

        Raises:
            MissingAsset: a folder or a list is missing.
        """
        faults = self._annotations[1]
        severity: Literal["error", "warning"] = "error" if self.whole else "warning"
        findings = [
            Finding("bad_annotation", name, f"annotation of {name}: {fault}", severity)
            for name, fault in faults.items()
        ]
        count, wanted = len(self._names), self.published.get(self.split)
        if self.whole and wanted is not None and count != wanted:
            message = (
                f"{count} images in the lists of {self._voc}, {wanted} expected; get the whole"
                " lists, or set dataset.whole=false to use them as they are"
            )
            findings.insert(0, Finding("count", self.name, message, "error"))
        return tuple(findings)

    @property
    def crowd_count(self) -> int:
        """Neither VOC nor SBD has any."""
        return 0

    def samples(self) -> Sequence[SampleFile]:
        """Images ``NAME``, or objects ``NAME-1``, ``NAME-2``, ..., in the order of the list.

        Raises:
            MissingAsset: a file is missing, or the set is not whole.
        """
        without_errors(self.name, self.findings)
        return self.objects_of_images.samples

    def load_image(self, sample: SampleFile) -> Image:
        """The picture, (H, W, 3) uint8 RGB.

        Raises:
            SampleError: the file cannot be decoded.
        """
        path = self._voc / "JPEGImages" / f"{sample.topic}.jpg"
        return read_image(path, max_pixels=self.max_pixels)

    def load_mask(self, sample: SampleFile) -> HardMask:
        """The object's mask, or the union of all objects of the image, (H, W) bool.

        Raises:
            SampleError: the object's mask is empty.
        """
        return self.objects_of_images.mask(sample)

    def objects(self, sample: SampleFile) -> tuple[Instance, ...]:
        """The objects of the sample's image; the sample's own first, where it is one object.

        Raises:
            SampleError: the sample's own mask is empty.
        """
        return self.objects_of_images.objects(sample)

    def manifest(self) -> str:
        """Hash (hex sha256) of all annotations and of what decides samples and points."""
        hashes = [hash_of(path) for name in self._names for path in self._paths(name)]
        return self.objects_of_images.describe("voc_sbd", self.split, *self._names, *hashes)

    def __getstate__(self) -> dict[str, Any]:
        """What travels to another process, which reads the annotations itself."""
        return without_caches(self)

    @cached_property
    def objects_of_images(self) -> Objects:
        """The objects of all images.

        Raises:
            MissingAsset: a folder or a list is missing.
        """
        folder = self._voc / "JPEGImages"
        images = [
            AnnotatedImage(
                name,
                folder / f"{name}.jpg",
                tuple((f"{name}-{n}", category) for n, category in enumerate(categories, start=1)),
            )
            for name, categories in self._annotations[0].items()
        ]
        points = Points.of(self.points, self.points_seed, self.points_file)
        return Objects(self.name, images, self._read, self.unit, points)

    @cached_property
    def _voc(self) -> Path:
        return first_of(self.voc, self.root, f"Data set {self.name}: the folder of VOC", self.fetch)

    @cached_property
    def _sbd(self) -> Path:
        return first_of(self.sbd, self.root, f"Data set {self.name}: the folder of SBD", self.fetch)

    @cached_property
    def _own(self) -> frozenset[str]:
        """The images that have VOC's own annotation."""
        return frozenset(self._listed(self._segmentations / f"{self.split}.txt"))

    @property
    def _segmentations(self) -> Path:
        return self._voc / "ImageSets" / "Segmentation"

    @cached_property
    def _names(self) -> tuple[str, ...]:
        validation = self._listed(self._segmentations / "val.txt")
        if self.split == "val":
            return validation
        more = [
            name for part in ("train", "val") for name in self._listed(self._sbd / f"{part}.txt")
        ]
        return tuple(sorted({*self._own, *more} - set(validation)))

    def _listed(self, path: Path) -> tuple[str, ...]:
        try:
            names = read_plain(path).decode("ascii").split()
        except (OSError, UnicodeDecodeError) as error:
            raise MissingAsset(
                f"Data set {self.name}: list {path} cannot be read; {self.fetch}."
            ) from error
        if any("/" in name or name.startswith(".") for name in names):
            raise MissingAsset(f"Data set {self.name}: list {path} holds what is no name.")
        return tuple(dict.fromkeys(names))

    @cached_property
    def _annotations(self) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
        """The categories of each image's objects, and what keeps others from being read."""
        categories, faults = dict[str, tuple[str, ...]](), dict[str, str]()
        for name in self._names:
            try:
                categories[name] = self._labels(name).categories
            except SampleError as error:
                categories[name], faults[name] = (), str(error).rstrip(".")
        return categories, faults

    def _paths(self, name: str) -> tuple[Path, ...]:
        if name in self._own:
            parts = ("SegmentationObject", "SegmentationClass")
            return tuple(self._voc / part / f"{name}.png" for part in parts)
        return (self._sbd / "inst" / f"{name}.mat",)

    def _labels(self, name: str) -> Labels:
        if name in self._own:
            objects, classes = self._paths(name)
            return read_voc(objects, classes, self.max_pixels)
        return read_sbd(self._paths(name)[0], self.max_pixels)

    def _read(self, image: AnnotatedImage) -> Decoded:
        if not image.objects:  # of one that could not be read, the size is its picture's
            picture = self.load_image(SampleFile(image.id, image.path))
            return Decoded((picture.shape[0], picture.shape[1]), [])
        labels = self._labels(image.id).labels
        masks: list[HardMask] = [labels == label for label in range(1, len(image.objects) + 1)]
        return Decoded((labels.shape[0], labels.shape[1]), masks)
