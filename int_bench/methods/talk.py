"""A chat with the VLM about a picture: turns, decoding, what answers are held against, boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from int_bench.core.details import SaidDetails
from int_bench.core.geometry import (
    Patch,
    box_image_from_patch,
    box_patch_from_square,
    padded_square,
)
from int_bench.core.parsing import parse_box
from int_bench.core.protocols import Ask
from int_bench.core.requests import Answer, ContrastiveAnswer, Turn
from int_bench.core.seeding import derive_seed
from int_bench.core.types import Box, Picture

_SMALLEST_SIDE = 2.0
"""Of a usable box, in pixels."""


@dataclass(frozen=True)
class Contrast:
    """What answers are held against, see ``requests.ContrastiveAnswer``.

    Attributes:
        picture: the picture without the object; None is a branch without any picture.
        alpha: strength.
        plausibility: share of the largest probability that a token needs.
    """

    picture: Picture | None
    alpha: float = 1.0
    plausibility: float = 0.0


class Talk:
    """Asks one question after the other; every answer becomes part of the history.

    Args:
        picture: what the chat is about.
        ask: the models.
        seed: of the whole chat; each turn samples with its own. Unused when greedy.
        temperature: 0 decodes greedily.
        contrast: None answers plainly.
    """

    def __init__(
        self,
        picture: Picture,
        ask: Ask,
        seed: int = 0,
        temperature: float = 0.0,
        contrast: Contrast | None = None,
    ) -> None:
        self.turns: list[Turn] = []
        self._picture = picture
        self._ask = ask
        self._seed = seed
        self._temperature = temperature
        self._contrast = contrast

    async def say(self, question: str) -> str:
        """The answer to the next question."""
        sampled = self._temperature > 0
        seed = derive_seed(self._seed, "turn", len(self.turns)) if sampled else 0
        text = await self._answer(question, seed)
        self.turns.append(Turn(question, text))
        return text

    async def _answer(self, question: str, seed: int) -> str:
        history, contrast = tuple(self.turns), self._contrast
        if contrast is None:
            request = Answer(
                self._picture, question, history, temperature=self._temperature, seed=seed
            )
            return await self._ask(request)
        return await self._ask(
            ContrastiveAnswer(
                self._picture,
                contrast.picture,
                question,
                history,
                contrast.alpha,
                contrast.plausibility,
                temperature=self._temperature,
                seed=seed,
            )
        )


def describe_chat(turns: Sequence[Turn]) -> list[SaidDetails]:
    """Questions and answers, for the record of a traced sample."""
    return [SaidDetails(question=turn.question, answer=turn.answer) for turn in turns]


def read_box(text: str, patch: Patch, frame: str) -> Box | None:
    """The box in an answer about a patch, in the image frame; None if there is no usable one.

    Args:
        text: the answer.
        patch: what the question was about.
        frame: how the patch had become square, see ``geometry.box_patch_from_square``.
    """
    side, _, _ = padded_square(patch.size)
    box_square = parse_box(text, side)
    if box_square is None:
        return None
    box_patch = box_patch_from_square(box_square, patch.size, frame)
    x0, y0, x1, y1 = box_patch
    usable = min(x1 - x0, y1 - y0) >= _SMALLEST_SIDE
    return box_image_from_patch(box_patch, patch) if usable else None
