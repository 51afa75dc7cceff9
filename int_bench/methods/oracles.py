"""Upper bounds: prompters that read the ground truth.

They bound what each half of a method can reach: with the true boxes what is lost is lost by the
masker, with the true name what is lost is not lost by prompt generation. Ours; INT's paper has no
such rows.
"""

from __future__ import annotations

from typing import ClassVar

from int_bench.core.geometry import component_boxes
from int_bench.core.limits import Share
from int_bench.core.parsing import canonical, without
from int_bench.core.protocols import Ask
from int_bench.core.types import Box
from int_bench.errors import SampleError
from int_bench.methods.candidate_generation import CandidateGeneration, Pool, describe
from int_bench.methods.cycle import Proposal, State


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
