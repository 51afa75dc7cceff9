"""The calls of models as values, and their answers.

A request holds what goes into the call and nothing else, is frozen and hashable (images by content
digest), and names the backbone role and verb that serve it. Equal requests have equal answers,
which is what lets the broker batch, memoise, count and trace them.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from int_bench.core.types import Box, HardMask, Image, Logits, Picture, SoftMask, Stencil

TokenLogProbs: TypeAlias = tuple[tuple[float, ...], ...]
"""For each candidate name, the natural-log probability of each of its tokens, teacher-forced."""

A = TypeVar("A")


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
class Proposals(Request[tuple[Segmentation, ...]]):
    """All masks of several granularities that a prompt makes, by falling predicted IoU."""

    role: ClassVar[str] = "segmenter"
    verb: ClassVar[str] = "proposals"
    image: Picture
    points: tuple[Point, ...] = ()
    box: Box | None = None


@dataclass(frozen=True)
class ObjectBag:
    """An object as point supervision knows it, and what was proposed for it.

    Attributes:
        category: its class, by name.
        point: x, y in pixels of the image.
        boxes: the tight rectangle of each proposal's mask, in pixels; None where it is empty.
    """

    category: str
    point: tuple[float, float]
    boxes: tuple[Box | None, ...]


@dataclass(frozen=True)
class Selection:
    """Which proposal an object gets.

    Attributes:
        index: of the proposal.
        scores: of all proposals for the object's class, 0..1.
        box: that was selected and mined, in pixels; near that of the proposal, not equal to it.
        psm: the proposal that the first stage alone selects.
    """

    index: int
    scores: tuple[float, ...]
    box: Box
    psm: int


@dataclass(frozen=True)
class SelectProposal(Request[tuple[Selection, ...]]):
    """A proposal for each object of an image.

    They are asked for together: one that reaches into another object of its class is scored down.
    """

    role: ClassVar[str] = "selector"
    verb: ClassVar[str] = "select"
    image: Picture
    objects: tuple[ObjectBag, ...]


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


@dataclass(frozen=True, eq=False)
class InstanceMask:
    """One object of a picture: (H, W) bool at its size, its class by name, confidence in 0..1."""

    mask: HardMask
    category: str
    score: float


@dataclass(frozen=True)
class Instances(Request[tuple[InstanceMask, ...]]):
    """All objects of a picture, best first, of the classes that the model was trained on."""

    role: ClassVar[str] = "instance_segmenter"
    verb: ClassVar[str] = "instances"
    image: Picture


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


def key_of(request: Request[Any]) -> Hashable:
    """What identifies a request: its type and fields, images and masks by content digest."""
    kind: Any = type(request)
    values = [getattr(request, name) for name in _names(kind)]
    return kind, *[v.digest if isinstance(v, _DIGESTED) else v for v in values]


@cache
def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(item.name for item in fields(kind))


_DIGESTED = (Picture, Stencil)
