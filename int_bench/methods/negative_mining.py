"""PNM, progressive negative mining: the evidence of all iterations, multiplied, picks the name.

Section 3.1. A wrong name may win once by luck; it does not win every time. This prompter puts the
three parts of prompt generation together: candidates (HCG), negative mining (PSNM), accumulation
(PNM).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from int_bench.core import equations
from int_bench.core.details import CandidateDetails, Details
from int_bench.core.equations import Evidence
from int_bench.core.limits import Share
from int_bench.core.parsing import without
from int_bench.core.protocols import Ask
from int_bench.core.types import Box
from int_bench.methods.candidate_generation import (
    Candidate,
    CandidateGeneration,
    Pool,
    describe,
)
from int_bench.methods.cycle import Proposal, State
from int_bench.methods.prompt_selection import Mined, PromptSelection


@dataclass(frozen=True)
class Memory:
    """What one iteration hands to the next.

    Attributes:
        pool: the candidates.
        weights: the weights of Eq. (6), (1, C) or (K, 1).
        first: the first iteration's proposal, for ``freeze_first``.
    """

    pool: Pool
    weights: Evidence
    first: Proposal | None = None


@dataclass(frozen=True)
class Progress:
    """How evidence passes from one iteration to the next.

    Attributes:
        mode: ``progressive`` (Eq. 7); ``independent`` uses each iteration's differences alone (the
            paper's ablation of PNM); ``freeze_first`` keeps the first iteration's prompt.
        over: ``category`` or ``patch``, see ``equations.normalise``.
        floor: see ``equations.accumulate``.
    """

    mode: Literal["progressive", "independent", "freeze_first"] = "progressive"
    over: Literal["category", "patch"] = "category"
    floor: Share = 0.01


class NegativeMining:
    """INT's prompter.

    Args:
        generation: HCG.
        selection: PSNM.
        progress: PNM.
        requery: ``once`` asks the VLM for candidates in the first iteration; ``each_iter`` asks
            again and keeps the union. Reading: with greedy decoding on the original image both are
            the same.
        vlm_image: ``original`` or ``reweighted``. Reading: Eq. (12) makes "the image for
            segmentation", so candidates are asked from the original.
    """

    def __init__(
        self,
        generation: CandidateGeneration,
        selection: PromptSelection,
        progress: Progress,
        requery: Literal["once", "each_iter"] = "once",
        vlm_image: Literal["original", "reweighted"] = "original",
    ) -> None:
        self.generation = generation
        self.selection = selection
        self.progress = progress
        self.requery = requery
        self.vlm_image = vlm_image

    @property
    def roles(self) -> frozenset[str]:
        """The model roles that its parts can ask."""
        return self.generation.roles | self.selection.roles

    async def propose(self, state: State, ask: Ask) -> Proposal:
        """The instance-specific prompt of this iteration."""
        memory: Memory | None = state.memory
        if memory is not None and memory.first is not None:
            return memory.first
        # Eq. (2): the candidates, and their weights so far.
        pool, weights = await self._candidates(state, memory, ask)
        # Eq. (3) and (4): what erasing the object costs each of them.
        mined = await self.selection.mine(state, pool, ask)
        difference = mined.difference
        told = difference.max() > 0.0
        # Eq. (7), (5) and (6): accumulate, choose, and normalise for the next iteration.
        evidence = (
            equations.accumulate(difference, weights, self.progress.floor) if told else weights
        )
        k, c = self._select(evidence, pool, told or state.iteration > 0)
        carry = equations.normalise(evidence, self.progress.over) if told else weights
        if self.progress.mode == "independent":
            carry = np.ones_like(carry)
        # The prompt: the winner's name and box, and the surroundings that are not the winner.
        box_image = self._box(difference[:, c], pool.candidates[c])
        traced, asked = state.sample.traced, memory is None or self.requery == "each_iter"
        details: Details = {
            **describe(pool.answers, traced, new=asked),
            "winning_patch": pool.patches[k].name,
            "candidates": _describe(pool, mined, carry, traced),
        }
        proposal = Proposal(
            pool.candidates[c].surface,
            box_image,
            without(pool.environments, pool.candidates[c].key),
            Memory(pool, carry),
            details,
            pictures=mined.pictures,
        )
        if self.progress.mode != "freeze_first":
            return proposal
        return replace(proposal, memory=Memory(pool, carry, proposal))

    async def _candidates(
        self, state: State, memory: Memory | None, ask: Ask
    ) -> tuple[Pool, Evidence]:
        if memory is not None and self.requery == "once":
            return memory.pool, memory.weights
        view = state.sample.image if self.vlm_image == "original" else state.view
        fresh = await self.generation.generate(state.sample, view, ask, state.iteration)
        if memory is None:
            shape = (1, len(fresh.candidates))
            over_patches = (len(fresh.patches), 1)
            return fresh, np.ones(shape if self.progress.over == "category" else over_patches)
        return merge(memory.pool, fresh), _extend(memory.weights, memory.pool, fresh)

    def _select(self, evidence: Evidence, pool: Pool, informed: bool) -> tuple[int, int]:
        """Patch and candidate of Eq. (5); without evidence what the VLM said of the whole image."""
        size = (len(pool.patches), len(pool.candidates))
        chosen = equations.select(np.broadcast_to(evidence, size)) if informed else None
        return chosen if chosen is not None else (0, pool.first_choice)

    @staticmethod
    def _box(column: Evidence, candidate: Candidate) -> Box | None:
        """The candidate's box from the patch that gives it the largest difference."""
        sources = zip(candidate.patches, candidate.boxes, strict=True)
        boxed = [(column[k], box_image) for k, box_image in sources if box_image is not None]
        return max(boxed, key=lambda pair: pair[0])[1] if boxed else None


def _describe(pool: Pool, mined: Mined, weights: Evidence, traced: bool) -> list[CandidateDetails]:
    """What an iteration's record says of the names."""
    shares = np.broadcast_to(weights, mined.difference.shape).max(axis=0)
    candidates = [
        CandidateDetails(
            name=candidate.surface,
            patches=[pool.patches[i].name for i in candidate.patches],
            difference=float(mined.difference[:, c].max()),
            weight=float(shares[c]),
        )
        for c, candidate in enumerate(pool.candidates)
    ]
    for c, item in enumerate(candidates if traced else ()):
        if mined.before is not None:
            item["before"] = mined.before[:, c].tolist()
        if mined.after is not None:
            item["after"] = mined.after[:, c].tolist()
    return candidates


def merge(old: Pool, new: Pool) -> Pool:
    """The union of two pools of the same patches; a name in both has its newest provenance."""
    by_key = {candidate.key: candidate for candidate in (*old.candidates, *new.candidates)}
    return Pool(new.answers, tuple(by_key.values()))


def _extend(weights: Evidence, old: Pool, new: Pool) -> Evidence:
    """Weights for a merged pool; a name not seen before gets the neutral share 1/|C|."""
    if weights.shape[0] != 1 or weights.shape[1] != len(old.candidates):
        return weights
    added = len(merge(old, new).candidates) - len(old.candidates)
    neutral = 1.0 / (len(old.candidates) + added)
    return np.concatenate([weights, np.full((1, added), neutral)], axis=1)
