"""The values that pass between the parts: arrays, samples, predictions, and the requests to models.

Every model call is a value. A request holds what goes into the call and nothing else, is frozen and
hashable (images by content digest), and names the backbone role and verb that serve it. Equal
requests have equal answers, which is what lets the broker batch, memoise, count and trace them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

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
TokenLogProbs: TypeAlias = tuple[tuple[float, ...], ...]
"""For each candidate name, the natural-log probability of each of its tokens, teacher-forced."""

A = TypeVar("A")


def digest_of(array: NDArray[Any]) -> str:
    """Content digest of an array: shape, dtype and bytes (hex sha256)."""
    head = f"{array.shape}{array.dtype.str}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


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
        self.digest = digest_of(self.pixels)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]


class Stencil(_Content):
    """A hard mask, (H, W) bool, compared by content. Never modified after construction."""

    def __init__(self, mask: HardMask) -> None:
        self.mask = np.ascontiguousarray(mask)
        self.mask.setflags(write=False)
        self.digest = digest_of(self.mask)


class Request(Generic[A]):
    """A call to a model, as a value; ``A`` is the type of its answer."""

    role: ClassVar[str]
    verb: ClassVar[str]


@dataclass(frozen=True)
class Turn:
    """One earlier question and its answer in a chat about the same image."""

    question: str
    answer: str


@dataclass(frozen=True)
class Answer(Request[str]):
    """Ask the vision-language model a question about an image; the answer is its text.

    ``temperature`` 0 decodes greedily; above 0 it samples with a generator seeded by ``seed``.
    """

    role: ClassVar[str] = "vlm"
    verb: ClassVar[str] = "answer"
    image: Picture
    question: str
    history: tuple[Turn, ...] = ()
    max_tokens: int = 64
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class ContrastiveAnswer(Request[str]):
    """Ask about an image, against what the model would say anyway; the answer is its text.

    Each token is chosen by the logits (1 + alpha) L - alpha L', L' being those for ``contrast``
    behind the same question and history. Tokens whose probability under L is below
    ``plausibility`` times the largest are ruled out.

    ``contrast`` None is a branch that sees neither image nor question: the beginning of a text and
    the answer so far.
    """

    role: ClassVar[str] = "vlm"
    verb: ClassVar[str] = "contrast"
    image: Picture
    contrast: Picture | None
    question: str
    history: tuple[Turn, ...] = ()
    alpha: float = 1.0
    plausibility: float = 0.0
    max_tokens: int = 64
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Score(Request[TokenLogProbs]):
    """Teacher-forced log-probabilities of each name's tokens as the answer to a question."""

    role: ClassVar[str] = "vlm"
    verb: ClassVar[str] = "score"
    image: Picture
    question: str
    names: tuple[str, ...]
    history: tuple[Turn, ...] = ()


@dataclass(frozen=True)
class FirstToken(Request[NDArray[np.float32]]):
    """Probabilities over the whole vocabulary, (V,), of the first token of an answer."""

    role: ClassVar[str] = "vlm"
    verb: ClassVar[str] = "first_token"
    image: Picture
    question: str
    history: tuple[Turn, ...] = ()


@dataclass(frozen=True)
class Inpaint(Request[Image]):
    """Fill the masked region of an image; pixels outside the (feathered) mask stay as they are.

    The answer has the size of ``image``. ``mask`` is in the frame of ``image``.
    """

    role: ClassVar[str] = "inpainter"
    verb: ClassVar[str] = "inpaint"
    image: Picture
    mask: Stencil
    prompt: str
    negative_prompt: str
    seed: int


@dataclass(frozen=True)
class Detection:
    """A box in the frame of the image that was asked about, with its confidence in 0..1."""

    box: Box
    score: float


@dataclass(frozen=True)
class Detect(Request[tuple[Detection, ...]]):
    """Boxes of what ``text`` names ("frog."), best first, scored at least the threshold."""

    role: ClassVar[str] = "detector"
    verb: ClassVar[str] = "detect"
    image: Picture
    text: str
    box_threshold: float = 0.30
    text_threshold: float = 0.25


@dataclass(frozen=True)
class Point:
    """A prompt point in pixels of the image that was asked about; ``positive`` means object."""

    x: float
    y: float
    positive: bool


@dataclass(frozen=True)
class Segmentation:
    """Mask logits at the size of the image that was asked about, and the predicted IoU in 0..1."""

    logits: Logits
    iou: float


@dataclass(frozen=True)
class Segment(Request[Segmentation]):
    """A mask from one box and/or points; with ``multimask`` the one of highest predicted IoU."""

    role: ClassVar[str] = "segmenter"
    verb: ClassVar[str] = "segment"
    image: Picture
    box: Box | None = None
    points: tuple[Point, ...] = ()
    multimask: bool = True


@dataclass(frozen=True)
class SegmentConcept(Request[tuple[Segmentation, ...]]):
    """Masks of everything that a phrase names, best first, scored at least the threshold.

    Of each answer ``iou`` is the confidence of the instance.
    """

    role: ClassVar[str] = "concept_segmenter"
    verb: ClassVar[str] = "segment_concept"
    image: Picture
    text: str
    threshold: float = 0.5


@dataclass(frozen=True)
class Heatmap(Request[SoftMask]):
    """Spatial CLIP: where the foreground texts are and the background texts are not.

    The answer is a coarse grid over the image squashed to the model's square, (g, g), 0..1.
    """

    role: ClassVar[str] = "aligner"
    verb: ClassVar[str] = "heatmap"
    image: Picture
    foreground: tuple[str, ...]
    background: tuple[str, ...] = ()


@dataclass(frozen=True)
class Similarity(Request[float]):
    """Cosine of image and text features, -1..1."""

    role: ClassVar[str] = "aligner"
    verb: ClassVar[str] = "similarity"
    image: Picture
    text: str


@dataclass(frozen=True)
class Sample:
    """One image of a data set, as a method sees it.

    ``truth`` and ``truth_name`` are read by the oracle methods only.
    """

    id: str
    image: Picture
    task: str
    seed: int
    truth: HardMask | None = None
    truth_name: str | None = None


@dataclass(frozen=True)
class Iteration:
    """One iteration's masks (image frame), its prompt, and what was proposed and scored on the way.

    ``details`` is JSON-ready: candidates, scores, weights, boxes.
    """

    hard: HardMask
    soft: SoftMask
    prompt: str
    box_image: Box | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


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
