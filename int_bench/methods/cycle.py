"""The cycle: a prompter names the object, a masker segments it, the view is dimmed, and again.

INT and its predecessors differ in their parts, not in this loop. All memory of one image travels in
the state; prompters and maskers hold options only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Protocol

import numpy as np

from int_bench.core import equations
from int_bench.core.details import Details
from int_bench.core.limits import Share, Within
from int_bench.core.protocols import Ask
from int_bench.core.types import Box, Iteration, Masks, Picture, Pictures, Prediction, Sample
from int_bench.methods.final_choice import COSTS, cheapest
from int_bench.methods.tracing import small_view


@dataclass(frozen=True)
class State:
    """Where the cycle stands with one image.

    Attributes:
        sample: the image, never modified, and its task-generic prompt.
        view: X_i, what this iteration segments, rounded to 8 bits.
        iteration: i, from 0.
        masks: M_{i-1}; None in the first iteration.
        memory: what the prompter carried over; None in the first iteration.
    """

    sample: Sample
    view: Picture
    iteration: int = 0
    masks: Masks | None = None
    memory: Any = None


@dataclass(frozen=True)
class Proposal:
    """The instance-specific prompt: a name, its box in the image frame, and the surroundings.

    ``foreground`` are the texts for Spatial CLIP where they are not the name; ``more_boxes_image``
    the boxes of further objects. ``memory`` comes back in the next iteration's state; ``details``
    is JSON-ready; ``pictures`` are those of a traced sample.
    """

    name: str
    box_image: Box | None = None
    environments: tuple[str, ...] = ()
    memory: Any = None
    details: Details = field(default_factory=Details)
    foreground: tuple[str, ...] = ()
    more_boxes_image: tuple[Box, ...] = ()
    pictures: Pictures = field(default_factory=dict)

    @property
    def boxes_image(self) -> tuple[Box, ...]:
        """All boxes, the name's own first."""
        return (*((self.box_image,) if self.box_image else ()), *self.more_boxes_image)


class Prompter(Protocol):
    """From the task-generic prompt to the instance-specific prompt."""

    @property
    def roles(self) -> frozenset[str]:
        """The model roles that it can ask with its options."""
        ...

    async def propose(self, state: State, ask: Ask) -> Proposal:
        """The prompt of this iteration."""
        ...


class Masker(Protocol):
    """From the instance-specific prompt to masks."""

    @property
    def roles(self) -> frozenset[str]:
        """The model roles that it can ask with its options."""
        ...

    async def segment(self, state: State, proposal: Proposal, ask: Ask) -> Masks:
        """The masks of this iteration."""
        ...


class Cycle:
    """Iterates a prompter and a masker; Section 3.3.

    Args:
        prompter: names the object.
        masker: segments it.
        iterations: masks produced. Reading: the paper's four epochs follow an initial pass, hence
            five masks (seven for polyps); its table over iterations agrees with its headline at
            five.
        w: weight of the masked image in Eq. (12).
        base: what Eq. (12) dims: ``once``, ``original`` or ``recursive`` (`equations.reweight`).
        final: how the final mask is chosen, a key of ``final_choice.COSTS``: ``closest``
            (Eq. 13), ``last``, or a predecessor's rule.
    """

    def __init__(
        self,
        prompter: Prompter,
        masker: Masker,
        iterations: Annotated[int, Within(1, 100)] = 5,
        w: Share = 0.3,
        base: Literal["once", "original", "recursive"] = "once",
        final: Literal["closest", "closest_hard", "smallest", "last"] = "closest",
    ) -> None:
        self.prompter = prompter
        self.masker = masker
        self.iterations = iterations
        self.w = w
        self.base = base
        self.final = final

    @property
    def roles(self) -> frozenset[str]:
        """The model roles that its parts can ask."""
        return self.prompter.roles | self.masker.roles

    @property
    def wants_truth(self) -> bool:
        """Whether the prompter reads the ground truth: an upper bound, not a method."""
        return bool(getattr(self.prompter, "wants_truth", False))

    async def segment(self, sample: Sample, ask: Ask) -> Prediction:
        """Run all iterations on one image and choose the final mask."""
        state = State(sample, sample.image)
        view = sample.image.pixels.astype(np.float32)
        done: list[Iteration] = []
        for index in range(self.iterations):
            # Section 3.1: the instance-specific prompt. Section 3.2: its masks.
            proposal = await self.prompter.propose(state, ask)
            masks = await self.masker.segment(state, proposal, ask)
            done.append(_iteration(state, proposal, masks))
            sample.iterated()
            if index + 1 == self.iterations:
                break
            # Eq. (12): the next view. The models see it in 8 bits; it is kept in float.
            view = equations.reweight(sample.image.pixels, view, masks.soft, self.w, self.base)
            dimmed = Picture(np.rint(view).astype(np.uint8))
            state = State(sample, dimmed, index + 1, masks, proposal.memory)
        # Eq. (13), or a predecessor's rule: for each prefix of the iterations, how it would end.
        made = [iteration.masks for iteration in done]
        costs = [COSTS[self.final](made[:length]) for length in range(1, len(made) + 1)]
        return Prediction(_with_costs(done, costs), tuple(map(cheapest, costs)))


def _iteration(state: State, proposal: Proposal, masks: Masks) -> Iteration:
    details: Details = {**proposal.details, **masks.details}
    pictures = {**proposal.pictures, **masks.pictures}
    if state.sample.traced:
        pictures = {"view": small_view(state.view.pixels), **pictures}
    bare = replace(masks, details=Details(), pictures={})
    return Iteration(bare, proposal.name, proposal.box_image, details, pictures)


def _with_costs(
    done: Sequence[Iteration], costs: Sequence[Sequence[float]]
) -> tuple[Iteration, ...]:
    """Each iteration with what its mask costs among the first n, for every n that holds it."""
    return tuple(
        replace(iteration, details={**iteration.details, "costs": [c[i] for c in costs[i:]]})
        for i, iteration in enumerate(done)
    )
