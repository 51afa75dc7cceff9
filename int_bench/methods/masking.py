"""Maskers that make one mask of the whole image: from boxes, points, a phrase, or from nothing.

Sources: Grounded-SAM's demo (Ren et al., arXiv 2401.14159), CLIP Surgery's demo (Li et al., arXiv
2304.05653), SAM (arXiv 2304.02643), SAM 3 (arXiv 2511.16719), SAPNet (arXiv 2312.15895).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np

from int_bench.core import equations
from int_bench.core.details import Details, DetectionDetails, InstanceDetails
from int_bench.core.geometry import run_lengths
from int_bench.core.limits import Share
from int_bench.core.protocols import Ask, gather
from int_bench.core.requests import Detect, Instances, Segment, SegmentConcept
from int_bench.core.templates import DETECT
from int_bench.core.types import Box, Logits, Masks, SoftMask
from int_bench.methods.cycle import Proposal, State
from int_bench.methods.mask_generation import describe_prompts, segment_whole
from int_bench.methods.points import PointPicker


class PromptedMask:
    """SAM from the prompt's own boxes; without any, from the box of the whole image.

    Args:
        multimask: take the mask of highest predicted IoU of several, as the predecessors do.
    """

    roles: ClassVar[frozenset[str]] = frozenset({"segmenter"})

    def __init__(self, multimask: bool = True) -> None:
        self.multimask = multimask

    async def segment(self, state: State, proposal: Proposal, ask: Ask) -> Masks:
        """The union of the masks of all boxes."""
        height, width = state.view.size
        boxes = proposal.boxes_image or ((0.0, 0.0, float(width), float(height)),)
        return await _from_boxes(state, boxes, self.multimask, ask)


class DetectedMask:
    """Grounded-SAM: the detector's boxes of the name, a SAM mask of each, their union.

    Without a detection the mask is empty, as in the demo.

    Args:
        box_threshold: smallest confidence of a detection, the demo's.
        text_threshold: smallest confidence of a word, the demo's.
        multimask: the demo takes SAM's single mask.
    """

    roles: ClassVar[frozenset[str]] = frozenset({"detector", "segmenter"})

    def __init__(
        self,
        box_threshold: Share = 0.30,
        text_threshold: Share = 0.25,
        multimask: bool = False,
    ) -> None:
        self.box_threshold = box_threshold
        self.text_threshold = text_threshold
        self.multimask = multimask

    async def segment(self, state: State, proposal: Proposal, ask: Ask) -> Masks:
        """The union of the masks of all detections."""
        text = DETECT.format(name=proposal.name.lower())
        detections = await ask(Detect(state.view, text, self.box_threshold, self.text_threshold))
        boxes = [detection.box for detection in detections]
        masks = await _from_boxes(state, boxes, self.multimask, ask)
        shown = [DetectionDetails(box_image=list(d.box), score=d.score) for d in detections]
        return replace(masks, details={**masks.details, "detections": shown})


class PointMask:
    """CLIP Surgery's points of the name and SAM, no box.

    Args:
        points: which cells become points.
    """

    def __init__(self, points: PointPicker) -> None:
        self.points = points

    @property
    def roles(self) -> frozenset[str]:
        """The model roles that it can ask."""
        return frozenset({"segmenter"}) | self.points.roles

    async def segment(self, state: State, proposal: Proposal, ask: Ask) -> Masks:
        """SAM's mask of highest predicted IoU for all points."""
        return await segment_whole(state, Proposal(proposal.name), self.points, ask)


class ConceptMask:
    """SAM 3: everything that the name denotes.

    Args:
        threshold: smallest confidence of an instance, the library's default for masks. Without any
            the mask is empty.
    """

    roles: ClassVar[frozenset[str]] = frozenset({"concept_segmenter"})

    def __init__(self, threshold: Share = 0.5) -> None:
        self.threshold = threshold

    async def segment(self, state: State, proposal: Proposal, ask: Ask) -> Masks:
        """The union of all instances."""
        instances = await ask(SegmentConcept(state.view, proposal.name, self.threshold))
        masks = _joined([instance.logits for instance in instances], state.view.size)
        shown = [DetectionDetails(box_image=None, score=instance.iou) for instance in instances]
        return replace(masks, details=Details(detections=shown))


class InstancesMask:
    """SAPNet at test time: the union of what an instance segmenter finds without a prompt.

    Every instance goes into the record with its mask, so that AP can be computed from it.

    Args:
        score: smallest confidence of an instance in the union. Reading: the paper gives none, its
            measure is AP; .3 is what the library of its code shows.
        category: ``any``, or ``task``: only instances of the class that the task prompt names.
    """

    roles: ClassVar[frozenset[str]] = frozenset({"instance_segmenter"})

    def __init__(self, score: Share = 0.3, category: Literal["any", "task"] = "any") -> None:
        self.score = score
        self.category = category

    async def segment(self, state: State, proposal: Proposal, ask: Ask) -> Masks:
        """The union; empty without an instance above the threshold."""
        instances = await ask(Instances(state.view))
        shown = [
            InstanceDetails(category=i.category, score=i.score, counts=run_lengths(i.mask))
            for i in instances
        ]
        kept = [
            instance
            for instance in instances
            if instance.score >= self.score
            and (self.category == "any" or instance.category == proposal.name)
        ]
        soft: SoftMask = np.zeros(state.view.size, dtype=np.float32)
        for instance in kept:
            soft = np.maximum(soft, instance.mask * np.float32(instance.score))
        return Masks(soft > 0, soft, details=Details(instances=shown))


async def _from_boxes(state: State, boxes: Sequence[Box], multimask: bool, ask: Ask) -> Masks:
    requests = [Segment(state.view, box, multimask=multimask) for box in boxes]
    answers = await gather(ask(request) for request in requests)
    masks = _joined([answer.logits for answer in answers], state.view.size)
    return replace(masks, details=describe_prompts(boxes, (), state.sample.traced))


def _joined(logits: Sequence[Logits], size: tuple[int, int]) -> Masks:
    """The union of masks: the pixel-wise maximum of their logits; empty without any."""
    if not logits:
        return Masks.empty(size)
    joined: Logits = np.maximum.reduce(list(logits))
    return Masks(joined > 0, equations.sigmoid(joined), joined)
