"""What each part must offer. Protocols, not base classes: nothing to inherit.

A backbone is a function of its arguments: batch in, batch out, in the same order, no state that the
caller can see. It may keep private caches (image features, key-value prefixes, text features).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Generator, Iterable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from int_bench.core.requests import (
    Answer,
    ContrastiveAnswer,
    Detect,
    Detection,
    FirstToken,
    Heatmap,
    Inpaint,
    InstanceMask,
    Instances,
    Proposals,
    Request,
    Score,
    Segment,
    Segmentation,
    SegmentConcept,
    Selection,
    SelectProposal,
    Similarity,
    TokenLogProbs,
)
from int_bench.core.types import Image, Prediction, Sample, SoftMask

A = TypeVar("A")


class Backbone(Protocol):
    """What every model role offers besides its verbs."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides the answers: checkpoint, revision, dtype, options (JSON-ready)."""
        ...

    @property
    def counters(self) -> Counter[str]:
        """What the model really computed so far: forward passes, tokens, encodes (monotonic)."""
        ...


class VisionLanguageModel(Backbone, Protocol):
    """Eq. (1): autoregressive answers about an image, and the probability of given answers."""

    def answer(self, requests: Sequence[Answer]) -> list[str]:
        """One text per request, without special tokens."""
        ...

    def contrast(self, requests: Sequence[ContrastiveAnswer]) -> list[str]:
        """One text per request, decoded against the request's contrast."""
        ...

    def score(self, requests: Sequence[Score]) -> list[TokenLogProbs]:
        """Per request and name, the log-probability of each token, teacher-forced."""
        ...

    def first_token(self, requests: Sequence[FirstToken]) -> list[NDArray[np.float32]]:
        """Per request, the probabilities over the vocabulary of the answer's first token."""
        ...


class Inpainter(Backbone, Protocol):
    """Erases what a mask covers."""

    def inpaint(self, requests: Sequence[Inpaint]) -> list[Image]:
        """One image per request, at the request's size."""
        ...


class Detector(Backbone, Protocol):
    """Finds boxes of what a phrase names."""

    def detect(self, requests: Sequence[Detect]) -> list[tuple[Detection, ...]]:
        """Per request, detections best first, boxes in the frame of the request's image."""
        ...


class Segmenter(Backbone, Protocol):
    """Makes a mask from a box and points."""

    def segment(self, requests: Sequence[Segment]) -> list[Segmentation]:
        """One segmentation per request, at the request's size."""
        ...

    def proposals(self, requests: Sequence[Proposals]) -> list[tuple[Segmentation, ...]]:
        """Per request, all masks of its prompt, best first, at the request's size."""
        ...


class Selector(Backbone, Protocol):
    """Selects among proposals for objects of known class."""

    def select(self, requests: Sequence[SelectProposal]) -> list[tuple[Selection, ...]]:
        """Per request, a selection for each of its objects, in their order."""
        ...


class ConceptSegmenter(Backbone, Protocol):
    """Makes masks from a phrase alone."""

    def segment_concept(self, requests: Sequence[SegmentConcept]) -> list[tuple[Segmentation, ...]]:
        """Per request, the instances best first, logits at the size of the request's image."""
        ...


class InstanceSegmenter(Backbone, Protocol):
    """Finds the objects of the classes it was trained on, without a prompt."""

    def instances(self, requests: Sequence[Instances]) -> list[tuple[InstanceMask, ...]]:
        """Per request, the instances best first, masks at the size of the request's picture."""
        ...


class Aligner(Backbone, Protocol):
    """Aligns images and texts: Spatial CLIP heat maps and similarity."""

    def heatmap(self, requests: Sequence[Heatmap]) -> list[SoftMask]:
        """One coarse grid per request, 0..1."""
        ...

    def similarity(self, requests: Sequence[Similarity]) -> list[float]:
        """One cosine per request."""
        ...


class Gather(Generic[A]):
    """Awaiting it runs awaitables of one image side by side."""

    def __init__(self, awaitables: Iterable[Awaitable[A]]) -> None:
        self.awaitables = list(awaitables)

    def __await__(self) -> Generator[Gather[A], list[A], list[A]]:
        return (yield self)


def gather(awaitables: Iterable[Awaitable[A]]) -> Awaitable[list[A]]:
    """Run awaitables of one image side by side; their answers in the given order.

    The first error is raised and the others are dropped.
    """
    return Gather(awaitables)


class Ask(Protocol):
    """How a method reaches the models: ``answer = await ask(request)``."""

    def __call__(self, request: Request[A]) -> Awaitable[A]:
        """The request's answer, from the model or from an equal request made before."""
        ...


class Method(Protocol):
    """Segments ONE image; reads like Section 3 of the paper."""

    @property
    def roles(self) -> frozenset[str]:
        """The model roles that it can ask with its options; no others are built for it."""
        ...

    async def segment(self, sample: Sample, ask: Ask) -> Prediction:
        """The masks of all iterations and the one that is chosen."""
        ...
