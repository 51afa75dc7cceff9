"""HCG, hallucination-driven candidate generation: what a VLM believes to see in each patch.

Section 3.1. In a patch without the object, or with a part of it, the model answers from its prior
about the surroundings. Those answers are kept: they are hypotheses for negative mining to weed out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from int_bench.core.details import AnswerDetails, Details, PatchDetails
from int_bench.core.geometry import (
    Grid,
    Patch,
    Preprocess,
    crop,
)
from int_bench.core.limits import AtLeast
from int_bench.core.parsing import NO_NAMES, canonical, distinct, parse_names
from int_bench.core.protocols import Ask, gather
from int_bench.core.requests import Answer, Turn
from int_bench.core.seeding import derive_seed
from int_bench.core.templates import AND, CAPTION, CHATS
from int_bench.core.types import Box, Picture, Sample
from int_bench.methods.talk import describe_chat, read_box
from int_bench.methods.tracing import patch_box, plain_box


@dataclass(frozen=True)
class PatchAnswer:
    """What the VLM said about one patch; ``box_image`` is None where it gave no usable box.

    ``said`` is the whole chat, with a caption or whatever else was asked for.
    """

    patch: Patch
    names: tuple[str, ...]
    environment: str
    box_image: Box | None
    said: tuple[Turn, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """A name under its canonical key, as first written, and where it comes from.

    ``patches`` are the indices of the patches that proposed it, ``boxes`` their boxes (image
    frame).
    """

    key: str
    surface: str
    patches: tuple[int, ...]
    boxes: tuple[Box | None, ...]


@dataclass(frozen=True)
class Pool:
    """All candidates of one image, in order of first appearance, with their provenance."""

    answers: tuple[PatchAnswer, ...]
    candidates: tuple[Candidate, ...]

    @property
    def patches(self) -> tuple[Patch, ...]:
        """The patches that were asked about."""
        return tuple(answer.patch for answer in self.answers)

    @property
    def names(self) -> tuple[str, ...]:
        """The surface forms of the candidates."""
        return tuple(candidate.surface for candidate in self.candidates)

    @property
    def environments(self) -> tuple[str, ...]:
        """The distinct environments, in order of first appearance."""
        return distinct(a.environment for a in self.answers if a.environment)

    @property
    def first_choice(self) -> int:
        """The candidate that the first patch named; 0 if it named none.

        Where the whole image is among the patches it is the first. Reading: without it the paper
        is silent, and no patch is better than another before any evidence.
        """
        named = (i for i, candidate in enumerate(self.candidates) if 0 in candidate.patches)
        return next(named, 0)

    @property
    def whole_box(self) -> Box | None:
        """The VLM's box for the whole image; None without one, or where it is not a patch."""
        first = self.answers[0]
        return first.box_image if first.patch.name == "original" else None


class CandidateGeneration:
    """Asks about every patch and pools the answers.

    Args:
        grid: the patches.
        chat: which questions, a key of ``templates.CHATS``.
        caption: ask for a caption first. It is part of the chat only, never of the scoring context,
            where it would give the name away.
        several: what an answer with several names gives. Reading: the paper asks for "one word"
            and is silent; ``first`` takes the first, ``each`` makes each a candidate, ``joint``
            makes one candidate of all, "frog and owl", which is scored and segmented as a whole.
        temperature: 0 decodes greedily; above 0 samples with keyed seeds.
        preprocess: how the VLM makes a patch square (``pad``, ``center_crop``, ``squash``); the
            frame of its boxes.
    """

    roles: ClassVar[frozenset[str]] = frozenset({"vlm"})

    def __init__(
        self,
        grid: Grid,
        chat: Literal["int_chat", "paper_literal", "promac"] = "int_chat",
        caption: bool = False,
        several: Literal["first", "each", "joint"] = "first",
        temperature: Annotated[float, AtLeast(0)] = 0.0,
        preprocess: Preprocess = "pad",
    ) -> None:
        self.grid = grid
        self.turns = ((("caption", CAPTION),) if caption else ()) + CHATS[chat]
        self.several = several
        self.temperature = temperature
        self.preprocess = preprocess

    async def generate(self, sample: Sample, view: Picture, ask: Ask, salt: int = 0) -> Pool:
        """Eq. (2): names, environments and boxes of every patch of ``view``.

        Args:
            sample: gives the task-generic prompt and the seed.
            view: the image to ask about.
            ask: the models.
            salt: distinguishes repeated sampling of the same image; unused when greedy.
        """
        patches = self.grid.cut(view.size)
        answers = await gather(self._answer(sample, view, patch, ask, salt) for patch in patches)
        return Pool(tuple(answers), self._pool(answers, sample.task))

    async def _answer(
        self, sample: Sample, view: Picture, patch: Patch, ask: Ask, salt: int
    ) -> PatchAnswer:
        picture = Picture(crop(view.pixels, patch))
        turns: list[Turn] = []
        said: dict[str, str] = {}
        for field, template in self.turns:
            question = template.format(task=sample.task)
            seed = (
                derive_seed(sample.seed, "answer", patch.name, len(turns), salt)
                if self.temperature > 0
                else 0
            )
            request = Answer(
                picture, question, tuple(turns), temperature=self.temperature, seed=seed
            )
            text = await ask(request)
            turns.append(Turn(question, text))
            said[field] = text
        return self._parse(patch, said, tuple(turns))

    def _parse(self, patch: Patch, said: dict[str, str], chat: tuple[Turn, ...]) -> PatchAnswer:
        names = parse_names(said.get("name", ""))
        environments = parse_names(said.get("environment", ""))
        if "name_and_environment" in said:
            words = parse_names(said["name_and_environment"])
            if len(words) == 1:  # no separator: as many words as there are
                words = tuple(words[0].split())
            names, environments = words[:-1] or words, words[1:][-1:]
        box_image = read_box(said["box"], patch, self.preprocess)
        return PatchAnswer(patch, names, environments[0] if environments else "", box_image, chat)

    def _names(self, names: tuple[str, ...], refused: Collection[str]) -> tuple[str, ...]:
        """The names that an answer puts into the pool, at most each once."""
        if self.several == "joint":
            kept = distinct(name for name in names if canonical(name) not in refused)
            return (AND.join(kept),) if kept else ()
        return names if self.several == "each" else names[:1]

    def _pool(self, answers: Sequence[PatchAnswer], task: str) -> tuple[Candidate, ...]:
        surfaces: dict[str, str] = {}
        provenance: dict[str, list[int]] = {}
        for index, answer in enumerate(answers):
            refused = NO_NAMES | {canonical(answer.environment), canonical(task), ""}
            for name in self._names(answer.names, refused):
                key = AND.join(sorted(map(canonical, name.split(AND))))
                if key not in refused:
                    surfaces.setdefault(key, name)
                    provenance.setdefault(key, []).append(index)
        if not surfaces:
            surfaces = {canonical(task): task}
            provenance = {canonical(task): list(range(len(answers)))}
        return tuple(
            Candidate(key, surfaces[key], tuple(ks), tuple(answers[k].box_image for k in ks))
            for key, ks in provenance.items()
        )


def describe(answers: Sequence[PatchAnswer], traced: bool, new: bool = True) -> Details:
    """The answers, for the record of a sample.

    Args:
        answers: what was said of each patch.
        traced: whether the patches go with them.
        new: whether this iteration asked; then the chats of a traced sample do, too.
    """
    described = [
        AnswerDetails(
            patch=answer.patch.name,
            names=list(answer.names),
            environment=answer.environment,
            box_image=plain_box(answer.box_image),
        )
        for answer in answers
    ]
    if not traced:
        return Details(answers=described)
    for item, answer in zip(described, answers if new else (), strict=new):
        item["said"] = describe_chat(answer.said)
    return Details(answers=described, patches=describe_patches(a.patch for a in answers))


def describe_patches(patches: Iterable[Patch]) -> list[PatchDetails]:
    """Where patches lie, for the record of a traced sample."""
    return [PatchDetails(patch=patch.name, box_image=patch_box(patch)) for patch in patches]
