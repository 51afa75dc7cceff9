"""Prompters that look once: the task-generic prompt itself, or the box that a VLM gives for it.

Sources: the rows GroundingSAM, CLIP_Surgery+SAM, LLaVA1.5+SAM and GPT4V+SAM of INT's Tables 1 and
2. Reading: the paper gives no recipe for them; each YAML says what it takes from the demo of the
model it uses.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from int_bench.core.details import AnswerDetails, Details
from int_bench.core.geometry import Patch, Preprocess
from int_bench.core.limits import AtLeast, Within
from int_bench.core.protocols import Ask
from int_bench.core.templates import BOX, ENDPOINT_BOX, ENDPOINT_BOX_AGAIN
from int_bench.errors import SampleError
from int_bench.methods.cycle import Proposal, State
from int_bench.methods.talk import Talk, describe_chat, read_box
from int_bench.methods.tracing import plain_box

QUESTIONS = {"int": BOX, "endpoint": ENDPOINT_BOX}


class GenericPrompt:
    """Takes the task-generic prompt for the name and looks at nothing."""

    roles: ClassVar[frozenset[str]] = frozenset()

    async def propose(self, state: State, ask: Ask) -> Proposal:
        """The task-generic prompt."""
        return Proposal(state.sample.task)


class BoxQuestion:
    """Asks the VLM for a box on the whole image.

    Args:
        question: ``int`` (INT's own box question) or ``endpoint`` (the same with the format spelled
            out, for models that were not trained on LLaVA's).
        attempts: how often it is asked; from the second time on for nothing but the box.
        no_box: what follows if no answer holds a box: ``whole`` takes the whole image, ``fail``
            records the sample as failed. Reading: the paper is silent; the large errors of its
            LLaVA1.5+SAM row fit the whole image.
        preprocess: how the VLM makes the image square; the frame of its boxes.
        temperature: 0 decodes greedily.
    """

    roles: ClassVar[frozenset[str]] = frozenset({"vlm"})

    def __init__(
        self,
        question: Literal["int", "endpoint"] = "int",
        attempts: Annotated[int, Within(1, 100)] = 1,
        no_box: Literal["whole", "fail"] = "whole",
        preprocess: Preprocess = "pad",
        temperature: Annotated[float, AtLeast(0)] = 0.0,
    ) -> None:
        self.question = question
        self.attempts = attempts
        self.no_box = no_box
        self.preprocess = preprocess
        self.temperature = temperature

    async def propose(self, state: State, ask: Ask) -> Proposal:
        """The box of the task-generic prompt.

        Raises:
            SampleError: no answer holds a box, and ``no_box`` is ``fail``.
        """
        sample = state.sample
        talk = Talk(sample.image, ask, sample.seed, self.temperature)
        whole = Patch("original", 0, 0, sample.image.size[1], sample.image.size[0])
        text = QUESTIONS[self.question]
        for _ in range(self.attempts):
            answer = await talk.say(text.format(task=sample.task))
            box_image = read_box(answer, whole, self.preprocess)
            if box_image is not None:
                break
            text = ENDPOINT_BOX_AGAIN
        if box_image is None and self.no_box == "fail":
            raise SampleError(
                f"The vlm gave no box in {self.attempts} attempts; its last answer: "
                f"{talk.turns[-1].answer[:120]!r}."
            )
        said = AnswerDetails(
            patch=whole.name,
            names=[],
            environment="",
            box_image=plain_box(box_image),
            said=describe_chat(talk.turns),
        )
        return Proposal(sample.task, box_image, details=Details(answers=[said]))
