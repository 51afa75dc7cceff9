"""GenSAM: a VLM's names for synonyms of the prompt, a heat map of them all, and SAM on its points.

Source: Hu et al., "Relax Image-Specific Prompt Requirement in SAM: A Single Generic Prompt for
Segmenting Camouflaged Objects", AAAI 2024, arXiv 2312.07374, as its released code behaves with
LLaVA-1.5.

Reading: its VLM sees the centre of the image only (the stock image processor); here it sees what
``backbone.vlm.preprocess`` says, as no box is asked for and nothing has to be mapped back. Its
optional early stop by the change of the masks is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from int_bench.core.details import AnswerDetails, Details
from int_bench.core.equations import min_max
from int_bench.core.geometry import area, component_boxes, enlarge
from int_bench.core.limits import AtLeast, Share
from int_bench.core.parsing import parse_names
from int_bench.core.protocols import Ask, gather
from int_bench.core.requests import Heatmap, Segment, Turn
from int_bench.core.seeding import derive_seed
from int_bench.core.templates import CAPTION, ENVIRONMENT, GENSAM_SYNONYMS, NAME
from int_bench.core.types import Box, HardMask, Masks
from int_bench.methods.cycle import Proposal, State
from int_bench.methods.mask_generation import describe_prompts
from int_bench.methods.points import PointPicker
from int_bench.methods.talk import Talk, describe_chat


@dataclass(frozen=True)
class _Words:
    synonym: str
    name: str
    environment: str
    said: tuple[Turn, ...]

    def described(self, traced: bool) -> AnswerDetails:
        """For the record of a sample."""
        details = AnswerDetails(
            patch="original",
            names=[self.name],
            environment=self.environment,
            box_image=None,
            task=self.synonym,
        )
        if traced:
            details["said"] = describe_chat(self.said)
        return details


class SynonymPrompter:
    """Asks for name and environment once per synonym of the task-generic prompt.

    Args:
        temperature: the released 0.2; 0 decodes greedily.
        requery: ``each_iter`` asks the original image anew in every iteration, as released; with
            greedy decoding the answers are remembered ones. ``once`` keeps the first answers.
        synonyms: replaces those of ``templates.GENSAM_SYNONYMS``. A task without any is asked for
            by its prompt alone.
    """

    roles: ClassVar[frozenset[str]] = frozenset({"vlm"})

    def __init__(
        self,
        temperature: Annotated[float, AtLeast(0)] = 0.2,
        requery: Literal["once", "each_iter"] = "each_iter",
        synonyms: Sequence[str] | None = None,
    ) -> None:
        self.temperature = temperature
        self.requery = requery
        self.synonyms = tuple(synonyms) if synonyms else None

    async def propose(self, state: State, ask: Ask) -> Proposal:
        """One name and one environment per synonym, all of them texts for the heat map."""
        words: list[_Words] | None = state.memory if self.requery == "once" else None
        if words is None:
            synonyms = self.synonyms or GENSAM_SYNONYMS.get(state.sample.task)
            tasks = synonyms or (state.sample.task,)
            words = await gather(self._ask_for(synonym, state, ask) for synonym in tasks)
        names = tuple(word.name for word in words)
        environments = tuple(word.environment for word in words if word.environment)
        return Proposal(
            names[0],
            environments=environments,
            memory=words,
            details=Details(answers=[word.described(state.sample.traced) for word in words]),
            foreground=names,
        )

    async def _ask_for(self, synonym: str, state: State, ask: Ask) -> _Words:
        seed = derive_seed(state.sample.seed, "synonym", synonym, state.iteration)
        talk = Talk(state.sample.image, ask, seed, self.temperature)
        await talk.say(CAPTION.format(task=synonym))
        names = parse_names(await talk.say(NAME.format(task=synonym)))
        environments = parse_names(await talk.say(ENVIRONMENT.format(task=synonym)))
        environment = environments[0] if environments else ""
        return _Words(synonym, names[0] if names else synonym, environment, tuple(talk.turns))


class HeatMapMask:
    """The heat map of the re-weighted view prompts SAM on the original image.

    From the second iteration on a box around the last mask goes with the points. The heat map, not
    the mask, dims the next view.

    Args:
        points: which cells become points.
        growth: share of its sides by which the box grows over the last mask.
    """

    roles: ClassVar[frozenset[str]] = frozenset({"aligner", "segmenter"})

    def __init__(self, points: PointPicker, growth: Share = 0.1) -> None:
        self.points = points
        self.growth = growth

    async def segment(self, state: State, proposal: Proposal, ask: Ask) -> Masks:
        """SAM's mask, and the heat map at the size of the image."""
        texts = proposal.foreground or (proposal.name,)
        heat = await ask(Heatmap(state.view, texts, proposal.environments))
        picked = self.points.pick(heat, state.view.size)
        box = box_around(state.masks.hard, self.growth) if state.masks is not None else None
        answer = await ask(Segment(state.sample.image, box, picked))
        details = describe_prompts((box,) if box else (), picked, state.sample.traced)
        soft = min_max(enlarge(heat, state.view.size))
        return Masks(answer.logits > 0, soft, answer.logits, details)


def box_around(mask: HardMask, growth: float) -> Box | None:
    """The bounding box, of all components, with the largest area, grown; None for an empty mask.

    As released, the near corner moves by ``growth`` of the box and then the far corner by
    ``growth`` of what that made of it.
    """
    if not mask.any():
        return None
    x0, y0, x1, y1 = max(component_boxes(mask), key=area)
    x0, y0 = max(0.0, x0 - growth * (x1 - x0)), max(0.0, y0 - growth * (y1 - y0))
    height, width = mask.shape
    x1 = min(float(width), x1 + growth * (x1 - x0))
    y1 = min(float(height), y1 + growth * (y1 - y0))
    return x0, y0, x1, y1
