"""The values that pass between the parts: arrays, samples, masks and predictions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import xxhash
from numpy.typing import NDArray

from int_bench.core.details import Details
from int_bench.core.instances import Instance

Image: TypeAlias = NDArray[np.uint8]
"""(H, W, 3) RGB, 0..255."""
HardMask: TypeAlias = NDArray[np.bool_]
"""(H, W), True on the object."""
SoftMask: TypeAlias = NDArray[np.float32]
"""(H, W), 0..1."""
Logits: TypeAlias = NDArray[np.float32]
"""(H, W), unbounded; above 0 means object."""
Values: TypeAlias = NDArray[np.float64]
"""Scores, of any shape; NaN where there is none."""
Box: TypeAlias = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels, half open; the variable's name ends in its frame (_image, _patch)."""
Pictures: TypeAlias = Mapping[str, NDArray[np.uint8]]
"""Small pictures for a trace by name, (h, w, 3) RGB or (h, w) grey; see ``Details.pictures``."""


def digest_of(array: NDArray[Any]) -> str:
    """Content digest of an array: shape, dtype and bytes, 128 bits (hex XXH3), without a copy.

    It lives as long as a process does. XXH3 reads memory as fast as it comes: an image and its
    patches are hashed in every iteration, some 90 MB an image, which the SHA-2 family makes the
    largest part of a method's own time on processors without instructions for it.
    """
    head = f"{array.shape}{array.dtype.str}".encode()
    state = xxhash.xxh3_128(head)
    state.update(np.ascontiguousarray(array).data)
    return state.hexdigest()


class _Content:
    """Equality and hash by content digest, so that arrays can be part of a request."""

    digest: str

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.digest[:12]})"


class Picture(_Content):
    """An RGB image, (H, W, 3) uint8, compared by content. Never modified after construction."""

    def __init__(self, pixels: Image) -> None:
        self.pixels = np.ascontiguousarray(pixels)
        self.pixels.setflags(write=False)

    @cached_property
    def digest(self) -> str:  # type: ignore[override]
        """Of the pixels; see `digest_of`."""
        return digest_of(self.pixels)

    @property
    def fingerprint(self) -> str:
        """The sha256 of shape, dtype and pixels, for what is kept in files."""
        head = f"{self.pixels.shape}{self.pixels.dtype.str}".encode()
        return hashlib.sha256(head + self.pixels.tobytes()).hexdigest()

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]


class OnBlack(Picture):
    """A picture that is black but for one part; its pixels are made where somebody looks at them.

    Args:
        part: (h, w, 3) uint8, what is not black.
        place: (top, left) of the part in the picture, in pixels.
        size: (height, width) of the picture.
    """

    def __init__(self, part: Image, place: tuple[int, int], size: tuple[int, int]) -> None:
        self._part = np.ascontiguousarray(part)
        self._place = place
        self._size = size

    @cached_property
    def pixels(self) -> Image:  # type: ignore[override]
        """(H, W, 3) uint8."""
        canvas = np.zeros((*self._size, 3), dtype=np.uint8)
        (top, left), (height, width) = self._place, self._part.shape[:2]
        canvas[top : top + height, left : left + width] = self._part
        canvas.setflags(write=False)
        return canvas

    @cached_property
    def digest(self) -> str:  # type: ignore[override]
        """Of the part, its place and the size: equal parts at equal places are equal pictures."""
        return f"{digest_of(self._part)} {self._place} {self._size}"

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self._size


class Stencil(_Content):
    """A hard mask, (H, W) bool, compared by content. Never modified after construction."""

    def __init__(self, mask: HardMask) -> None:
        self.mask = np.ascontiguousarray(mask)
        self.mask.setflags(write=False)

    @cached_property
    def digest(self) -> str:  # type: ignore[override]
        """Of the mask; see `digest_of`."""
        return digest_of(self.mask)


def _nothing() -> None:
    """What most are told of an iteration."""


@dataclass(frozen=True)
class Sample:
    """One image of a data set, as a method sees it.

    ``truth`` and ``truth_name`` are read by the oracle methods only. With ``traced`` a method also
    tells what it saw and what it weighed; nothing that it does depends on it. ``iterated`` is
    called after each of its iterations.

    ``objects`` are the annotated objects of the image, for methods that read the truth and from
    data sets that know any. A sample that is one object (``dataset.unit=object``) has that object
    first, ``truth`` is its mask, and the other objects of the image follow in their own order; one
    that is an image has all of them, and ``truth`` is their union.
    """

    id: str
    image: Picture
    task: str
    seed: int
    truth: HardMask | None = None
    truth_name: str | None = None
    traced: bool = False
    iterated: Callable[[], None] = field(default=_nothing, compare=False, repr=False)
    objects: tuple[Instance, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class Masks:
    """One segmentation of an image, every array (H, W) in the image frame.

    Attributes:
        hard: the segmentation itself.
        soft: dims the next view (Eq. 12) and tells the inpainter what to erase (Eq. 4).
        logits: what a final choice by votes averages; None is ``soft - 0.5``.
        details: how it came about, JSON-ready.
        pictures: of a traced sample, what was seen on the way.
    """

    hard: HardMask
    soft: SoftMask
    logits: Logits | None = None
    details: Details = field(default_factory=Details)
    pictures: Pictures = field(default_factory=dict)

    @classmethod
    def empty(cls, size: tuple[int, int]) -> Masks:
        """Nothing on an image of ``size`` (height, width)."""
        hard = np.zeros(size, dtype=np.bool_)
        return cls(hard, hard.astype(np.float32))

    @property
    def evidence(self) -> Logits:
        """What votes average; above 0 means object."""
        return self.soft - np.float32(0.5) if self.logits is None else self.logits


@dataclass(frozen=True)
class Iteration:
    """One iteration's masks, its prompt, and what was proposed and scored on the way.

    ``details`` is JSON-ready: candidates, scores, weights, boxes. ``pictures`` are those of a
    traced sample.
    """

    masks: Masks
    prompt: str
    box_image: Box | None = None
    details: Details = field(default_factory=Details)
    pictures: Pictures = field(default_factory=dict)


@dataclass(frozen=True)
class Prediction:
    """The segmentation of one sample: all its iterations, and which one it ends with.

    ``chosen[n - 1]`` is the index of the final mask if the run had stopped after n iterations, so
    that one run answers for every smaller number of iterations.
    """

    iterations: tuple[Iteration, ...]
    chosen: tuple[int, ...]

    @property
    def final(self) -> Iteration:
        """The iteration that the whole run ends with."""
        return self.iterations[self.chosen[-1]]
