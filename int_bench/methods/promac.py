"""ProMaC: chats about patches, held against what the model would say without the object.

Source: Hu et al., "Leveraging Hallucinations to Reduce Manual Prompt Dependency in Promptable
Segmentation", NeurIPS 2024, arXiv 2408.15205, and its released code. The masker is that of
``mask_generation`` with the VLM's own box; INT's Eq. (8) to (12) come from here.

As its paper intends and as its code behaves are two settings of the parts below; each deviation of
the code is an option of its own: ``Reasoning.branch``, ``View``, ``lists``, and the cycle's
``final``.

Reading: answers are parsed as tolerantly as everywhere here, where the code wants four decimals in
a row and fails on an empty answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from int_bench.core import geometry
from int_bench.core.geometry import Grid, Patch, Preprocess, box_square_from_patch
from int_bench.core.limits import AtLeast, Share
from int_bench.core.parsing import canonical, distinct, parse_names, without
from int_bench.core.protocols import Ask, gather
from int_bench.core.requests import Inpaint
from int_bench.core.seeding import derive_seed
from int_bench.core.templates import (
    CHATS,
    PROMAC_FINAL_BOX,
    PROMAC_NEGATIVE,
    PROMAC_POSITIVE,
    PROMAC_WHOLE_BOX,
    PROMAC_WHOLE_NAME,
)
from int_bench.core.types import Box, Image, Picture, Stencil
from int_bench.methods.candidate_generation import PatchAnswer, Pool, describe
from int_bench.methods.cycle import Proposal, State
from int_bench.methods.prompt_selection import Erasure
from int_bench.methods.talk import Contrast, Talk, read_box
from int_bench.methods.tracing import small_view


@dataclass(frozen=True)
class View:
    """What the VLM is shown of a patch, and how its boxes are read.

    Attributes:
        shown: ``whole``; or ``centre``, the centre square, which is what the stock image processor
            leaves of it in the released code.
        frame: what box answers are fractions of: ``pad``, ``center_crop`` or ``squash``, see
            ``geometry.box_patch_from_square``. The released code multiplies them by the width and
            height of the whole patch whatever was shown, which is ``squash``.
    """

    shown: Literal["whole", "centre"] = "whole"
    frame: Preprocess = "pad"

    def show(self, pixels: Image, patch: Patch) -> Picture:
        """The picture of a patch of ``pixels`` that the VLM is asked about."""
        picture = geometry.crop(pixels, patch)
        if self.shown == "centre":
            height, width = patch.size
            side = min(height, width)
            top, left = (height - side) // 2, (width - side) // 2
            picture = picture[top : top + side, left : left + side]
        return Picture(picture)


@dataclass(frozen=True)
class Reasoning:
    """Contrastive decoding, see ``requests.ContrastiveAnswer``.

    Attributes:
        branch: ``visual`` holds each answer against that for the picture without the object;
            ``text`` against a branch that sees no picture at all, as in the released code, where
            the second branch loses its embeddings on the way. Nothing has to be inpainted then.
        alpha: strength.
        plausibility: share of the largest probability that a token needs; the released code
            computes this cut and does not use it (0).
        temperature: of all answers; 0 decodes greedily.
        final_temperature: of the last chat, that gives name and box.
    """

    branch: Literal["visual", "text"] = "visual"
    alpha: Annotated[float, AtLeast(0)] = 1.0
    plausibility: Share = 0.1
    temperature: Annotated[float, AtLeast(0)] = 0.0
    final_temperature: Annotated[float, AtLeast(0)] = 0.0

    def against(self, erased: Picture | None) -> Contrast | None:
        """What answers are held against; None (nothing) where nothing was erased."""
        if self.branch == "text":
            return Contrast(None, self.alpha, self.plausibility)
        return Contrast(erased, self.alpha, self.plausibility) if erased else None


@dataclass(frozen=True)
class _Lists:
    """Names and surroundings as they enter texts: ``plain`` or Python's ``repr`` of lists."""

    style: str
    task: str
    names: tuple[str, ...]
    environments: tuple[str, ...]

    @property
    def plain(self) -> bool:
        return self.style == "plain"

    def write(self, words: Sequence[str]) -> str:
        """Distinct words joined by commas; or all of them as a list would print."""
        return ", ".join(distinct(words)) if self.plain else repr(list(words))

    @property
    def inpainting(self) -> tuple[str, str]:
        """Positive and negative prompt of the inpainter."""
        task = self.task if self.plain else repr([self.task])
        return (
            PROMAC_POSITIVE.format(environments=self.write(self.environments)),
            PROMAC_NEGATIVE.format(names=self.write(self.names), task=task),
        )

    def aligning(self, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Foreground and background texts of Spatial CLIP."""
        if not self.plain:
            return (repr([name]),), (self.write(self.environments),)
        return (name,), without(distinct(self.environments), canonical(name))


class ContrastivePrompter:
    """ProMaC's prompter.

    Args:
        grid: the patches; original and halves, as released.
        view: what the VLM is shown of them.
        reasoning: how it answers.
        erasure: what is erased: the union of all boxes, then wherever the last mask is not zero.
        lists: ``plain`` (distinct words) or ``repr`` (as released: Python lists with all repeats).
    """

    def __init__(
        self,
        grid: Grid,
        view: View,
        reasoning: Reasoning,
        erasure: Erasure,
        lists: Literal["plain", "repr"] = "plain",
    ) -> None:
        self.grid = grid
        self.view = view
        self.reasoning = reasoning
        self.erasure = erasure
        self.lists = lists

    @property
    def roles(self) -> frozenset[str]:
        """The model roles that it can ask: without a picture in the contrast nothing is erased."""
        visual = self.reasoning.branch == "visual"
        return frozenset({"vlm"}) | (self.erasure.roles if visual else frozenset())

    async def propose(self, state: State, ask: Ask) -> Proposal:
        """Name and box of this iteration.

        In the first iteration the patches are asked plainly, as nothing is known to be erased; in
        later ones the inpainter is prompted with the names of the iteration before.
        """
        earlier: Sequence[PatchAnswer] | None = state.memory
        if earlier is None:
            answers = await self._ask_patches(state, ask)
            erased = await self._erase(state, answers, ask)
        else:
            erased = await self._erase(state, earlier, ask)
            answers = await self._ask_patches(state, ask, erased)
        lists = self._lists(state, answers)
        name, box_image = await self._conclude(state, answers, erased, ask)
        foreground, background = lists.aligning(name)
        shown = erased if state.sample.traced else None
        return Proposal(
            name,
            box_image,
            background,
            answers,
            describe(answers, state.sample.traced),
            foreground,
            pictures={} if shown is None else {"erased": small_view(shown)},
        )

    def _lists(self, state: State, answers: Sequence[PatchAnswer]) -> _Lists:
        names = tuple(name for answer in answers for name in answer.names[:1])
        environments = tuple(a.environment for a in answers if a.environment)
        task = state.sample.task
        return _Lists(self.lists, task, names or (task,), environments)

    async def _ask_patches(
        self, state: State, ask: Ask, erased: Image | None = None
    ) -> list[PatchAnswer]:
        """Caption, name, surroundings and box of every patch, all in one chat each."""
        patches = self.grid.cut(state.sample.image.size)
        first = state.iteration == 0
        return await gather(
            self._ask_patch(state, p, None if first else self._against(erased, p), ask)
            for p in patches
        )

    async def _ask_patch(
        self, state: State, patch: Patch, contrast: Contrast | None, ask: Ask
    ) -> PatchAnswer:
        sample = state.sample
        seed = derive_seed(sample.seed, "patch", patch.name, state.iteration)
        picture = self.view.show(sample.image.pixels, patch)
        talk = Talk(picture, ask, seed, self.reasoning.temperature, contrast)
        chat = CHATS["promac"]
        said = {field: await talk.say(text.format(task=sample.task)) for field, text in chat}
        environments = parse_names(said["environment"])
        return PatchAnswer(
            patch,
            parse_names(said["name"]),
            environments[0] if environments else "",
            read_box(said["box"], patch, self.view.frame),
            tuple(talk.turns),
        )

    async def _conclude(
        self, state: State, answers: Sequence[PatchAnswer], erased: Image | None, ask: Ask
    ) -> tuple[str, Box | None]:
        """Name and box from chats about the whole image that list what the patches said.

        Without a box in the last answer that of the chat before is taken, then that of the first
        patch that gave one. Reading: what that chat is for is not said; it is asked as released.
        """
        sample, reasoning = state.sample, self.reasoning
        whole = Patch("original", 0, 0, sample.image.size[1], sample.image.size[0])
        picture = self.view.show(sample.image.pixels, whole)
        contrast = self._against(erased, whole)
        lists = self._lists(state, answers)
        words = {
            "task": sample.task,
            "names": lists.write(lists.names),
            "boxes": self._write_boxes(answers, whole),
        }
        seeds = [derive_seed(sample.seed, "whole", state.iteration, n) for n in (0, 1)]
        early = Talk(picture, ask, seeds[0], reasoning.temperature, contrast)
        late = Talk(picture, ask, seeds[1], reasoning.final_temperature, contrast)
        first = read_box(await early.say(PROMAC_WHOLE_BOX.format(**words)), whole, self.view.frame)
        names = parse_names(await late.say(PROMAC_WHOLE_NAME.format(**words)))
        box = read_box(await late.say(PROMAC_FINAL_BOX.format(**words)), whole, self.view.frame)
        proposed = (*names, *(name for answer in answers for name in answer.names), sample.task)
        boxes = (box, first, *(answer.box_image for answer in answers))
        return proposed[0], next((box_image for box_image in boxes if box_image is not None), None)

    def _write_boxes(self, answers: Sequence[PatchAnswer], whole: Patch) -> str:
        """The patches' boxes in the frame in which boxes are answered for the whole image."""
        precise = [
            box_square_from_patch(answer.box_image, whole.size, self.view.frame)
            for answer in answers
            if answer.box_image is not None
        ]
        boxes = [[round(value, 2) for value in box] for box in precise]
        if self.lists == "repr":
            return repr(boxes)
        return ", ".join("[" + ", ".join(f"{v:.2f}" for v in box) + "]" for box in boxes)

    def _against(self, erased: Image | None, patch: Patch) -> Contrast | None:
        picture = self.view.show(erased, patch) if erased is not None else None
        return self.reasoning.against(picture)

    async def _erase(self, state: State, answers: Sequence[PatchAnswer], ask: Ask) -> Image | None:
        """The image without the object; None if there is nothing to erase or nobody looks at it.

        As released, an image that is to be erased as a whole becomes black.
        """
        if self.reasoning.branch == "text":
            return None
        image = state.sample.image
        mask = self.erasure.mask(Pool(tuple(answers), ()), state.masks, image.size)
        if not mask.any():
            return None
        if mask.all():
            return np.zeros_like(image.pixels)
        texts = self._lists(state, answers).inpainting
        seed = derive_seed(state.sample.seed, "inpaint")
        return await ask(Inpaint(image, Stencil(mask), *texts, seed))
