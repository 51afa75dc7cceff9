"""A chat with the VLM about one picture: turns, decoding, and what the answers are held against."""

from __future__ import annotations

from dataclasses import dataclass

from int_bench.core.protocols import Ask
from int_bench.core.requests import Answer, ContrastiveAnswer, Turn
from int_bench.core.seeding import derive_seed
from int_bench.core.types import Picture


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
