"""LLaVA, the vision-language model that computes Eq. (1), on transformers' own classes.

Any checkpoint of ``AutoModelForImageTextToText`` that offers ``get_image_features`` and takes
``inputs_embeds``, with full attention in every layer of its language model:
``LlavaForConditionalGeneration`` (LLaVA-1.5 7B and 13B, the zoo's tiny one) and
``LlavaOnevisionForConditionalGeneration`` (which sees the padded square in its own tiles).

The answer is text and nothing else. A box in it is in fractions of the square that ``preprocess``
makes of the picture; whoever parses the text maps it back, so ``preprocess`` is public.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from types import MethodType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.utils import logging

import int_bench.backbones.llava.conv_tower  # noqa: F401  (registers the zoo's vision tower)
from int_bench.backbones.common.ahead import Ahead, Submit
from int_bench.backbones.common.batching import chunks
from int_bench.backbones.common.loading import refuse_incomplete, resolve
from int_bench.backbones.common.lru import Mebibytes, tensors
from int_bench.backbones.common.model import LocalModel
from int_bench.backbones.common.square import Colour, to_square
from int_bench.backbones.llava.budget import budget
from int_bench.backbones.llava.contrastive import Contrasted, decode
from int_bench.backbones.llava.engine import Engine, Writer
from int_bench.backbones.llava.flops import LanguageWork
from int_bench.backbones.llava.fused import fused
from int_bench.backbones.llava.kv_block import check_attention
from int_bench.backbones.llava.prompt import ChatFormat, VlmRequest
from int_bench.core.geometry import Preprocess
from int_bench.core.limits import Count
from int_bench.core.requests import (
    Answer,
    ContrastiveAnswer,
    FirstToken,
    Request,
    Score,
    TokenLogProbs,
)
from int_bench.core.types import Picture

R = TypeVar("R", bound=VlmRequest)
A = TypeVar("A")


@dataclass(eq=False)
class Llava(LocalModel):
    """A vision-language model that answers questions and scores names.

    Args:
        checkpoint: hub id, local folder, or ``zoo:llava``.
        revision, device, dtype: As of every `LocalModel`.
        max_batch: most requests that are computed together. With one request per call an answer
            does not depend on anything asked before, to the bit; in larger batches up to rounding.
        preprocess: how a picture becomes the square that boxes refer to (see ``common.square``).
        prefix_cache_mb: memory in MiB for keys and values that stay between calls. A 13B model in
            half precision needs 0.8 MiB a token, about 0.5 GiB a picture. None: on a CPU 1024; on
            CUDA what ``common.budget`` shares out of what is free at the first request.
        feature_cache_mb: memory in MiB for image tokens that stay between calls.
        max_side: shrink larger squares to this side before the processor sees them. A bound for
            LLaVA-OneVision, which cuts a large square into up to 36 tiles (about 7300 tokens);
            384 leaves one tile (about 1500). None: as large as they are.

    Raises:
        UsageError: the device is unknown; on first use: the language model's attention is not
            supported.
        MissingAsset: on first use: the checkpoint is missing, damaged or of another kind.

    ``counters``: ``vision_passes`` (pictures through the vision tower), ``prefill_tokens``,
    ``prefix_hits``, ``decode_steps``, ``scored_tokens`` (see ``Engine``).
    """

    ROLE: ClassVar[str] = "vlm"
    HOLDS: ClassVar[str] = "multi_modal_projector"
    RUNTIME: ClassVar[tuple[str, ...]] = (
        "device",
        "max_batch",
        "prefix_cache_mb",
        "feature_cache_mb",
    )
    PRECISION: ClassVar[dict[str, str]] = {"E1": "float16", "E2": "float16"}

    preprocess: Preprocess = "pad"
    prefix_cache_mb: Mebibytes | None = None
    feature_cache_mb: Mebibytes = 256
    max_side: Count | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._features = tensors(self.feature_cache_mb)
        self._seen: Ahead[dict[str, Tensor]] = Ahead()

    def answer(self, requests: Sequence[Answer]) -> list[str]:
        """One text per request, without special tokens and outer blanks.

        Greedy at temperature 0. Above 0 every token is drawn from the full softmax of
        logits / temperature with the request's own generator, so that neither the batch nor the
        order of requests changes a draw. Ends at the checkpoint's end tokens or ``max_tokens``;
        nothing else of its generation_config (sampling, penalties) is used.
        """
        return self._compute(requests, self._answer)

    def contrast(self, requests: Sequence[ContrastiveAnswer]) -> list[str]:
        """One text per request, decoded against the request's contrast (see ``contrastive``)."""
        return self._compute(requests, self._contrast)

    def score(self, requests: Sequence[Score]) -> list[TokenLogProbs]:
        """Per request and name, the natural-log probability of each of its tokens.

        Teacher-forced behind the question, softmax over the whole vocabulary in float32. Which
        tokens a name has: see ``ChatFormat.names``; end tokens are not scored.
        """
        return self._compute(requests, self._score)

    def first_token(self, requests: Sequence[FirstToken]) -> list[NDArray[np.float32]]:
        """Per request, the probabilities (V,) of the first token of the answer."""
        return self._compute(requests, self._first_token)

    def _answer(self, ready: _Ready, requests: Sequence[Answer]) -> list[str]:
        paths = ready.engine.prefill([ready.chat.prompt(request) for request in requests])
        writers = [
            Writer(request.max_tokens, ready.stop, request.temperature, request.seed)
            for request in requests
        ]
        return [ready.chat.text(ids) for ids in ready.engine.decode(paths, writers)]

    def _contrast(self, ready: _Ready, requests: Sequence[ContrastiveAnswer]) -> list[str]:
        pairs = [
            Contrasted(
                ready.chat.prompt(request),
                ready.chat.prompt(replace(request, image=request.contrast))
                if request.contrast
                else None,
                Writer(request.max_tokens, ready.stop, request.temperature, request.seed),
                request.alpha,
                request.plausibility,
            )
            for request in requests
        ]
        return [ready.chat.text(ids) for ids in decode(ready.engine, pairs, ready.chat.beginning)]

    def _score(self, ready: _Ready, requests: Sequence[Score]) -> list[TokenLogProbs]:
        paths = ready.engine.prefill([ready.chat.prompt(request) for request in requests])
        names = [ready.chat.names(request) for request in requests]
        return [tuple(row) for row in ready.engine.score(paths, names)]

    def _first_token(
        self, ready: _Ready, requests: Sequence[FirstToken]
    ) -> list[NDArray[np.float32]]:
        paths = ready.engine.prefill([ready.chat.prompt(request) for request in requests])
        logits = torch.stack([path[-1].logits for path in paths])
        return list(torch.softmax(logits, -1).cpu().numpy())

    def _compute(
        self,
        requests: Sequence[R],
        verb: Callable[[_Ready, Sequence[R]], list[A]],
    ) -> list[A]:
        """The answers of a verb to all requests, at most ``max_batch`` at once.

        Raises:
            OutOfMemory: the batch does not fit; what was kept between calls has been dropped.
            SampleError: a number is not finite; dropped likewise.
        """
        ready = self.ready
        most = ready.engine.rows_in_memory() if self.place.type == "cuda" else len(requests)
        with self.computing():
            return self.in_batches(
                requests,
                lambda rows: [
                    answer for part in chunks(rows, most) for answer in verb(ready, part)
                ],
            )

    def begin(self, request: Request[Any], submit: Submit) -> None:
        """The processor's work on the picture, unless its tokens are here."""
        picture: Picture = request.image  # type: ignore[attr-defined]
        if picture.digest not in self._features:
            self._seen.begin(picture.digest, request, partial(self._inputs, [picture]), submit)

    def load(self) -> _Loaded:
        """Model and processor by transformers' own loaders; weights from safetensors only.

        Raises:
            MissingAsset: some weights of the model are not in the checkpoint.
            UsageError: the language model's attention is not supported.
        """
        path, revision = resolve(self.checkpoint), self.revision or "main"
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        pair: Any = AutoModelForImageTextToText.from_pretrained(
            path,
            revision=revision,
            dtype=self.precision,
            attn_implementation="sdpa",
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        model, report = pair
        refuse_incomplete(self.ROLE, self.checkpoint, report)
        check_attention(model.config)
        processor = AutoProcessor.from_pretrained(  # type: ignore[no-untyped-call]
            path, revision=revision, trust_remote_code=False
        )
        model = model.to(self.place).eval().requires_grad_(False)
        return _Loaded(fused(exact_head(model)), processor)

    @cached_property
    def ready(self) -> _Ready:
        """The loaded model with this backbone's own caches.

        Raises:
            MissingAsset: the checkpoint is missing, damaged or of another kind.
            UsageError: the model does not fit into memory, or its attention is not supported.
        """
        loaded: _Loaded = self.loaded
        model, processor = loaded.model, loaded.processor
        room = budget(self.place, self.prefix_cache_mb, self.max_batch)
        work = LanguageWork(model, self.counters, self.flops)
        engine = Engine(model, self._look, room, work, self.finite)
        chat, stop = ChatFormat(processor), _stop_ids(model, processor)
        return _Ready(model, processor, chat, engine, stop)

    def forget(self) -> None:
        """Drop the features, keys and values of pictures and prompts, and what was tokenised."""
        super().forget()
        if "ready" in vars(self):
            self.ready.engine.forget()
            self.ready.chat.forget()

    def resident_pictures(self) -> int:
        """How many pictures' keys and values stay between calls; loads the model."""
        return self.ready.engine.resident_pictures()

    def rows_at_once(self) -> int:
        """How many requests are computed together in memory; loads the model."""
        return min(self.max_batch, self.ready.engine.rows_in_memory())

    def _look(self, pictures: Sequence[Picture]) -> list[Tensor]:
        """The image tokens of each picture, (tokens, hidden); each distinct picture once."""
        features = self.features(pictures, self._features, self._encode)
        return [features[picture.digest] for picture in pictures]

    def _encode(self, pictures: Sequence[Picture]) -> list[Tensor]:
        """The vision tower and the projector on the squares of some pictures."""
        ready = self.ready
        inputs = self._joined(pictures)
        place = next(ready.model.parameters())
        inputs = {
            name: tensor.to(place.device, place.dtype if tensor.is_floating_point() else None)
            for name, tensor in inputs.items()
        }
        self.counters["vision_passes"] += len(pictures)
        look = partial(ready.model.get_image_features, **inputs, return_dict=True)
        shape = inputs["pixel_values"].shape
        output = self.flops.of(shape[1:], shape[0], look)
        return [self.finite.see("image tokens", tokens) for tokens in output.pooler_output]

    def _joined(self, pictures: Sequence[Picture]) -> dict[str, Tensor]:
        """The processor's outputs for some pictures; those of unequal tiles need one call."""
        parts = [
            self._seen.take(picture.digest, partial(self._inputs, [picture]))
            for picture in pictures
        ]
        if len({tuple(part["pixel_values"].shape) for part in parts}) > 1:
            return self._inputs(pictures)
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _inputs(self, pictures: Sequence[Picture]) -> dict[str, Tensor]:
        """What the processor makes of the squares of some pictures, on the CPU."""
        images = self.loaded.processor.image_processor
        squares = [self._square(picture, _mean_colour(images)) for picture in pictures]
        return dict(images(images=squares, return_tensors="pt"))

    def _square(self, picture: Picture, colour: Colour) -> PIL.Image.Image:
        """The square that the processor is given."""
        square = PIL.Image.fromarray(to_square(picture.pixels, self.preprocess, colour))
        if self.max_side is not None and square.width > self.max_side:
            return square.resize((self.max_side, self.max_side), PIL.Image.Resampling.BICUBIC)
        return square


@dataclass(frozen=True)
class _Loaded:
    """What backbones with the same checkpoint share."""

    model: Any
    processor: Any


@dataclass(frozen=True)
class _Ready:
    """What one backbone needs to answer; the engine's caches are its own."""

    model: Any
    processor: Any
    chat: ChatFormat
    engine: Engine
    stop: frozenset[int]


def exact_head(model: Any) -> Any:
    """Let a model in half precision compute its logits, of the few kept positions, in float32.

    Rounded to half, the logits of words would move their log-probabilities by .01 to .1: as much as
    Eq. (3) takes for evidence.
    """
    head = model.get_output_embeddings()
    if head.weight.dtype != torch.float32:
        head.exact = head.weight.float()
        head.forward = MethodType(_exact_logits, head)
    return model


def _exact_logits(self: Any, hidden: Tensor) -> Tensor:
    bias = None if self.bias is None else self.bias.float()
    return torch.nn.functional.linear(hidden.float(), self.exact, bias)


def _stop_ids(model: Any, processor: Any) -> frozenset[int]:
    """The token ids that end an answer."""
    listed = model.generation_config.eos_token_id
    ids = [listed] if isinstance(listed, int) else list(listed or ())
    return frozenset({*ids, processor.tokenizer.eos_token_id} - {None})


def _mean_colour(image_processor: Any) -> Colour:
    """The colour, RGB 0..255, that is about zero after the processor's normalisation."""
    mean = getattr(image_processor, "image_mean", None) or (0.5, 0.5, 0.5)
    red, green, blue = (int(255 * channel) for channel in mean)
    return red, green, blue


if TYPE_CHECKING:
    from int_bench.core.protocols import VisionLanguageModel

    _check: type[VisionLanguageModel] = Llava
