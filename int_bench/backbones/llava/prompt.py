r"""From a chat about a picture to token ids, in segments that can be computed once and shared.

The text comes from the checkpoint's own chat template; without one, from Vicuna's
``USER: <image>\n{question} ASSISTANT: {answer}</s>``. It is always tokenised as a whole and then
cut, never tokenised in pieces, so that the ids are those of the library's processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from int_bench.backbones.common.lru import Lru
from int_bench.core.requests import Answer, ContrastiveAnswer, FirstToken, Score, Turn
from int_bench.core.types import Picture
from int_bench.errors import UsageError

VlmRequest = Answer | ContrastiveAnswer | Score | FirstToken
Ids = tuple[int, ...]
_Chat = tuple[tuple[Turn, ...], str]
"""What the text of a chat depends on: the earlier turns and the question."""

_PROBE = "answer"
_TEXTS_KEPT = 4096


@dataclass(frozen=True)
class Prompt:
    """A chat up to the place where the model answers.

    ``segments`` are the token ids, cut after the image token and then at the end of the prompt of
    each earlier turn. The image token itself is left out: the picture's features stand between the
    first segment and the second. The cuts follow from the chat alone, so equal beginnings of two
    chats have equal segments, which is what makes their keys and values shareable.
    """

    picture: Picture
    segments: tuple[Ids, ...]

    def key(self, depth: int) -> tuple[str, tuple[Ids, ...]]:
        """What decides the keys and values of segment ``depth``: picture and all ids so far."""
        return self.picture.digest, self.segments[: depth + 1]


class ChatFormat:
    """Renders and tokenises chats for one checkpoint's processor, each distinct text once."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        self._tokenizer = processor.tokenizer
        self._image_token: str = getattr(processor, "image_token", "<image>")
        self._image_id: int = self._tokenizer.convert_tokens_to_ids(self._image_token)
        self._chats: Lru[_Chat, tuple[Ids, ...]] = Lru(_TEXTS_KEPT)
        self._names: Lru[tuple[_Chat, tuple[str, ...]], list[Ids]] = Lru(_TEXTS_KEPT)

    def forget(self) -> None:
        """Drop what was tokenised."""
        self._chats.clear()
        self._names.clear()

    def prompt(self, request: VlmRequest) -> Prompt:
        """The prompt of a request.

        Raises:
            UsageError: the rendered chat does not hold exactly one image token.
        """
        chat = request.history, request.question
        segments = self._chats.get(chat)
        if segments is None:
            segments = self._segments(request)
            self._chats.put(chat, segments)
        return Prompt(request.image, segments)

    def _segments(self, request: VlmRequest) -> tuple[Ids, ...]:
        ids = self._ids(self._render(request.history, request.question))
        if ids.count(self._image_id) != 1:
            raise UsageError(
                f"The chat must hold the image token {self._image_token!r} once, it holds it "
                f"{ids.count(self._image_id)} times; correct the chat template or the question "
                f"{request.question!r}."
            )
        place = ids.index(self._image_id)
        behind = place + 1
        ends = {end for end in self._earlier_ends(request.history, ids) if end > behind}
        cuts = sorted({behind, *ends, len(ids)})
        later = [tuple(ids[start:end]) for start, end in pairwise(cuts)]
        return tuple(ids[:place]), *later

    @property
    def beginning(self) -> Ids:
        """What begins a text without picture and question: the beginning token, else the end's."""
        tokenizer = self._tokenizer
        first = tokenizer.bos_token_id
        return (int(tokenizer.eos_token_id if first is None else first),)

    def names(self, request: Score) -> list[Ids]:
        """The token ids of each candidate name, as they follow the prompt.

        The name is put where the template puts an answer, usually after one space, and the tokens
        are those of (prompt + space + name) behind those of the prompt. So a sentencepiece
        vocabulary yields "▁frog", a byte-level one "Ġfrog", a word-level one "frog": what the
        model itself would write there. Where a tokenizer merges across the border, the name is
        tokenised alone. An empty name has no tokens.
        """
        key = (request.history, request.question), request.names
        remembered = self._names.get(key)
        if remembered is not None:
            return remembered
        text = self._render(request.history, request.question)
        ids, space = self._ids(text), self._space(request.history, request.question, text)
        ids_of_names = [
            self._continuation(text, space, name.strip(), ids) for name in request.names
        ]
        self._names.put(key, ids_of_names)
        return ids_of_names

    def text(self, ids: Sequence[int]) -> str:
        """The answer that generated ids spell, without special tokens and outer blanks."""
        decoded = self._tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return str(decoded).strip()

    def _continuation(self, text: str, space: str, name: str, ids: list[int]) -> Ids:
        """The ids of one name behind the prompt ``text`` with ``ids``."""
        if not name:
            return ()
        full = self._ids(text + space + name)
        if full[: len(ids)] == ids:
            return tuple(full[len(ids) :])
        return tuple(self._tokenizer.encode(name, add_special_tokens=False))

    def _space(self, history: Sequence[Turn], question: str, text: str) -> str:
        """What the template puts between the prompt and an answer."""
        if self._processor.chat_template is None:
            return " "
        answered = self._template(_messages(history, question, _PROBE), prompt=False)
        behind = answered.removeprefix(text)
        if len(behind) == len(answered) or _PROBE not in behind:
            return "" if text[-1:].isspace() else " "
        return behind[: behind.index(_PROBE)]

    def _earlier_ends(self, history: Sequence[Turn], ids: list[int]) -> list[int]:
        """Where the prompt of each earlier turn ends in ``ids``, as far as the ids are the same."""
        prompts = (self._render(history[:n], turn.question) for n, turn in enumerate(history))
        return [_common(ids, self._ids(prompt)) for prompt in prompts]

    def _render(self, history: Sequence[Turn], question: str) -> str:
        """The chat as text, ending where the model answers."""
        if self._processor.chat_template is not None:
            return self._template(_messages(history, question), prompt=True)
        eos = self._tokenizer.eos_token or ""
        text, image = "", f"{self._image_token}\n"
        for turn in history:
            text += f"USER: {image}{turn.question} ASSISTANT: {turn.answer}{eos}"
            image = ""
        return f"{text}USER: {image}{question} ASSISTANT:"

    def _template(self, messages: list[dict[str, Any]], *, prompt: bool) -> str:
        """The messages in the checkpoint's own chat format."""
        rendered = self._processor.apply_chat_template(
            messages, add_generation_prompt=prompt, tokenize=False
        )
        return str(rendered)

    def _ids(self, text: str) -> list[int]:
        """Token ids with the tokenizer's own beginning, which a template may have written out."""
        bos = self._tokenizer.bos_token
        special = bos is None or not text.startswith(bos)
        return list(self._tokenizer(text, add_special_tokens=special)["input_ids"])


def _messages(
    history: Sequence[Turn], question: str, answer: str | None = None
) -> list[dict[str, Any]]:
    """The chat as a template wants it; the picture belongs to the first question."""
    texts = [text for turn in history for text in (turn.question, turn.answer)] + [question]
    if answer is not None:
        texts.append(answer)
    messages = [
        {"role": role, "content": [{"type": "text", "text": text}]}
        for role, text in zip(("user", "assistant") * len(texts), texts, strict=False)
    ]
    messages[0]["content"] = [{"type": "image"}, {"type": "text", "text": texts[0]}]
    return messages


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """The length of the common beginning."""
    for index, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return index
    return min(len(first), len(second))
