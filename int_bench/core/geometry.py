"""Patches, padding, and boxes and masks between frames. The frame is always in the name.

Frames: *image* (pixels of the whole image), *patch* (pixels of one patch), *square* (0..1 of the
patch after it was made square for the vision-language model).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from int_bench.core.limits import NotEmpty, Share
from int_bench.core.types import Box, HardMask, Image, SoftMask
from int_bench.errors import UsageError

PatchSet = Literal["original", "halves", "quarters"]
PATCH_SETS: tuple[PatchSet, ...] = get_args(PatchSet)
Preprocess = Literal["pad", "center_crop", "squash"]
PREPROCESSINGS: tuple[Preprocess, ...] = get_args(Preprocess)
Window = tuple[slice, slice]
"""Rows and columns of an array, (H, W, ...)."""


@dataclass(frozen=True)
class Patch:
    """A rectangle of the image: x0, y0, x1, y1 in whole pixels of the image frame, half open."""

    name: str
    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def box_image(self) -> Box:
        """The rectangle as a box in the image frame."""
        return self.x0, self.y0, self.x1, self.y1

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def window(self) -> Window:
        """Its rows and columns of an array in the image frame."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)


@dataclass(frozen=True)
class Grid:
    """How an image is cut into the patches of Section 3.1: uncut, vertically, horizontally, both.

    With all three sets each pixel is covered four times. Reading: "halve" means all four halves and
    "quarters" the 2x2 grid, hence K = 9, cut at integer midpoints without overlap.

    Attributes:
        sets: which of ``original``, ``halves``, ``quarters``.
        overlap: share of the patch's side by which it grows over each inner cut, 0..1.
        quarters: ``grid`` (2x2) or ``longest_side`` (four strips beyond an aspect ratio of 2, as in
            the predecessor's code).
    """

    sets: Annotated[Sequence[PatchSet], NotEmpty()] = PATCH_SETS
    overlap: Share = 0.0
    quarters: Literal["grid", "longest_side"] = "grid"

    def cut(self, size: tuple[int, int]) -> tuple[Patch, ...]:
        """The patches of an image of ``size`` (height, width), the original first."""
        height, width = size
        mid_x, mid_y = width // 2, height // 2
        grids: dict[str, list[Patch]] = {
            "original": [Patch("original", 0, 0, width, height)],
            "halves": [
                Patch("left", 0, 0, mid_x, height),
                Patch("right", mid_x, 0, width, height),
                Patch("top", 0, 0, width, mid_y),
                Patch("bottom", 0, mid_y, width, height),
            ],
            "quarters": _quarters(height, width, self.quarters),
        }
        chosen = (patch for name in PATCH_SETS if name in self.sets for patch in grids[name])
        return tuple(_grow(p, self.overlap, width, height) for p in chosen if min(p.size) >= 1)


def _quarters(height: int, width: int, mode: str) -> list[Patch]:
    if mode == "longest_side" and max(height, width) > 2 * min(height, width):
        cuts = np.linspace(0, max(height, width), 5).astype(int)
        spans = list(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True))
        if width > height:
            return [Patch(f"strip{i}", a, 0, b, height) for i, (a, b) in enumerate(spans)]
        return [Patch(f"strip{i}", 0, a, width, b) for i, (a, b) in enumerate(spans)]
    mid_x, mid_y = width // 2, height // 2
    return [
        Patch("top_left", 0, 0, mid_x, mid_y),
        Patch("top_right", mid_x, 0, width, mid_y),
        Patch("bottom_left", 0, mid_y, mid_x, height),
        Patch("bottom_right", mid_x, mid_y, width, height),
    ]


def _grow(patch: Patch, overlap: float, width: int, height: int) -> Patch:
    if overlap == 0:
        return patch
    more_y, more_x = (round(overlap * side) for side in patch.size)
    return Patch(
        patch.name,
        max(0, patch.x0 - more_x),
        max(0, patch.y0 - more_y),
        min(width, patch.x1 + more_x),
        min(height, patch.y1 + more_y),
    )


def crop(image: Image, patch: Patch) -> Image:
    """The patch's pixels, (h, w, 3)."""
    return image[patch.window]


def padded_square(size: tuple[int, int]) -> tuple[int, int, int]:
    """Side of the square that holds an image of ``size``, and left and top padding, in pixels."""
    height, width = size
    side = max(height, width)
    return side, (side - width) // 2, (side - height) // 2


def box_patch_from_square(box_square: Box, size: tuple[int, int], preprocess: str) -> Box:
    """Map a box in 0..1 of the square that the model saw to pixels of the patch, clipped to it.

    Args:
        box_square: x0, y0, x1, y1 in 0..1 of the square.
        size: (height, width) of the patch in pixels.
        preprocess: how the patch became square: ``pad`` (centred), ``center_crop`` of the shorter
            side, or ``squash``.
    """
    wide, high, left, top = _square(size, preprocess)
    x0, y0, x1, y1 = box_square
    mapped = (x0 * wide - left, y0 * high - top, x1 * wide - left, y1 * high - top)
    return clip_box(mapped, size)


def box_square_from_patch(box_patch: Box, size: tuple[int, int], preprocess: str) -> Box:
    """Map a box from pixels of the patch to 0..1 of the square; undoes `box_patch_from_square`."""
    wide, high, left, top = _square(size, preprocess)
    x0, y0, x1, y1 = box_patch
    return (x0 + left) / wide, (y0 + top) / high, (x1 + left) / wide, (y1 + top) / high


def _square(size: tuple[int, int], preprocess: str) -> tuple[int, int, int, int]:
    """Width and height of the square in pixels of the patch, and the patch's left and top in it."""
    height, width = size
    if preprocess == "squash":
        return width, height, 0, 0
    if preprocess == "pad":
        side, left, top = padded_square(size)
        return side, side, left, top
    if preprocess == "center_crop":
        side = min(size)
        return side, side, -((width - side) // 2), -((height - side) // 2)
    raise UsageError(f"Unknown preprocessing {preprocess!r}; choose from {list(PREPROCESSINGS)}.")


def clip_box(box: Box, size: tuple[int, int]) -> Box:
    """The box cut to an image of ``size`` (height, width), in the same frame."""
    height, width = size
    x0, y0, x1, y1 = box
    return (
        min(max(x0, 0.0), width),
        min(max(y0, 0.0), height),
        min(max(x1, 0.0), width),
        min(max(y1, 0.0), height),
    )


def area(box: Box) -> float:
    """Area in square pixels of the box's frame; 0 for an empty box."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def box_image_from_patch(box_patch: Box, patch: Patch) -> Box:
    """Move a box from the patch frame to the image frame."""
    x0, y0, x1, y1 = box_patch
    return x0 + patch.x0, y0 + patch.y0, x1 + patch.x0, y1 + patch.y0


def box_patch_from_image(box_image: Box, patch: Patch) -> Box | None:
    """Move a box from the image frame to the patch frame, clipped; None where they do not meet."""
    x0, y0, x1, y1 = box_image
    moved = (x0 - patch.x0, y0 - patch.y0, x1 - patch.x0, y1 - patch.y0)
    clipped = clip_box(moved, patch.size)
    return clipped if area(clipped) >= 1.0 else None


def fill_box(box: Box, size: tuple[int, int]) -> HardMask:
    """The hard mask of a box on a canvas of ``size`` (height, width); touched pixels count."""
    x0, y0, x1, y1 = clip_box(box, size)
    mask = np.zeros(size, dtype=np.bool_)
    mask[int(np.floor(y0)) : int(np.ceil(y1)), int(np.floor(x0)) : int(np.ceil(x1))] = True
    return mask


def component_boxes(mask: HardMask, smallest: float = 0.0) -> tuple[Box, ...]:
    """The bounding box of each 8-connected component, by falling number of pixels.

    Args:
        mask: (H, W), not empty.
        smallest: share of the largest component's pixels below which one is left out.
    """
    import cv2  # slow to import, and most commands need no mask

    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    flat = labels.ravel()
    first = np.zeros(count, dtype=np.int64)
    first[flat[::-1]] = np.arange(flat.size)[::-1]  # the last write stays: each label's first pixel
    sizes = stats[:, cv2.CC_STAT_AREA]
    order = sorted(range(1, count), key=lambda label: (-sizes[label], first[label]))
    largest = sizes[order[0]] if order else 0
    kept = (stats[label].tolist() for label in order if sizes[label] >= smallest * largest)
    return tuple((float(x), float(y), float(x + w), float(y + h)) for x, y, w, h, _ in kept)


def enlarge(heat: SoftMask, size: tuple[int, int]) -> SoftMask:
    """A coarse map at ``size`` (height, width): bilinear, cell centres aligned, edges held."""
    if heat.shape == size:
        return heat
    rows, columns = (
        _neighbours((np.arange(full) + 0.5) * cells / full - 0.5, cells)
        for full, cells in zip(size, heat.shape, strict=True)
    )
    enlarged = np.zeros(size)
    for row, row_share in rows:
        for column, column_share in columns:
            enlarged += heat[np.ix_(row, column)] * row_share[:, None] * column_share
    return enlarged.astype(heat.dtype)


def _neighbours(
    places: NDArray[np.float64], cells: int
) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """The two cells that each place on an axis lies between, and the share of each."""
    below = np.floor(places)
    share = places - below
    sides = ((below, 1.0 - share), (below + 1, share))
    return [(np.clip(cell, 0, cells - 1).astype(np.int64), part) for cell, part in sides]


def dilate(mask: HardMask, radius: float) -> HardMask:
    """All pixels within ``radius`` (pixels, Euclidean) of the mask."""
    import cv2  # slow to import, and a dry run computes nothing

    if radius <= 0 or not mask.any():
        return mask
    # Squared distances are whole numbers: the largest that is within the radius, and a half, is a
    # bound that the rounding of a distance to float32 cannot cross.
    largest = int(radius * radius) + 1
    while math.sqrt(largest) > radius:
        largest -= 1
    # Beyond the mask's bounds and the radius there is nothing to find.
    window = tuple(
        slice(max(0, span.start - math.ceil(radius)), span.stop + math.ceil(radius))
        for span in bounds(mask)
    )
    outside = np.logical_not(mask[window]).view(np.uint8)
    distance = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    grown: HardMask = np.zeros_like(mask)
    grown[window] = distance < math.sqrt(largest + 0.5)
    return grown


def bounds(mask: HardMask) -> Window:
    """The smallest rows and columns that hold all of a mask, (H, W), which is not empty."""
    import cv2  # slow to import, and a dry run computes nothing

    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return slice(y, y + height), slice(x, x + width)


def encode_runs(mask: HardMask) -> tuple[int, ...]:
    """Lengths of runs of a mask, column by column; the first is of background and may be 0.

    >>> encode_runs(np.array([[False, True], [True, True]]))
    (1, 3)
    """
    flat = np.concatenate([[False], mask.ravel(order="F"), [not mask[-1, -1]]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return tuple(np.diff(edges, prepend=0).tolist())


def run_lengths(mask: HardMask) -> str:
    """A mask, (H, W) bool, in COCO's compressed run lengths (the ``counts`` of its RLE).

    Those of :func:`encode_runs`, each from the fourth on as the difference from the one before the
    last; in digits of five bits, lowest first, from character 48 on, the sixth bit telling that
    more follow.

    >>> run_lengths(np.array([[False, True], [False, True]]))
    '22'
    """
    lengths = np.array(encode_runs(mask))
    lengths[3:] -= lengths[1:-2].copy()
    characters = []
    for number in lengths.tolist():
        more = True
        while more:
            digit, number = number & 31, number >> 5
            more = number != (-1 if digit & 16 else 0)
            characters.append(chr(48 + digit + 32 * more))
    return "".join(characters)


def tight_box(mask: HardMask) -> Box | None:
    """The smallest box that holds all of a mask, (H, W); None where it is empty.

    >>> tight_box(np.array([[False, False], [False, True]]))
    (1.0, 1.0, 2.0, 2.0)
    """
    if not mask.any():
        return None
    rows, columns = bounds(mask)
    return float(columns.start), float(rows.start), float(columns.stop), float(rows.stop)
