"""LLaVA, the vision-language model that computes Eq. (1), on transformers' own classes.

Any checkpoint of ``AutoModelForImageTextToText`` that offers ``get_image_features`` and takes
``inputs_embeds``, with full attention in every layer of its language model:
``LlavaForConditionalGeneration`` (LLaVA-1.5 7B and 13B, the zoo's tiny one) and
``LlavaOnevisionForConditionalGeneration`` (which sees the padded square in its own tiles).

The answer is text and nothing else. A box in it is in fractions of the square that ``preprocess``
makes of the picture; whoever parses the text maps it back, so ``preprocess`` is public.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.utils import logging

import int_bench.backbones.llava.conv_tower  # noqa: F401  (registers the zoo's vision tower)
from int_bench.backbones.common.loading import (
    cached_load,
    load_errors,
    memory_guard,
    pick_device,
    pick_dtype,
    resolve,
)
from int_bench.backbones.common.lru import Lru
from int_bench.backbones.common.square import check_preprocess, to_square
from int_bench.backbones.llava.contrastive import Contrasted, decode
from int_bench.backbones.llava.engine import Engine, Writer
from int_bench.backbones.llava.kv_block import check_attention
from int_bench.backbones.llava.prompt import ChatFormat, VlmRequest
from int_bench.core.types import (
    Answer,
    ContrastiveAnswer,
    FirstToken,
    Picture,
    Score,
    TokenLogProbs,
)
from int_bench.errors import MissingAsset, OutOfMemory, UsageError

R = TypeVar("R", bound=VlmRequest)
A = TypeVar("A")

_MIB = 2**20


class Llava:
    """A vision-language model that answers questions and scores names.

    Args:
        checkpoint: Hub id, local folder, or ``zoo:llava``.
        revision: Branch, tag or commit of a hub checkpoint.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        dtype: ``auto`` (float32 on a CPU, half precision on CUDA) or a name.
        max_batch: Most requests that are computed together. With one request per call an answer
            does not depend on anything asked before, to the bit; in larger batches up to rounding.
        preprocess: How a picture becomes the square that boxes refer to: ``pad``, ``center_crop``
            or ``squash`` (see ``padding``).
        prefix_cache_mb: Memory in MiB for keys and values that stay between calls. A 13B model in
            half precision needs 0.8 MiB a token, about 0.5 GiB a picture. None: on CUDA a quarter
            of what is free once the model is loaded, on a CPU 1024.
        feature_cache_mb: Memory in MiB for image tokens that stay between calls.
        max_side: Shrink larger squares to this side before the processor sees them. A bound for
            LLaVA-OneVision, which cuts a large square into up to 36 tiles (about 7300 tokens);
            384 leaves one tile (about 1500). None: as large as they are.

    Raises:
        UsageError: ``preprocess`` is unknown or ``max_batch`` below 1; on first use: the device or
            dtype is unknown, or the language model's attention is not supported.
        MissingAsset: On first use: the checkpoint is missing, damaged or of another kind.

    ``counters``: ``vision_passes`` (pictures through the vision tower), ``prefill_tokens``,
    ``prefix_hits``, ``decode_steps``, ``scored_tokens`` (see ``Engine``).
    """

    RUNTIME: ClassVar[tuple[str, ...]] = (
        "device",
        "max_batch",
        "prefix_cache_mb",
        "feature_cache_mb",
    )
    PRECISION: ClassVar[dict[str, str]] = {"E1": "float16", "E2": "float16"}

    def __init__(  # noqa: PLR0913  (a configuration value each)
        self,
        checkpoint: str,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        max_batch: int = 16,
        preprocess: str = "pad",
        prefix_cache_mb: int | None = None,
        feature_cache_mb: int = 256,
        max_side: int | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.revision = revision
        if max_batch < 1:
            raise UsageError(f"max_batch={max_batch} of the vlm; choose 1 or more.")
        self.max_batch = max_batch
        self.preprocess = check_preprocess(preprocess)
        self.max_side = max_side
        self._device, self._dtype = device, dtype
        self._prefix_cache_mb = prefix_cache_mb
        self._features: Lru[str, Tensor] = Lru(feature_cache_mb * _MIB, lambda value: value.nbytes)
        self._counters: Counter[str] = Counter()
        self._ready: _Ready | None = None

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides the answers, JSON-ready."""
        device = pick_device(self._device)
        return {
            "backbone": "llava",
            "checkpoint": self.checkpoint,
            "revision": self.revision,
            "dtype": str(pick_dtype(self._dtype, device)).removeprefix("torch."),
            "preprocess": self.preprocess,
            "max_side": self.max_side,
        }

    @property
    def counters(self) -> Counter[str]:
        """What was really computed so far."""
        return self._counters

    def answer(self, requests: Sequence[Answer]) -> list[str]:
        """One text per request, without special tokens and outer blanks.

        Greedy at temperature 0. Above 0 every token is drawn from the full softmax of
        logits / temperature with the request's own generator, so that neither the batch nor the
        order of requests changes a draw. Ends at the checkpoint's end tokens or ``max_tokens``;
        nothing else of its generation_config (sampling, penalties) is used.
        """
        return self._in_batches(requests, self._answer)

    def contrast(self, requests: Sequence[ContrastiveAnswer]) -> list[str]:
        """One text per request, decoded against the request's contrast (see ``contrastive``)."""
        return self._in_batches(requests, self._contrast)

    def score(self, requests: Sequence[Score]) -> list[TokenLogProbs]:
        """Per request and name, the natural-log probability of each of its tokens.

        Teacher-forced behind the question, softmax over the whole vocabulary in float32. Which
        tokens a name has: see ``ChatFormat.names``; end tokens are not scored.
        """
        return self._in_batches(requests, self._score)

    def first_token(self, requests: Sequence[FirstToken]) -> list[NDArray[np.float32]]:
        """Per request, the probabilities (V,) of the first token of the answer."""
        return self._in_batches(requests, self._first_token)

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
        return [torch.softmax(path[-1].logits, -1).cpu().numpy() for path in paths]

    def _in_batches(
        self, requests: Sequence[R], verb: Callable[[_Ready, Sequence[R]], list[A]]
    ) -> list[A]:
        """The answers of ``verb``, at most ``max_batch`` requests at a time.

        Raises:
            OutOfMemory: The batch does not fit; what was kept between calls has been dropped.
        """
        ready = self._load()
        starts = range(0, len(requests), self.max_batch)
        try:
            with memory_guard(), torch.inference_mode():
                batches = [verb(ready, requests[at : at + self.max_batch]) for at in starts]
        except OutOfMemory:
            ready.engine.forget()
            self._features.clear()
            raise
        return [answer for batch in batches for answer in batch]

    def _load(self) -> _Ready:
        """The model, loaded at first use and shared with equal backbones of this process."""
        if self._ready is None:
            device = pick_device(self._device)
            dtype = pick_dtype(self._dtype, device)
            key = (type(self).__name__, self.checkpoint, self.revision, dtype, device)
            with load_errors("vlm", self.checkpoint):
                loaded = cached_load(
                    key, lambda: _read(self.checkpoint, self.revision, dtype, device)
                )
                self._ready = _Ready(
                    loaded.model,
                    loaded.processor,
                    ChatFormat(loaded.processor),
                    Engine(loaded.model, self._look, self._prefix_bytes(device), self._counters),
                    _stop_ids(loaded.model, loaded.processor),
                )
        return self._ready

    def resident_pictures(self) -> int:
        """How many pictures' keys and values stay between calls; loads the model."""
        return self._load().engine.resident_pictures()

    def _prefix_bytes(self, device: torch.device) -> int:
        """The memory for resident prefixes."""
        if self._prefix_cache_mb is not None:
            return self._prefix_cache_mb * _MIB
        if device.type != "cuda":
            return 1024 * _MIB
        free, _ = torch.cuda.mem_get_info(device)
        return free // 4

    def _look(self, pictures: Sequence[Picture]) -> list[Tensor]:
        """The image tokens of each picture, (tokens, hidden); each distinct picture once."""
        found = {picture.digest: self._features.get(picture.digest) for picture in pictures}
        missing = {p.digest: p for p in pictures if found[p.digest] is None}
        if missing:
            self._counters["vision_passes"] += len(missing)
            fresh = self._encode(list(missing.values()))
            found |= dict(zip(missing, fresh, strict=True))
        features = [tokens for p in pictures if (tokens := found[p.digest]) is not None]
        for picture, tokens in zip(pictures, features, strict=True):
            self._features.put(picture.digest, tokens)
        return features

    def _encode(self, pictures: Sequence[Picture]) -> list[Tensor]:
        """The vision tower and the projector on the squares of some pictures."""
        ready = self._load()
        images = ready.processor.image_processor
        squares = [self._square(picture, _mean_colour(images)) for picture in pictures]
        inputs = images(images=squares, return_tensors="pt")
        parameter = next(ready.model.parameters())
        inputs = inputs.to(device=parameter.device, dtype=parameter.dtype)
        output = ready.model.get_image_features(**inputs, return_dict=True)
        # Copies: a view would keep the whole batch's tokens in memory.
        return [tokens.clone() for tokens in output.pooler_output]

    def _square(self, picture: Picture, colour: tuple[int, int, int]) -> PIL.Image.Image:
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


def _read(
    checkpoint: str, revision: str | None, dtype: torch.dtype, device: torch.device
) -> _Loaded:
    """Load model and processor with transformers' own loaders; weights from safetensors only.

    Raises:
        MissingAsset: Some weights of the model are not in the checkpoint.
        UsageError: The language model's attention is not supported.
    """
    path = resolve(checkpoint)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    loaded: Any = AutoModelForImageTextToText.from_pretrained(
        path,
        revision=revision or "main",
        dtype=dtype,
        attn_implementation="sdpa",
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    model, report = loaded
    absent = sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
    if absent:
        raise MissingAsset(
            f"The vlm checkpoint is not usable: {checkpoint} lacks {len(absent)} weights of its "
            f"model, {absent[0]} first; next step: fetch it again or set backbone.vlm.checkpoint."
        )
    check_attention(model.config)
    processor = AutoProcessor.from_pretrained(  # type: ignore[no-untyped-call]
        path, revision=revision or "main", trust_remote_code=False
    )
    return _Loaded(model.to(device).eval().requires_grad_(False), processor)


def _stop_ids(model: Any, processor: Any) -> frozenset[int]:
    """The token ids that end an answer."""
    listed = model.generation_config.eos_token_id
    ids = [listed] if isinstance(listed, int) else list(listed or ())
    return frozenset({*ids, processor.tokenizer.eos_token_id} - {None})


def _mean_colour(image_processor: Any) -> tuple[int, int, int]:
    """The colour, RGB 0..255, that is about zero after the processor's normalisation."""
    mean = getattr(image_processor, "image_mean", None) or (0.5, 0.5, 0.5)
    red, green, blue = (int(255 * channel) for channel in mean)
    return red, green, blue


if TYPE_CHECKING:
    from int_bench.core.protocols import VisionLanguageModel

    _check: type[VisionLanguageModel] = Llava
