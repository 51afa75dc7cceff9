"""Upper bounds: prompters that read the ground truth.

They bound what each half of a method can reach: with the true boxes what is lost is lost by the
masker, with the true name what is lost is not lost by prompt generation. Ours; INT's paper has no
such rows.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np

from int_bench.core import equations
from int_bench.core.geometry import component_boxes
from int_bench.core.limits import Share, Within
from int_bench.core.parsing import canonical, without
from int_bench.core.protocols import Ask, gather
from int_bench.core.requests import Point, Segment
from int_bench.core.seeding import derive_seed
from int_bench.core.types import Box, HardMask, Iteration, Masks, Prediction, Sample
from int_bench.errors import SampleError
from int_bench.methods.candidate_generation import CandidateGeneration, Pool, describe
from int_bench.methods.cycle import Proposal, State
from int_bench.methods.mask_generation import describe_prompts


class TruthBoxes:
    """The boxes of the ground truth, one for each connected object, the largest first.

    Args:
        smallest: components of fewer pixels than this share of the largest are left out, as specks
            of the annotation.
    """

    roles: ClassVar[frozenset[str]] = frozenset()
    wants_truth = True

    def __init__(self, smallest: Share = 0.05) -> None:
        self.smallest = smallest

    async def propose(self, state: State, ask: Ask) -> Proposal:
        """The true boxes.

        Raises:
            SampleError: the ground truth is missing or empty.
        """
        truth = state.sample.truth
        if truth is None or not truth.any():
            raise SampleError(f"Sample {state.sample.id} has no ground truth to take boxes from.")
        name = state.sample.truth_name or state.sample.task
        boxes = component_boxes(truth, self.smallest)
        return Proposal(name, boxes[0], more_boxes_image=boxes[1:])


class TruthName:
    """The name of the ground truth; what goes with a name comes from INT's own candidates.

    Reading: INT's masker also wants surroundings and a box to fall back on. They are the VLM's: the
    box is that of the first patch that proposed the true name, else that of the whole image.

    Args:
        generation: HCG, asked once.
    """

    wants_truth = True

    def __init__(self, generation: CandidateGeneration) -> None:
        self.generation = generation

    @property
    def roles(self) -> frozenset[str]:
        """The model roles that it can ask."""
        return self.generation.roles

    async def propose(self, state: State, ask: Ask) -> Proposal:
        """The true name.

        Raises:
            SampleError: the data set does not say what the image shows.
        """
        sample = state.sample
        if sample.truth_name is None:
            raise SampleError(f"Sample {sample.id} has no name of its object to take.")
        pool: Pool = state.memory or await self.generation.generate(sample, sample.image, ask)
        key = canonical(sample.truth_name)
        environments = without(pool.environments, key)
        box_image = _box_of(pool, key)
        details = describe(pool.answers, sample.traced)
        return Proposal(sample.truth_name, box_image, environments, pool, details)


def _box_of(pool: Pool, key: str) -> Box | None:
    proposed = (box for c in pool.candidates if c.key == key for box in c.boxes if box is not None)
    return next(proposed, pool.whole_box)


class TruthPoints:
    """A mask for one point of the truth, and again for other points of it.

    The first point is the annotated one, where the data set has any, else the middle of the truth;
    that mask is the method's. The others are drawn uniformly from the object, keyed by (sample,
    position): how far the masks differ is how much hangs on where somebody clicks.

    Args:
        positions: points, one mask each; masks of the further ones are kept as iterations.
        multimask: take the mask of highest predicted IoU of several, or else SAM's single one.
    """

    roles: ClassVar[frozenset[str]] = frozenset({"segmenter"})
    wants_truth = True

    def __init__(
        self, positions: Annotated[int, Within(1, 100)] = 5, multimask: bool = False
    ) -> None:
        self.positions = positions
        self.multimask = multimask

    async def segment(self, sample: Sample, ask: Ask) -> Prediction:
        """One iteration per point, of which the first is final.

        Raises:
            SampleError: the ground truth is missing or empty.
        """
        points = _points(sample, self.positions)
        requests = [Segment(sample.image, None, (p,), self.multimask) for p in points]
        answers = await gather(ask(request) for request in requests)
        iterations = []
        for point, answer in zip(points, answers, strict=True):
            logits = answer.logits
            masks = Masks(logits > 0, equations.sigmoid(logits), logits)
            details = describe_prompts((), (point,), traced=True)
            iterations.append(Iteration(masks, sample.truth_name or sample.task, None, details))
            sample.iterated()
        return Prediction(tuple(iterations), (0,) * len(iterations))


def _points(sample: Sample, count: int) -> list[Point]:
    """The annotated point of the sample's object, and uniform ones from its own pixels."""
    own = sample.objects[0].mask if sample.objects else sample.truth
    if own is None or not own.any():
        raise SampleError(f"Sample {sample.id} has no ground truth to take points from.")
    places = [sample.objects[0].point if sample.objects else _middle(own)]
    rows, columns = np.nonzero(own)
    for position in range(1, count):
        rng = np.random.default_rng(derive_seed("click", sample.id, position))
        drawn = int(rng.integers(len(rows)))
        places.append((float(columns[drawn]) + 0.5, float(rows[drawn]) + 0.5))
    return [Point(x, y, positive=True) for x, y in places]


def _middle(mask: HardMask) -> tuple[float, float]:
    """x, y of the pixel of the mask that is nearest to its mean."""
    rows, columns = np.nonzero(mask)
    away = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
    nearest = int(np.argmin(away))
    return float(columns[nearest]) + 0.5, float(rows[nearest]) + 0.5
