"""The doctor of data sets of instances: looks at every image and every object of a split.

Nothing is changed and nothing raises. Kinds of findings, by severity (``error`` keeps the set or an
image from being used, ``warning`` an object):

error    missing_folder (or its annotation file, or what reads it), bad_annotation (broken, without
         images, categories or objects, of an image or a category that is not there, an id twice),
         count, missing_image, unreadable (an image: truncated, too large, of another size than its
         annotations)
warning  unusable_object (its mask is empty, malformed, or of another size; its point lies outside)
note     crowd (regions of many objects, left out), no_objects, unused_category
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Protocol, TypeGuard

from int_bench.data.dataset import InstanceDataset, SampleFile
from int_bench.data.instances.samples import AnnotatedImage, Objects
from int_bench.data.pairing import Finding
from int_bench.errors import SampleError, UserError


class AnnotatedFiles(InstanceDataset, Protocol):
    """A data set of instances that the doctor can look into."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong before any pixel is read; it raises what keeps it from being looked at."""
        ...

    @property
    def objects_of_images(self) -> Objects:
        """All images and their objects."""
        ...

    @property
    def crowd_count(self) -> int:
        """Regions of many objects, which are left out."""
        ...


def has_objects(dataset: object) -> TypeGuard[AnnotatedFiles]:
    """Whether the doctor can look into a data set; nothing of it is read."""
    return hasattr(type(dataset), "objects_of_images")


def check_objects(dataset: AnnotatedFiles) -> tuple[dict[str, int | None], tuple[Finding, ...]]:
    """Examine a split.

    Returns:
        How many images, objects and categories there are; the findings, errors first.
    """
    try:
        images = dataset.objects_of_images.images
        findings = list(dataset.findings)
    except UserError as error:
        return {"images": 0}, (Finding("missing_folder", dataset.name, str(error), "error"),)
    absent = {finding.subject for finding in findings if finding.kind == "missing_image"}
    for image in images:
        if image.id not in absent:
            findings += _check_image(dataset, image)
    findings += _remarks(dataset)
    order = ("error", "warning", "note")
    findings.sort(key=lambda finding: order.index(finding.severity))
    counts: dict[str, int | None] = {
        "images": len(images),
        "objects": sum(len(image.objects) for image in images),
        "categories": len(dataset.categories),
    }
    return counts, tuple(findings)


def _check_image(dataset: AnnotatedFiles, image: AnnotatedImage) -> Iterator[Finding]:
    try:
        dataset.load_image(SampleFile(image.id, image.path))
        faults = dataset.objects_of_images.faults(image)
    except SampleError as error:
        yield Finding("unreadable", image.id, str(error), "error")
        return
    for object_id, fault in faults.items():
        yield Finding("unusable_object", object_id, fault, "warning")


def _remarks(dataset: AnnotatedFiles) -> Iterator[Finding]:
    images = dataset.objects_of_images.images
    if dataset.crowd_count:
        message = f"{dataset.crowd_count} crowds of {dataset.name} are no objects and are left out"
        yield Finding("crowd", dataset.name, message, "note")
    for image in images:
        if not image.objects:
            yield Finding("no_objects", image.id, f"image {image.id} has no object", "note")
    seen = Counter(category for image in images for _, category in image.objects)
    for category in dataset.categories:
        if not seen[category]:
            message = f"no object of {dataset.name} is a {category}"
            yield Finding("unused_category", category, message, "note")
