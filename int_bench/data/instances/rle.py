"""Masks of annotation files: COCO's polygons and run lengths, read by faster-coco-eval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from int_bench.core.instances import coco_library
from int_bench.core.typed import Malformed
from int_bench.core.types import HardMask

_FAR = 4
"""How many sides outside its image a polygon may reach; farther away it is a slip, and its
rasterisation would take memory without an end."""


def mask_of(segmentation: Any, size: tuple[int, int]) -> HardMask:
    """The mask of a COCO annotation, (H, W) bool; it may be empty.

    Args:
        segmentation: a list of polygons ``[x, y, x, y, ...]``, whose union counts, or run lengths
            ``{"size": [H, W], "counts": ...}``, column by column, as a list of numbers or as text.
        size: (height, width) of the image.

    Raises:
        Malformed: it is neither, or not of this image.
        MissingAsset: the extra package that reads them is not installed.
    """
    library = coco_library("the mask of an annotation")
    if isinstance(segmentation, Mapping):
        _check_runs(segmentation, size)
    else:
        _check_polygons(segmentation, size)
    height, width = size
    try:
        lengths = library.mask.segmToRle(segmentation, width, height)
        if isinstance(lengths["counts"], str):
            lengths = {**lengths, "counts": lengths["counts"].encode()}
        decoded: npt.NDArray[np.uint8] = library.mask.decode(lengths)
    except Exception as error:  # whatever the library says of run lengths that are none
        raise Malformed(f"it is no mask ({str(error)[:80]})") from None
    return np.asarray(decoded.reshape(size) != 0)


def runs_of(mask: HardMask) -> dict[str, Any]:
    """A mask as run lengths: ``size``, and ``counts`` as bytes.

    Raises:
        MissingAsset: the extra package that writes them is not installed.
    """
    library = coco_library("a mask as run lengths")
    runs: dict[str, Any] = library.mask.encode(np.asfortranarray(mask.view(np.uint8)))
    return runs


def _check_runs(runs: Mapping[str, Any], size: tuple[int, int]) -> None:
    if runs.get("size") != list(size):
        raise Malformed(f"its run lengths are of {runs.get('size')}, its image of {list(size)}")
    counts = runs.get("counts")
    if isinstance(counts, str):
        return  # the library refuses what ends too early or too late
    whole = isinstance(counts, list) and all(type(n) is int and n >= 0 for n in counts)
    if not whole or sum(counts or ()) != math.prod(size):
        raise Malformed("its run lengths do not sum up to its image")


def _check_polygons(polygons: Any, size: tuple[int, int]) -> None:
    if not isinstance(polygons, list) or not polygons:
        raise Malformed("it has neither polygons nor run lengths")
    reach = _FAR * max(size)
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise Malformed("a polygon of it is no list of three or more points")
        if not all(type(v) in (int, float) and abs(v) <= reach for v in polygon):
            raise Malformed("a polygon of it leaves its image far behind")
