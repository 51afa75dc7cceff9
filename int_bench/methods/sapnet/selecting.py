"""Which proposal of a bag becomes an object's mask: SAPNet's choice, and what it is compared with.

Source: SAPNet, Section 3 and the rows of its Table 7. All read the objects' points and classes from
the ground truth, as training does; the oracle reads the masks as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from int_bench.core.details import Details
from int_bench.core.instances import Instance
from int_bench.core.protocols import Ask, gather
from int_bench.core.requests import Segmentation, Selection, SelectProposal
from int_bench.core.types import Box, HardMask, Iteration, Masks, Prediction, Sample
from int_bench.errors import SampleError
from int_bench.methods.sapnet.proposing import Proposing, bag_of

Bag = tuple[Segmentation, ...]


class TopProposal:
    """SAM's mask of the point of highest predicted IoU; no class is looked at."""

    roles: ClassVar[frozenset[str]] = frozenset({"segmenter"})
    wants_truth = True

    async def segment(self, sample: Sample, ask: Ask) -> Prediction:
        """One mask.

        Raises:
            SampleError: the sample is no object.
        """
        own = own_object(sample)
        point_alone = Proposing("point3", "none")
        (request,) = point_alone.requests(sample.image, own)
        bag = await ask(request)
        return _prediction(bag, 0, own)


class BestProposal:
    """The proposal that overlaps the true mask most: what no selection can exceed.

    Args:
        proposing: what makes a bag.
    """

    roles: ClassVar[frozenset[str]] = frozenset({"segmenter"})
    wants_truth = True

    def __init__(self, proposing: Proposing) -> None:
        self.proposing = proposing

    async def segment(self, sample: Sample, ask: Ask) -> Prediction:
        """One mask.

        Raises:
            SampleError: the sample is no object.
        """
        own = own_object(sample)
        bag = await _bag(self.proposing, sample, own, ask)
        overlaps = [_iou(proposal.logits > 0, own.mask) for proposal in bag]
        return _prediction(bag, int(np.argmax(overlaps)), own)


class SelectedProposal:
    """SAPNet's selection: the selector chooses among the bags of all objects of the image.

    Args:
        proposing: what makes a bag.
        stage: ``last`` is all that the selector was trained with; ``psm`` its first stage alone.
    """

    roles: ClassVar[frozenset[str]] = frozenset({"segmenter", "selector"})
    wants_truth = True

    def __init__(self, proposing: Proposing, stage: Literal["last", "psm"] = "last") -> None:
        self.proposing = proposing
        self.stage = stage

    async def segment(self, sample: Sample, ask: Ask) -> Prediction:
        """One mask, with the selected box as the iteration's.

        Raises:
            SampleError: the sample is no object.
        """
        own = own_object(sample)
        # In one order for all objects of the image, so that all of them ask the same.
        instances = sorted(sample.objects, key=lambda instance: instance.id)
        bags = await gather([_bag(self.proposing, sample, known, ask) for known in instances])
        objects = tuple(map(bag_of, instances, bags))
        selections = await ask(SelectProposal(sample.image, objects))
        place = next(n for n, instance in enumerate(instances) if instance.id == own.id)
        selection, bag = selections[place], bags[place]
        if self.stage == "psm":
            return _prediction(bag, selection.psm, own)
        return _prediction(bag, selection.index, own, selection)


def own_object(sample: Sample) -> Instance:
    """The object that a sample is.

    Raises:
        SampleError: it is none.
    """
    if not sample.objects:
        raise SampleError(
            f"Sample {sample.id} has no annotated object with a point; choose a data set of "
            "objects, such as dataset=camoworld_crowd."
        )
    return sample.objects[0]


async def _bag(proposing: Proposing, sample: Sample, instance: Instance, ask: Ask) -> Bag:
    """All proposals for an object, prompt by prompt."""
    answers = await gather([ask(r) for r in proposing.requests(sample.image, instance)])
    return tuple(proposal for answer in answers for proposal in answer)


def _iou(first: HardMask, second: HardMask) -> float:
    union = int(np.count_nonzero(first | second))
    return int(np.count_nonzero(first & second)) / max(union, 1)


def _prediction(
    bag: Sequence[Segmentation], index: int, own: Instance, selection: Selection | None = None
) -> Prediction:
    logits = bag[index].logits
    hard = logits > 0
    soft = (1.0 / (1.0 + np.exp(-np.clip(logits, -60.0, 60.0)))).astype(np.float32)
    scores = [p.iou for p in bag] if selection is None else list(selection.scores)
    boxes = bag_of(own, bag).boxes
    details = Details(
        detections=[
            {
                "box_image": None if box is None else list(box),
                "score": float(score),
                "area": float(np.count_nonzero(proposal.logits > 0)),
            }
            for box, score, proposal in zip(boxes, scores, bag, strict=True)
        ]
    )
    box: Box | None = boxes[index] if selection is None else selection.box
    iteration = Iteration(Masks(hard, soft, logits), own.category, box, details)
    return Prediction((iteration,), (0,))
