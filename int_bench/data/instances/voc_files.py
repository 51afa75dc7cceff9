"""Annotations of PASCAL VOC 2012 (two palette PNGs) and of SBD (a MATLAB file), an image each.

Both come out alike: (H, W) labels, 0 where there is no object and k + 1 on the k-th object, and the
category of each object.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from int_bench.core.files import plain
from int_bench.data.decoding import decoding, guarded
from int_bench.errors import SampleError

CATEGORIES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train",
    "tv monitor",
)  # fmt: skip
"""The classes of both, in the order of their numbers, which begin at 1."""

_VOID = 255
_LONGEST = 2**26
"""Bytes; SBD's files have some ten thousand."""


class Labels(NamedTuple):
    """(H, W) uint8 labels, and the category of each object by name."""

    labels: npt.NDArray[np.uint8]
    categories: tuple[str, ...]


def read_voc(objects: Path, classes: Path, max_pixels: int) -> Labels:
    """The annotation of an image in VOC's layout.

    An object's category is the class of most of its pixels. Void, the rim of objects, is no part of
    any.

    Args:
        objects: ``SegmentationObject/NAME.png``.
        classes: ``SegmentationClass/NAME.png``.
        max_pixels: larger files are refused.

    Raises:
        SampleError: a file is missing, damaged, or no palette PNG, or the two do not go together.
    """
    labels, kinds = _indices(objects, max_pixels), _indices(classes, max_pixels)
    if labels.shape != kinds.shape:
        raise SampleError(f"{objects} and {classes} differ in size.")
    objects_there = [label for label in np.unique(labels).tolist() if label not in (0, _VOID)]
    numbers = np.zeros(256, dtype=np.uint8)
    numbers[objects_there] = np.arange(1, len(objects_there) + 1)
    categories = []
    for label in objects_there:
        counts = np.bincount(kinds[labels == label], minlength=256)
        counts[[0, _VOID]] = 0
        categories.append(_category(int(counts.argmax()), classes, label))
    return Labels(numbers[labels], tuple(categories))


def read_sbd(path: Path, max_pixels: int) -> Labels:
    """The annotation of an image in SBD's layout, ``inst/NAME.mat``.

    Raises:
        SampleError: the file is missing, damaged, or of another layout.
    """
    from scipy import io as matlab  # slow to import

    try:
        with plain(path) as file:
            content = file.read(_LONGEST + 1)
    except OSError as error:
        raise SampleError(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(content) > _LONGEST:
        raise SampleError(f"{path} is longer than {_LONGEST >> 20} MiB.")
    with guarded(path):
        read = matlab.loadmat(io.BytesIO(content), squeeze_me=True, struct_as_record=False)
        truth = read["GTinst"]
        labels, numbers = truth.Segmentation, np.atleast_1d(truth.Categories)
    if getattr(labels, "ndim", 0) != 2 or labels.dtype != np.uint8 or numbers.ndim != 1:
        raise SampleError(f"{path} is no annotation of SBD: its GTinst holds something else.")
    if labels.size > max_pixels:
        raise SampleError(f"{path} has {labels.size / 1e6:.1f} million pixels, too many.")
    if int(labels.max(initial=0)) > len(numbers):
        raise SampleError(f"{path} has {labels.max()} objects and {len(numbers)} categories.")
    categories = [_category(number, path, k) for k, number in enumerate(numbers.tolist(), start=1)]
    return Labels(labels, tuple(categories))


def _category(number: Any, path: Path, label: int) -> str:
    if not isinstance(number, int) or not 1 <= number <= len(CATEGORIES):
        raise SampleError(f"{path}: object {label} is of class {number}, which VOC has not.")
    return CATEGORIES[number - 1]


def _indices(path: Path, max_pixels: int) -> npt.NDArray[np.uint8]:
    with decoding(path, max_pixels) as file:
        if file.picture is None or file.picture.mode not in ("P", "L"):
            raise SampleError(f"{path} is no PNG of indices; get VOC's own file.")
        return np.asarray(file.picture, dtype=np.uint8)
