"""PSNM, prompt selection with negative mining: erase the object, see which name it costs.

Section 3.1. A name that the image supports loses probability when the object is gone; a name that
the model hallucinates from the surroundings does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, cast

import numpy as np

from int_bench.core import equations, geometry
from int_bench.core.equations import Evidence
from int_bench.core.limits import Above, Share, Within
from int_bench.core.parsing import canonical, parse_names
from int_bench.core.protocols import Ask, gather
from int_bench.core.requests import Answer, FirstToken, Inpaint, Score
from int_bench.core.seeding import derive_seed
from int_bench.core.templates import AND, INPAINT_NEGATIVE, INPAINT_POSITIVE, NAME
from int_bench.core.types import HardMask, Masks, Picture, Pictures, Stencil
from int_bench.methods.candidate_generation import Pool
from int_bench.methods.cycle import State
from int_bench.methods.tracing import VIEW_SIDE, small_mask, small_view


@dataclass(frozen=True)
class Erased:
    """The patches without the object, X'_k; ``pictures`` of a traced sample."""

    patches: list[Picture]
    pictures: Pictures = field(default_factory=dict)


@dataclass(frozen=True)
class Mined:
    """What negative mining tells of each name in each patch.

    Attributes:
        difference: D_i, (K, C): Eq. (3); zeros if nothing is erased.
        before: p(c | X_k), (K, C); None where the reading has none.
        after: p(c | X'_k), (K, C); None likewise, or where nothing is erased.
        pictures: of a traced sample, what was erased.
    """

    difference: Evidence
    before: Evidence | None = None
    after: Evidence | None = None
    pictures: Pictures = field(default_factory=dict)


class Erasure:
    """Where and how the object is erased.

    Args:
        scope: ``image`` fills the whole image once per iteration and crops the patches from it;
            ``patch`` fills each patch (the literal Eq. 4, K times the cost).
        first_mask: what is erased before any mask exists. Reading: ``union_boxes``, the VLM's boxes
            of all patches, as the paper's introduction says; ``image_box``, the box of the whole
            image; ``none``, no negative mining in the first iteration.
        threshold: from the second iteration on the mask is M_{i-1} >= threshold ...
        dilation: ... grown by this share of the image's shorter side.
        max_cover: a union of boxes that covers more of the image than this is replaced by the box
            of the whole image, then by the smallest box. Reading: the paper is silent; an image
            that is erased as a whole tells nothing.
    """

    roles: ClassVar[frozenset[str]] = frozenset({"inpainter"})

    def __init__(
        self,
        scope: Literal["image", "patch"] = "image",
        first_mask: Literal["union_boxes", "image_box", "none"] = "union_boxes",
        threshold: Share = 0.5,
        dilation: Share = 0.03,
        max_cover: Share = 0.9,
    ) -> None:
        self.scope = scope
        self.first_mask = first_mask
        self.threshold = threshold
        self.dilation = dilation
        self.max_cover = max_cover

    def mask(self, pool: Pool, masks: Masks | None, size: tuple[int, int]) -> HardMask:
        """What to erase, (H, W) in the image frame; empty if there is nothing to erase."""
        # From the second iteration on: the last mask, grown.
        if masks is not None:
            return geometry.dilate(masks.soft >= self.threshold, self.dilation * min(size))
        # In the first: what the VLM's boxes cover, as long as something is left to see.
        boxes = [a.box_image for a in pool.answers if a.box_image is not None]
        union = np.zeros(size, dtype=np.bool_)
        if self.first_mask == "none" or not boxes:
            return union
        if self.first_mask == "union_boxes":
            for box_image in boxes:
                union |= geometry.fill_box(box_image, size)
            if union.mean() <= self.max_cover:
                return union
        smallest = min(boxes, key=geometry.area)
        chosen = geometry.fill_box(pool.whole_box or smallest, size)
        return chosen if chosen.mean() <= self.max_cover else geometry.fill_box(smallest, size)

    async def erase(self, state: State, pool: Pool, ask: Ask) -> Erased | None:
        """Eq. (4): the patches without the object, X'_k; None if there is nothing to erase.

        A patch that the mask does not touch comes back as it was, so that scoring it again costs
        nothing.
        """
        image = state.sample.image
        mask = self.mask(pool, state.masks, image.size)
        if not mask.any():
            return None
        task = state.sample.task
        texts = (
            INPAINT_POSITIVE.format(environment=", ".join(pool.environments)),
            INPAINT_NEGATIVE.format(name=", ".join(pool.names), task=task),
        )
        seed = derive_seed(state.sample.seed, "inpaint")
        seen: Pictures = {}
        if state.sample.traced:
            seen = {"hole": small_mask(mask, VIEW_SIDE)}
        if self.scope == "image":
            filled = await ask(Inpaint(image, Stencil(mask), *texts, seed))
            patches = [Picture(geometry.crop(filled, patch)) for patch in pool.patches]
            return Erased(patches, {**seen, "erased": small_view(filled)} if seen else {})
        patches = await gather(
            self._erase_patch(
                Picture(geometry.crop(image.pixels, p)),
                mask[p.y0 : p.y1, p.x0 : p.x1],
                texts,
                ask,
                derive_seed(seed, p.name),
            )
            for p in pool.patches
        )
        if seen:
            of = zip(pool.patches, patches, strict=True)
            seen = {**seen, **{f"erased_{p.name}": small_view(x.pixels) for p, x in of}}
        return Erased(patches, seen)

    @staticmethod
    async def _erase_patch(
        picture: Picture, mask: HardMask, texts: tuple[str, str], ask: Ask, seed: int
    ) -> Picture:
        if not mask.any():
            return picture
        return Picture(await ask(Inpaint(picture, Stencil(mask), *texts, seed)))


class PromptSelection:
    """Scores every candidate in every patch, before and after the object is erased.

    Args:
        erasure: where and how to erase.
        reading: what p(c | X) means, see ``equations.name_probabilities``; or ``vocab_max``, the
            literal largest difference over the whole vocabulary at the first token, credited to the
            patch's own answer; or ``sampled``, the share of sampled answers that give the name,
            drawn anew in each iteration. That is a condition with noise: where a model tells no
            probabilities, or to see what progress (Eq. 6, 7) averages out.
        clamp: see ``equations.differences``.
        compete: ``all`` scores the whole pool in every patch; ``own`` only what the patch proposed.
        negative: False scores p(c | X_k) alone, without erasing (the paper's ablation of PSNM).
        samples: answers per picture of ``sampled``; their seeds come from sample, iteration and
            picture.
        temperature: of those answers.
    """

    def __init__(  # noqa: PLR0913  (the options of Eq. 3 to 5)
        self,
        erasure: Erasure,
        reading: Literal[
            "seq_geo", "first_token", "seq_prob", "cand_softmax", "vocab_max", "sampled"
        ] = "seq_geo",
        clamp: Literal["relu", "abs", "none"] = "relu",
        compete: Literal["all", "own"] = "all",
        negative: bool = True,
        samples: Annotated[int, Within(1, 100)] = 3,
        temperature: Annotated[float, Above(0)] = 1.0,
    ) -> None:
        self.erasure = erasure
        self.reading = reading
        self.clamp = clamp
        self.compete = compete
        self.negative = negative
        self.samples = samples
        self.temperature = temperature

    @property
    def roles(self) -> frozenset[str]:
        """The model roles that it can ask: nothing is erased without negative mining."""
        return frozenset({"vlm"}) | (self.erasure.roles if self.negative else frozenset())

    async def mine(self, state: State, pool: Pool, ask: Ask) -> Mined:
        """Eq. (3) for each patch and candidate."""
        pixels = state.sample.image.pixels
        originals = [Picture(geometry.crop(pixels, patch)) for patch in pool.patches]
        if not self.negative:
            before = await self._score(state, pool, originals, ask)
            return Mined(self._own_only(before, pool), before)
        erased = await self.erasure.erase(state, pool, ask)
        if erased is None:
            return Mined(np.zeros((len(pool.patches), len(pool.candidates))))
        if self.reading == "vocab_max":
            largest = await self._vocab_max(state, pool, originals, erased.patches, ask)
            return Mined(largest, pictures=erased.pictures)
        # One batch for both sides: neither waits for the other's model call.
        scores = await self._score(state, pool, [*originals, *erased.patches], ask)
        before, after = scores[: len(originals)], scores[len(originals) :]
        fall = equations.differences(before, after, self.clamp)
        return Mined(self._own_only(fall, pool), before, after, erased.pictures)

    async def _score(self, state: State, pool: Pool, pictures: list[Picture], ask: Ask) -> Evidence:
        question = NAME.format(task=state.sample.task)
        if self.reading == "sampled":
            shares = (
                self._share(state, pool, picture, index, ask)
                for index, picture in enumerate(pictures)
            )
            return np.stack(await gather(shares))
        reading = "first_token" if self.reading == "vocab_max" else self.reading
        answers = await gather(ask(Score(p, question, pool.names)) for p in pictures)
        return np.stack([equations.name_probabilities(answer, reading) for answer in answers])

    async def _share(
        self, state: State, pool: Pool, picture: Picture, index: int, ask: Ask
    ) -> Evidence:
        """Share of sampled answers that give each candidate's name, (C,)."""
        question = NAME.format(task=state.sample.task)
        seeds = [
            derive_seed(state.sample.seed, "sampled", str(state.iteration), index, draw)
            for draw in range(self.samples)
        ]
        answers = await gather(
            ask(Answer(picture, question, temperature=self.temperature, seed=seed))
            for seed in seeds
        )
        named = [{canonical(name) for name in parse_names(answer)} for answer in answers]
        hits = [[set(c.key.split(AND)) <= names for c in pool.candidates] for names in named]
        return cast(Evidence, np.mean(hits, axis=0, dtype=np.float64))

    async def _vocab_max(
        self, state: State, pool: Pool, originals: list[Picture], erased: list[Picture], ask: Ask
    ) -> Evidence:
        question = NAME.format(task=state.sample.task)
        tokens = await gather(ask(FirstToken(p, question)) for p in [*originals, *erased])
        evidence = np.zeros((len(originals), len(pool.candidates)))
        for k in range(len(originals)):
            largest = float(np.max(tokens[k] - tokens[k + len(originals)]))
            for c, candidate in enumerate(pool.candidates):
                evidence[k, c] = largest if k in candidate.patches else 0.0
        return cast(Evidence, np.maximum(evidence, 0.0))

    def _own_only(self, evidence: Evidence, pool: Pool) -> Evidence:
        if self.compete == "all":
            return evidence
        own = [[k in c.patches for c in pool.candidates] for k in range(len(pool.patches))]
        return np.where(own, evidence, 0.0)
