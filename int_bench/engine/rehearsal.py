"""What a method will ask of the models, found by running it once on models that stand in.

The stand-ins answer at once and always find the same object in the middle of a small picture, so
that every step of a method is taken. How often a real model is asked depends on its answers too:
the numbers are those of an image whose object touches every patch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from int_bench.core.protocols import Method
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
    Score,
    Segment,
    Segmentation,
    SegmentConcept,
    Selection,
    SelectProposal,
    Similarity,
    TokenLogProbs,
)
from int_bench.core.types import HardMask, Image, Picture, Prediction, Sample, SoftMask
from int_bench.engine.broker import Broker
from int_bench.engine.jobs import Job

_SIDE = 48  # pixels
_ROLES = (
    "vlm",
    "inpainter",
    "detector",
    "segmenter",
    "concept_segmenter",
    "instance_segmenter",
    "aligner",
    "selector",
)


@dataclass(frozen=True)
class Rehearsal:
    """What was asked for one image, by ``<role>.<verb>``.

    Attributes:
        first: calls of the models in the first trial, of all methods together.
        further: calls in each further trial: what remembered answers do not spare.
        requests: how many requests each method makes, answered from memory or not; None where the
            method did not get to its end.
    """

    first: Counter[str]
    further: Counter[str]
    requests: tuple[int | None, ...]

    def calls(self, images: int, trials: int = 1) -> Counter[str]:
        """Calls of the models for so many images."""
        per_image = {key: self.first[key] + (trials - 1) * self.further[key] for key in self.first}
        return Counter({key: images * number for key, number in per_image.items()})


def rehearse(methods: Sequence[Method], task: str, trials: int = 1) -> Rehearsal:
    """Run methods on one picture with stand-ins for all models.

    Args:
        methods: as they will run, over one broker.
        task: the task-generic prompt.
        trials: of each; a second one shows what all further ones cost.
    """
    models: dict[str, Any] = dict.fromkeys(_ROLES, _StandIn())
    broker = Broker(models, in_flight=1)
    before: Counter[str] = Counter()
    parts: list[Counter[str]] = []
    requests: list[int | None] = []
    for trial in range(min(trials, 2)):
        jobs = [
            Job(index, partial(method.segment, _sample(method, task, trial)))
            for index, method in enumerate(methods)
        ]
        requests = [None] * len(jobs)
        with suppress(Exception):  # a method of somebody's may want more than stand-ins give
            for outcome in broker.run(jobs):
                assert isinstance(outcome.key, int)
                if isinstance(outcome.value, Prediction):
                    made = outcome.counters.items()
                    total = sum(n for name, n in made if name.endswith(".requests"))
                    requests[outcome.key] = total
        now = _rows(broker)
        parts.append(now - before)
        before = now
    return Rehearsal(parts[0], parts[-1], tuple(requests))


def _rows(broker: Broker) -> Counter[str]:
    made = broker.counters.items()
    return Counter(
        {n.removesuffix(".rows"): k for n, k in made if n.count(".") == 2 and n[-5:] == ".rows"}
    )


def _sample(method: Method, task: str, trial: int) -> Sample:
    """A picture without repetitions, so that no two patches are equal."""
    rows, columns = np.mgrid[:_SIDE, :_SIDE]
    pixels = np.stack([4 * rows, 4 * columns, rows + columns], axis=-1).astype(np.uint8)
    truth = _centre((_SIDE, _SIDE), 0) if getattr(method, "wants_truth", False) else None
    return Sample("rehearsal", Picture(pixels), task, trial, truth, "animal")


def _centre(size: tuple[int, int], narrower: int) -> HardMask:
    """The middle of a picture, (H, W) bool."""
    height, width = size
    mask = np.zeros(size, dtype=np.bool_)
    mask[height // 4 : height - height // 4, width // 4 + narrower % 5 : width - width // 4] = True
    return mask


class _StandIn:
    """Answers in every role, without computing anything; masks differ from call to call."""

    def __init__(self) -> None:
        self.identity: dict[str, Any] = {}
        self.counters: Counter[str] = Counter()
        self._masks = 0

    def answer(self, requests: Sequence[Answer]) -> list[str]:
        return [self._say(request.question) for request in requests]

    def contrast(self, requests: Sequence[ContrastiveAnswer]) -> list[str]:
        return [self._say(request.question) for request in requests]

    def score(self, requests: Sequence[Score]) -> list[TokenLogProbs]:
        return [
            tuple((-request.image.pixels.mean() / 255,) for _ in request.names)
            for request in requests
        ]

    def first_token(self, requests: Sequence[FirstToken]) -> list[NDArray[np.float32]]:
        return [np.array([0.5, 0.5], dtype=np.float32) for _ in requests]

    def inpaint(self, requests: Sequence[Inpaint]) -> list[Image]:
        filled = (np.where(r.mask.mask[..., None], 0, r.image.pixels) for r in requests)
        return [pixels.astype(np.uint8) for pixels in filled]

    def detect(self, requests: Sequence[Detect]) -> list[tuple[Detection, ...]]:
        sizes = [request.image.size for request in requests]
        return [(Detection((w / 4, h / 4, 3 * w / 4, 3 * h / 4), 0.9),) for h, w in sizes]

    def segment(self, requests: Sequence[Segment]) -> list[Segmentation]:
        return [self._segmentation(request.image.size) for request in requests]

    def proposals(self, requests: Sequence[Proposals]) -> list[tuple[Segmentation, ...]]:
        return [(self._segmentation(request.image.size),) * 3 for request in requests]

    def select(self, requests: Sequence[SelectProposal]) -> list[tuple[Selection, ...]]:
        return [
            tuple(Selection(0, (1.0,), (0.0, 0.0, 1.0, 1.0), 0) for _ in request.objects)
            for request in requests
        ]

    def segment_concept(self, requests: Sequence[SegmentConcept]) -> list[tuple[Segmentation, ...]]:
        return [(self._segmentation(request.image.size),) for request in requests]

    def instances(self, requests: Sequence[Instances]) -> list[tuple[InstanceMask, ...]]:
        return [(InstanceMask(_centre(r.image.size, 0), "animal", 0.9),) for r in requests]

    def heatmap(self, requests: Sequence[Heatmap]) -> list[SoftMask]:
        return [_centre((8, 8), 0).astype(np.float32) for _ in requests]

    def similarity(self, requests: Sequence[Similarity]) -> list[float]:
        return [float(request.image.pixels.mean() / 255) for request in requests]

    def _segmentation(self, size: tuple[int, int]) -> Segmentation:
        self._masks += 1
        mask = _centre(size, self._masks)
        return Segmentation(np.where(mask, 200, -200).astype(np.float32), 0.9)

    @staticmethod
    def _say(question: str) -> str:
        lowered = question.lower()
        if "box" in lowered:
            return "[0.25, 0.25, 0.75, 0.75]"
        return "leaves" if "environment" in lowered or "background" in lowered else "animal"
