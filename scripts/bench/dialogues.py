"""The vision-language part of one image, in the predecessor's order, and the plain way to run it.

Reading: the predecessor (ProMaC) asks four questions about every patch in every iteration, and from
the second iteration on decodes each answer against a second stream that sees the erased patch. As
released, that second stream lost its image (``generate`` drops arguments it does not know); here
it is repaired: the same answer is teacher-forced behind the same chat about the erased patch, which
is what INT's Eq. (3) needs. Every turn of either stream is a call of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from int_bench.backbones.common.square import to_square
from int_bench.backbones.llava.model import Llava, _mean_colour
from int_bench.core import templates
from int_bench.core.protocols import Ask, gather
from int_bench.core.requests import Answer, FirstToken, Score, TokenLogProbs, Turn
from int_bench.core.types import Picture
from int_bench.engine.broker import Broker
from int_bench.engine.jobs import Job
from scripts.bench.untrained.llava import TASK

QUESTIONS = (
    (templates.CAPTION.format(task=TASK), 16),
    (templates.NAME.format(task=TASK), 3),
    (templates.ENVIRONMENT.format(task=TASK), 3),
    (templates.BOX.format(task=TASK), 24),
)
"""The questions of one chat and the tokens of their answers, as in the predecessor's own log."""

Said = tuple[str, TokenLogProbs]


@dataclass(frozen=True)
class Patches:
    """The patches of one image: K originals, and K erased ones for each iteration but the first."""

    originals: tuple[Picture, ...]
    erased: tuple[tuple[Picture, ...], ...]

    @property
    def iterations(self) -> int:
        """T."""
        return len(self.erased) + 1


def draw_patches(patches: int, iterations: int, seed: int = 0, side: int = 48) -> Patches:
    """Noise; every picture is different."""
    draws = np.random.default_rng((seed, patches, iterations))
    pixels = draws.integers(0, 256, (iterations, patches, side, side, 3), dtype=np.uint8)
    rows = [tuple(Picture(picture) for picture in row) for row in pixels]
    return Patches(rows[0], tuple(rows[1:]))


async def converse(patches: Patches, ask: Ask) -> list[Said]:
    """All chats of one image; what was said and how probable it is without the object."""
    said: list[Said] = []
    for iteration in range(patches.iterations):
        erased: Sequence[Picture | None] = (
            patches.erased[iteration - 1] if iteration else [None] * len(patches.originals)
        )
        pairs = zip(patches.originals, erased, strict=True)
        chats = await gather(_chat(original, blank, ask) for original, blank in pairs)
        said += [turn for chat in chats for turn in chat]
    return said


async def _chat(original: Picture, erased: Picture | None, ask: Ask) -> list[Said]:
    turns: list[Turn] = []
    said: list[Said] = []
    for question, length in QUESTIONS:
        history = tuple(turns)
        text = await ask(Answer(original, question, history, max_tokens=length))
        falls: TokenLogProbs = ()
        if erased is not None:
            falls = await ask(Score(erased, question, (text,), history))
        said.append((text, falls))
        turns.append(Turn(question, text))
    return said


def engine(vlm: Llava, images: Sequence[Patches], most: int, in_flight: int) -> list[list[Said]]:
    """The chats of all images through the broker."""
    broker = Broker({"vlm": vlm}, max_batch=most, in_flight=in_flight)
    jobs = [Job(at, partial(converse, item)) for at, item in enumerate(images)]
    done = {outcome.key: outcome for outcome in broker.run(jobs)}
    for outcome in done.values():
        if outcome.error is not None:
            raise outcome.error
    return [done[at].value for at in range(len(images))]  # type: ignore[misc]


class PlainLlava:
    """The model of a ``Llava`` asked through transformers alone, batch 1, nothing kept.

    Every answer is one ``generate`` from the pixels on; every name is one forward pass of the whole
    prompt with the name behind it. ``counters``: ``vision_passes``, ``prefill_tokens`` (prompt
    positions), ``decode_steps`` and ``scored_tokens`` (passes and positions behind the prompt).
    """

    def __init__(self, vlm: Llava) -> None:
        loaded = vlm.ready
        self.identity = vlm.identity
        self.counters: Counter[str] = Counter()
        self.model: Any = loaded.model
        self._processor = loaded.processor
        self._preprocess = vlm.preprocess

    def answer(self, requests: Sequence[Answer]) -> list[str]:
        """One text per request, greedy, of exactly ``max_tokens`` tokens."""
        with torch.inference_mode():
            return [self._answer(request) for request in requests]

    def score(self, requests: Sequence[Score]) -> list[TokenLogProbs]:
        """One forward pass per name."""
        with torch.inference_mode():
            return [tuple(self._score(r, name) for name in r.names) for r in requests]

    def prompt_length(self, request: Answer | Score | FirstToken) -> int:
        """Tokens of the prompt, image tokens included."""
        return int(self._inputs(request, "")["input_ids"].shape[1])

    def _answer(self, request: Answer) -> str:
        inputs = self._inputs(request, "")
        length = self._count(inputs)
        written = self.model.generate(**inputs, do_sample=False, max_new_tokens=request.max_tokens)[
            0, length:
        ]
        # The prompt itself predicts the first token.
        self.counters["decode_steps"] += len(written) - 1
        text = self._processor.tokenizer.decode(written, skip_special_tokens=True)
        return str(text).strip()

    def _score(self, request: Score, name: str) -> tuple[float, ...]:
        inputs = self._inputs(request, f" {name}")
        length = self._count(inputs, behind=len(name.split()))
        ids = inputs["input_ids"][0, length:]
        logits = self.model(**inputs).logits[0, length - 1 : -1].float()
        picked: list[float] = torch.log_softmax(logits, -1)[range(len(ids)), ids].tolist()
        return tuple(picked)

    def _count(self, inputs: dict[str, Tensor], behind: int = 0) -> int:
        """Count one pass over a prompt; its length without the last ``behind`` tokens."""
        length = int(inputs["input_ids"].shape[1]) - behind
        self.counters["vision_passes"] += 1
        self.counters["prefill_tokens"] += length
        self.counters["scored_tokens"] += behind
        return length

    def _inputs(self, request: Answer | Score | FirstToken, behind: str) -> dict[str, Tensor]:
        """What the library's processor makes of picture and chat, on the model's device."""
        text, image = "", "<image>\n"
        for turn in request.history:
            text += f"USER: {image}{turn.question} ASSISTANT: {turn.answer} </s>"
            image = ""
        text += f"USER: {image}{request.question} ASSISTANT:{behind}"
        colour = _mean_colour(self._processor.image_processor)
        square = to_square(request.image.pixels, self._preprocess, colour)
        picture = PIL.Image.fromarray(square)
        inputs = self._processor(images=picture, text=text, return_tensors="pt")
        pixels = inputs["pixel_values"].to(self.model.dtype)
        return dict(inputs.to(self.model.device)) | {"pixel_values": pixels.to(self.model.device)}
