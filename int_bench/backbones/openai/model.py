"""A vision-language model behind an endpoint that speaks OpenAI's chat completions.

For the GPT4V+SAM row of INT's tables, and for any server with the same interface. It answers
questions; it gives no token probabilities, so that methods that need them need a local model, or
take the share of sampled answers instead (``reading=sampled``).

Every answer is kept on disk under a hash of the request and the model, so that a run that is
repeated or resumed pays and waits for nothing twice.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from int_bench.backbones.common.model import Model
from int_bench.backbones.common.square import to_square
from int_bench.backbones.openai.http_chat import ChatClient, Pace, read_key
from int_bench.core.files import expanded
from int_bench.core.geometry import Preprocess
from int_bench.core.limits import Above, AtLeast, Count
from int_bench.core.requests import Answer, ContrastiveAnswer, FirstToken, Score, TokenLogProbs
from int_bench.core.types import Picture
from int_bench.errors import UsageError

if TYPE_CHECKING:
    from int_bench.core.protocols import VisionLanguageModel

_BAR_COLOUR = (122, 117, 104)


@dataclass(eq=False)
class OpenAI(Model):
    """A vision-language model that only answers.

    Args:
        model: the model's name at the endpoint.
        base_url: of the endpoint; ``/chat/completions`` is added to it.
        key_variable: the environment variable that holds the key; without a value none is sent.
        cache_dir: folder of remembered answers; None remembers nothing.
        timeout_s: seconds until an attempt is given up.
        retries: further attempts after a timeout, a rate limit, a server error or nonsense.
        requests_per_minute: most requests sent in a minute; 0 is no limit.
        max_side: larger squares are shrunk to this side, in pixels.
        preprocess: how a picture becomes the square that boxes refer to, see ``common.square``.
        max_batch: at most so many requests under way at once.

    Raises:
        UsageError: the key cannot be sent, or ``base_url`` is no http or https address.

    ``counters``: ``requests_sent`` (attempts), ``retries``, ``cache_hits``.
    """

    RUNTIME: ClassVar[tuple[str, ...]] = (
        "key_variable",
        "cache_dir",
        "timeout_s",
        "retries",
        "requests_per_minute",
        "max_batch",
    )
    REMOTE: ClassVar[bool] = True
    CANNOT: ClassVar[tuple[str, ...]] = ("contrast", "score", "first_token")

    model: str
    base_url: str = "https://api.openai.com/v1"
    key_variable: str = "OPENAI_API_KEY"
    cache_dir: str | None = "~/.cache/int-bench/answers"
    timeout_s: Annotated[float, Above(0)] = 60.0
    retries: Annotated[int, AtLeast(0)] = 4
    requests_per_minute: Annotated[int, AtLeast(0)] = 60
    max_side: Count = 1024
    preprocess: Preprocess = "pad"
    max_batch: Count = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        read_key(self.key_variable)  # a bad one is told before other models load
        self.base_url = self.base_url.rstrip("/")
        self._cache = expanded(self.cache_dir) if self.cache_dir else None
        self._lock = threading.Lock()
        self._client = ChatClient(
            f"{self.base_url}/chat/completions",
            self.timeout_s,
            self.retries,
            Pace(self.requests_per_minute),
            self._count,
        )

    def answer(self, requests: Sequence[Answer]) -> list[str]:
        """One text per request, outer blanks removed.

        Raises:
            SampleError: every attempt failed, or the model refused; with the reason.
            MissingAsset: the key is missing or not accepted, or there is no such model.
        """
        stopped = self._client.stopped
        answer = partial(self._answer, stopped)
        workers = min(self.max_batch, max(len(requests), 1))
        with ThreadPoolExecutor(workers) as pool, self._together(stopped):
            return list(pool.map(answer, requests))

    @contextmanager
    def _together(self, stopped: threading.Event) -> Iterator[None]:
        """An interrupt of one question, or of who waits for the answers, is one of all."""
        try:
            yield
        except KeyboardInterrupt:
            # A stop that came from elsewhere has ended them already, and another one would end
            # what has been asked since.
            if not stopped.is_set():
                self.stop()
            raise

    def stop(self) -> None:
        """Give up what is being asked now: the run has been interrupted."""
        self._client.stop()

    def contrast(self, requests: Sequence[ContrastiveAnswer]) -> list[str]:
        """Not possible.

        Raises:
            UsageError: always.
        """
        raise self._no_probabilities()

    def score(self, requests: Sequence[Score]) -> list[TokenLogProbs]:
        """Not possible.

        Raises:
            UsageError: always.
        """
        raise self._no_probabilities()

    def first_token(self, requests: Sequence[FirstToken]) -> list[NDArray[np.float32]]:
        """Not possible.

        Raises:
            UsageError: always.
        """
        raise self._no_probabilities()

    def _no_probabilities(self) -> UsageError:
        return UsageError(
            f"The endpoint {self.base_url} gives answers, not the probabilities that this method "
            f"needs; choose reading=sampled, method=vlm_api_sam or a local backbone/vlm."
        )

    def _answer(self, stopped: threading.Event, request: Answer) -> str:
        key = self._key(request)
        remembered = self._recall(key)
        if remembered is not None:
            self._count("cache_hits")
            return remembered
        with self._together(stopped):
            text = self._client.ask(self._body(request), read_key(self.key_variable), stopped)
        self._remember(key, request, text)
        return text

    def _key(self, request: Answer) -> str:
        """A hash of all that decides the answer; the picture by its fingerprint."""
        parts = {
            "backbone": "openai",
            "model": self.model,
            "base_url": self.base_url,
            "preprocess": self.preprocess,
            "max_side": self.max_side,
            "image": request.image.fingerprint,
            "turns": [[turn.question, turn.answer] for turn in request.history],
            "question": request.question,
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "seed": request.seed,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _recall(self, key: str) -> str | None:
        """The remembered answer; None if there is none or its file is damaged."""
        if self._cache is None:
            return None
        try:
            stored = json.loads((self._cache / f"{key}.json").read_text(encoding="utf-8"))
            return str(stored["answer"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _remember(self, key: str, request: Answer, text: str) -> None:
        if self._cache is None:
            return
        stored = {"model": self.model, "question": request.question, "answer": text}
        temporary = self._cache / f".{key}.{os.getpid()}.{threading.get_ident()}"
        try:
            self._cache.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(stored, ensure_ascii=False), encoding="utf-8")
            temporary.replace(self._cache / f"{key}.json")
        except OSError as error:
            raise UsageError(
                f"Answers cannot be kept in {self._cache} ({error.strerror}); set "
                f"backbone.vlm.cache_dir to a writable folder or to null."
            ) from error

    def _body(self, request: Answer) -> dict[str, Any]:
        """The request as the endpoint wants it; the picture belongs to the first question."""
        texts = [text for turn in request.history for text in (turn.question, turn.answer)]
        texts.append(request.question)
        messages: list[dict[str, Any]] = [
            {"role": "assistant" if index % 2 else "user", "content": text}
            for index, text in enumerate(texts)
        ]
        picture = {"type": "image_url", "image_url": {"url": self._data_url(request.image)}}
        messages[0]["content"] = [picture, {"type": "text", "text": texts[0]}]
        body: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
        }
        return body | ({"seed": request.seed % 2**31} if request.temperature > 0 else {})

    def _data_url(self, picture: Picture) -> str:
        """The square as a PNG in a URL."""
        square = PIL.Image.fromarray(to_square(picture.pixels, self.preprocess, _BAR_COLOUR))
        if square.width > self.max_side:
            square = square.resize((self.max_side, self.max_side), PIL.Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        square.save(buffer, "PNG")
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()

    def _count(self, name: str) -> None:
        with self._lock:
            self.counters[name] += 1


if TYPE_CHECKING:
    _check: type[VisionLanguageModel] = OpenAI
