"""Images, masks and predictions from files: what the pixels of each mean.

Levels are brought to 0..255 whatever the file's depth: 1-bit, palette, 8-bit, 16-bit, float, RGB
and alpha files all end in the same arrays. Whatever keeps a file from that raises ``SampleError``
with its path, what was found and what is accepted, so that one bad file never ends a run; what was
read and may surprise is a remark (:mod:`int_bench.data.remarks`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from int_bench.core.types import HardMask, Image
from int_bench.data.decoding import (
    EXTENSIONS,
    MAX_PIXELS,
    Header,
    Pixels,
    Values,
    decoding,
    fault_of,
    read_header,
)
from int_bench.data.depth import Depth, is_deep_array, load_array
from int_bench.data.remarks import remark
from int_bench.errors import SampleError

__all__ = ["EXTENSIONS", "MAP_EXTENSIONS", "MAX_PIXELS", "Header", "fault_of", "read_header"]

MAP_EXTENSIONS = EXTENSIONS | {".npy"}
"""Extensions of prediction files, lower case."""
Levels: TypeAlias = NDArray[np.uint8] | NDArray[np.float64]
"""Grey levels, (H, W), 0..255."""
Map: TypeAlias = NDArray[np.uint8] | NDArray[np.float64] | NDArray[np.bool_]
"""A prediction, (H, W): bool, uint8 levels 0..255, or float64 0..1."""

_NOISE_LEVEL = 16
_OPAQUE = 250
_LUMINANCE = np.array([0.299, 0.587, 0.114])
"""ITU-R BT.601, as Pillow weighs the channels of 8 bits."""
_UNKNOWN = Depth()


def read_image(
    path: Path,
    mask_path: Path | None = None,
    depth: Depth = _UNKNOWN,
    max_pixels: int = MAX_PIXELS,
    size: tuple[int, int] | None = None,
) -> Image:
    """Decode an image to (H, W, 3) uint8 RGB, in the frame of its mask.

    Alpha is dropped; one that varies is a remark. Each file's EXIF orientation is applied, as a
    viewer would. Reading: when that would turn an image away from its mask although the stored
    sizes agree (the mask was drawn on the stored pixels and carries no tag), the stored pixels are
    kept.

    Args:
        path: the image.
        mask_path: its mask, if there is one.
        depth: white of its set, for files of more than 8 bits.
        max_pixels: above it the image is refused.
        size: (height, width) of its annotations, where they are no mask: the stored pixels are kept
            if they have it and what a viewer would show has not.

    Raises:
        SampleError: the file cannot be decoded.
    """
    with decoding(path, max_pixels) as file:
        header = file.header
        kept = mask_path is not None and _mask_is_in_stored_frame(header, mask_path)
        kept |= size is not None and header.size == size != header.displayed_size
        pixels = file.pixels("RGB", upright=not kept)
        if pixels.alpha is not None and pixels.alpha.min() < pixels.alpha.max():
            remark("image_alpha", f"image {path.name} has an alpha that varies; it is dropped")
        if pixels.values.dtype in (np.uint8, np.bool_):
            levels: Image = np.asarray(_levels(pixels.values, path, depth), dtype=np.uint8)
        else:
            levels = depth.rounded(pixels.values, path)
        return levels if levels.ndim == 3 else np.repeat(levels[..., None], 3, axis=2)


def read_levels(path: Path, depth: Depth = _UNKNOWN, max_pixels: int = MAX_PIXELS) -> Levels:
    """Decode a mask file to grey levels, (H, W) in 0..255, EXIF orientation applied.

    uint8 for files of up to 8 bits a channel, float64 for deeper ones. Colour becomes luminance; a
    mask that is in the alpha channel alone is read from there.

    Args:
        path: the mask.
        depth: white of its set; a file of no known set is its own.
        max_pixels: above it the file is refused.

    Raises:
        SampleError: the file cannot be decoded, holds NaN, or differs in colours and alpha.
    """
    with decoding(path, max_pixels) as file:
        return _grey(file.pixels("L"), path, depth)


def read_mask(
    path: Path, threshold: int = 128, depth: Depth = _UNKNOWN, max_pixels: int = MAX_PIXELS
) -> HardMask:
    """Decode a ground-truth mask: True where the grey level is above the threshold (0..255).

    Raises:
        SampleError: the file cannot be decoded, or is encoded so that the threshold would silently
            empty it (0/1, 0/128, class indices).
    """
    levels = read_levels(path, depth, max_pixels)
    if threshold > 0 and is_dim(levels, threshold):
        raise SampleError(
            f"Mask {path} would be empty: its brightest level is {levels.max():g} and the threshold"
            f" is {threshold}; re-encode it as 0/255 or set dataset.gt_threshold=0."
        )
    lost = share_below(levels, threshold)
    if lost:
        remark("mask_instances", instances_text(path, levels, threshold))
    return levels > threshold


def is_dim(levels: Levels, threshold: int) -> bool:
    """True if a mask has content, none of it above the threshold, that is more than coding noise.

    Noise is several levels up to 16, which is what JPEG leaves of an empty mask.
    """
    brightest = float(levels.max())
    if brightest == 0 or brightest > threshold:
        return False
    return brightest > _NOISE_LEVEL or np.unique(levels).size <= 2


def flat_levels(levels: Levels) -> tuple[int, ...]:
    """Levels far from 0 and 255 that fill areas: what instance and class masks have.

    A level counts if some 3 x 3 window holds nothing else; edges that are smoothed by scaling or by
    JPEG have no such windows, or few: in all they must make up one in 2000 pixels.
    """
    small = levels if levels.dtype == np.uint8 else np.rint(levels).astype(np.uint8)
    counts = cv2.calcHist([small], [0], None, [256], [0, 256]).ravel()
    least = max(4.0, small.size / 2000)
    if counts[_NOISE_LEVEL + 1 : 255 - _NOISE_LEVEL].sum() < least:
        return ()
    window = np.ones((3, 3), np.uint8)
    flat = cv2.erode(small, window) == cv2.dilate(small, window)
    inner = np.bincount(small[flat], minlength=256)[_NOISE_LEVEL + 1 : 255 - _NOISE_LEVEL]
    if inner.sum() < least:
        return ()
    return tuple((np.flatnonzero(inner) + _NOISE_LEVEL + 1).tolist())


def share_below(levels: Levels, threshold: int) -> float:
    """The share of an instance mask's object pixels (above coding noise) that the threshold loses.

    0 for a mask of other kinds.
    """
    flat = flat_levels(levels)
    if not flat or flat[0] > threshold:
        return 0.0
    present = levels > _NOISE_LEVEL
    return float((present & (levels <= threshold)).sum() / present.sum())


def instances_text(path: Path, levels: Levels, threshold: int) -> str:
    """The sentence about a mask of several flat levels."""
    flat = flat_levels(levels)
    named = ", ".join(str(level) for level in flat[:6]) + (", ..." if len(flat) > 6 else "")
    count = f"{len(flat)} level{'s' if len(flat) > 1 else ''}"
    return (
        f"mask {path.name} has {count} far from 0 and 255 ({named}): instances or classes? At the"
        f" threshold {threshold}, {share_below(levels, threshold):.1%} of its object is background;"
        " set dataset.gt_threshold=0 or re-encode it as 0/255"
    )


def shape_of(array: Map) -> tuple[int, int]:
    """(height, width) of a map or mask."""
    return int(array.shape[0]), int(array.shape[1])


def is_transposed(size: tuple[int, int], reference: tuple[int, int]) -> bool:
    """Whether a (height, width) fits another, scaled or not, only when its sides are swapped.

    >>> is_transposed((30, 20), (20, 30)), is_transposed((300, 200), (40, 60))
    (True, True)
    >>> is_transposed((30, 30), (20, 30)), is_transposed((40, 60), (20, 30))
    (False, False)
    """
    if size == reference or reference[0] == reference[1]:
        return False
    if size == reference[::-1]:
        return True
    # 0 if height : width = width : height
    across = abs(size[0] * reference[0] - size[1] * reference[1])
    along = abs(size[0] * reference[1] - size[1] * reference[0])
    rounding = max(*size, *reference)
    return across <= rounding < along


def read_map(path: Path, depth: Depth = _UNKNOWN, max_pixels: int = MAX_PIXELS) -> Map:
    """Decode a prediction, (H, W): an image of any depth, or ``.npy`` (bool, integer, float).

    A file with no other levels than 0 and 1 is a hard mask and is returned as bool. Others keep
    8-bit levels (uint8; colour as luminance) or, if deeper, become float64 0..1.

    Args:
        path: the prediction.
        depth: white of its set; a file of no known set is its own.
        max_pixels: above it the file is refused.

    Raises:
        SampleError: the file cannot be decoded, or an array is not two-dimensional, not finite, or
            out of its range.
    """
    if path.suffix.lower() == ".npy":
        return _array_map(path, depth, max_pixels)
    with decoding(path, max_pixels) as file:
        pixels = file.pixels("L")
        levels = _grey(pixels, path, depth)
        whole = np.issubdtype(pixels.values.dtype, np.integer)
        if whole and pixels.values.max() == 1 and levels.max() <= 1:
            return levels > 0
        return levels / 255.0 if levels.dtype != np.uint8 else levels.astype(np.uint8, copy=False)


def _array_map(path: Path, depth: Depth, max_pixels: int) -> Map:
    fault = fault_of(path)
    if fault is not None:
        raise SampleError(f"Prediction {path} {fault}.")
    stored = load_array(path, max_pixels)
    array = _plane(stored)
    if array.ndim != 2 or array.size == 0:
        raise SampleError(f"Prediction {path} has shape {stored.shape}; (height, width) is needed.")
    if array.dtype == np.bool_:
        return array
    if is_deep_array(array) and not (array.dtype == np.uint16 and array.max() <= 1):
        levels: NDArray[np.float64] = depth.scaled(array, path) / 255.0
        return levels
    if not np.issubdtype(array.dtype, np.integer):
        raise SampleError(f"Prediction {path} has type {array.dtype}; bool, uint8 or float needed.")
    if array.min() < 0 or array.max() > 255:
        raise SampleError(
            f"Prediction {path} has levels {array.min()}..{array.max()}; 0..255 is needed."
        )
    return array.astype(np.bool_) if array.max() == 1 else array.astype(np.uint8)


def _plane(array: Values) -> Values:
    """The array without leading and trailing axes of one, as far as it has more than two."""
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    while array.ndim > 2 and array.shape[-1] == 1:
        array = array[..., 0]
    return array


def _levels(values: Values, path: Path, depth: Depth) -> Levels:
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    return depth.scaled(values, path)


def _grey(pixels: Pixels, path: Path, depth: Depth) -> Levels:
    """Grey levels, in which no alpha is lost."""
    levels = _levels(pixels.values, path, depth)
    if levels.ndim == 3:
        grey = levels @ _LUMINANCE
        levels = np.rint(grey).astype(np.uint8) if levels.dtype == np.uint8 else grey
    if pixels.alpha is None:
        return levels
    full = np.iinfo(pixels.alpha.dtype).max if pixels.alpha.dtype.kind == "u" else 1
    alpha = np.rint(pixels.alpha.astype(np.float64) * (255 / full)).astype(np.uint8)
    if alpha.min() >= _OPAQUE or alpha.min() == alpha.max():
        return levels
    if levels.min() == levels.max():
        remark("mask_in_alpha", f"{path.name} is of one colour; its alpha is read as the mask")
        return alpha
    if ((levels > 128) == (alpha > 128)).all():
        return levels
    raise SampleError(
        f"{path} has an alpha that differs from its colours; save the mask as one channel, 0/255."
    )


def _mask_is_in_stored_frame(image: Header, mask_path: Path) -> bool:
    if not image.transposing:
        return False
    mask = read_header(mask_path).displayed_size
    return mask == image.size and mask != image.displayed_size
