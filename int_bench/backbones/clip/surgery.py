"""Aligner: Spatial CLIP heat maps (Eq. 9) and image-text similarity (Eq. 10), on open_clip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import PIL.Image
import torch
from torch import Tensor

from int_bench.backbones.clip.loading import Clip, ClipSource, load_clip
from int_bench.backbones.clip.spatial import (
    Attention,
    Norm,
    check_vision,
    heat_maps,
    min_max,
    normalise,
    surgery_features,
)
from int_bench.backbones.common.batching import chunks
from int_bench.backbones.common.loading import cached_load, memory_guard, pick_device, pick_dtype
from int_bench.backbones.common.lru import Lru
from int_bench.core import templates as texts
from int_bench.core.types import Heatmap, Picture, Similarity, SoftMask
from int_bench.errors import UsageError

if TYPE_CHECKING:
    from int_bench.core.protocols import Aligner

_MEGABYTE = 2**20
_TEXTS_PER_PASS = 128
_BARE = ("{name}",)
# With open_clip's 80 ImageNet templates, these five (Zhou et al., "Extract Free Dense Labels from
# CLIP", ECCV 2022) make up the 85 of CLIP Surgery.
_SCENE_TEMPLATES = (
    "there is a {name} in the scene.",
    "there is the {name} in the scene.",
    "this is a {name} in the scene.",
    "this is the {name} in the scene.",
    "this is one {name} in the scene.",
)


@dataclass(eq=False)
class ClipSurgery:
    """An `Aligner` over an open_clip model with a plain ViT.

    Args:
        checkpoint: Architecture of open_clip (``ViT-B-16-quickgelu``), folder in its local-dir
            format, ``zoo:NAME``, or hub id of such a folder.
        pretrained: Tag (``openai``) or file of weights; with an architecture only.
        revision: Of the hub repository.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
        dtype: ``auto`` is float32 here, on a GPU too: a softmax at temperature 1/100 follows on
            the cosines, which would turn half precision's rounding into other weights, and the
            model is small.
        size: Side in pixels of the square for heat maps; None is the model's own (224).
        blocks: How many of the last blocks have Spatial CLIP's second path.
        attention: ``kk`` (GenSAM, ProMaC) or ``vv`` (CLIP Surgery).
        norm: ``channel``, or ``token`` as released by GenSAM and ProMaC.
        templates: For heat maps: ``bare``, ``short`` (`int_bench.core.templates.CLIP_TEMPLATES`),
            ``surgery`` (the 85 of CLIP Surgery), or a list of texts with ``{name}``.
        max_batch: At most so many pictures per forward pass.
        cache_mb: Bound of the memory for picture features, in MiB (0.4 MiB per heat map at 224).
    """

    RUNTIME: ClassVar[tuple[str, ...]] = ("device", "max_batch", "cache_mb")
    PRECISION: ClassVar[dict[str, str]] = {"E1": "float32", "E2": "float32"}

    checkpoint: str = "zoo:clip"
    pretrained: str | None = None
    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    size: int | None = None
    blocks: int = 6
    attention: Attention = "kk"
    norm: Norm = "channel"
    templates: str | Sequence[str] = "short"
    max_batch: int = 32
    cache_mb: int = 256

    def __post_init__(self) -> None:
        self._source = ClipSource(self.checkpoint, self.pretrained, self.revision)
        self._device = pick_device(self.device)
        precise = "float32" if self.dtype == "auto" else self.dtype
        self._dtype = pick_dtype(precise, self._device)
        _check_choice("attention", self.attention, ("kk", "vv"))
        _check_choice("norm", self.norm, ("channel", "token"))
        self._templates = _read_templates(self.templates)
        self._tokens = Lru[str, Tensor](self.cache_mb * _MEGABYTE, weigh=_bytes)
        self._images = Lru[str, Tensor](self.cache_mb * _MEGABYTE, weigh=_bytes)
        self._counters: Counter[str] = Counter()

    @property
    def identity(self) -> Mapping[str, Any]:
        """Class, checkpoint, precision and the options of Spatial CLIP."""
        return {
            "class": "ClipSurgery",
            "checkpoint": self.checkpoint,
            "pretrained": self.pretrained,
            "revision": self.revision,
            "dtype": str(self._dtype).removeprefix("torch."),
            "size": self.size,
            "blocks": self.blocks,
            "attention": self.attention,
            "norm": self.norm,
            "templates": list(self._templates) or "surgery",
        }

    @property
    def counters(self) -> Counter[str]:
        """``images_encoded``, ``texts_encoded`` (per text and template), ``rows`` (requests)."""
        return self._counters

    def heatmap(self, requests: Sequence[Heatmap]) -> list[SoftMask]:
        """Where the foreground texts are and the background texts are not, one map per request.

        ``H = minmax(mean_f S_f - mean_b S_b)``, each ``S`` scaled to 0..1 first (GenSAM's
        foreground-minus-background heat map). A map is (g, g) float32 with g = size / patch size,
        over the picture squashed to a square; row 0 is at the top.

        Raises:
            ValueError: A request has no foreground text.
            UsageError: The model, ``blocks`` or ``size`` do not go together.
            OutOfMemory: The batch does not fit.
            MissingAsset: The checkpoint cannot be loaded.
        """
        for request in requests:
            if not request.foreground:
                raise ValueError(f"Heatmap of {request.image!r} has no foreground text")
        self._counters["rows"] += len(requests)
        with torch.inference_mode(), memory_guard():
            pictures = [request.image for request in requests]
            tokens = self._features(pictures, self._tokens, self._encode_tokens)
            return [self._draw(request, tokens[request.image.digest]) for request in requests]

    def similarity(self, requests: Sequence[Similarity]) -> list[float]:
        """Cosine of picture and bare text, -1..1, one per request.

        The picture is squashed to the model's square; Reading: the text is the word alone, as in
        the authors' earlier code.

        Raises:
            OutOfMemory: The batch does not fit.
            MissingAsset: The checkpoint cannot be loaded.
        """
        self._counters["rows"] += len(requests)
        with torch.inference_mode(), memory_guard():
            pictures = [request.image for request in requests]
            images = self._features(pictures, self._images, self._encode_images)
            return [
                float(images[request.image.digest] @ self._text(request.text, _BARE))
                for request in requests
            ]

    @property
    def _clip(self) -> Clip:
        """The model, loaded at first use and shared."""
        key = (ClipSurgery, self._source, self._dtype, self._device)
        return cached_load(key, lambda: load_clip(self._source, self._device, self._dtype))

    def _features(
        self,
        pictures: Sequence[Picture],
        kept: Lru[str, Tensor],
        encode: Callable[[Sequence[Picture]], Tensor],
    ) -> dict[str, Tensor]:
        """Features of each distinct picture, by digest: kept ones, or encoded in batches."""
        distinct = {picture.digest: picture for picture in pictures}
        found = {digest: kept.get(digest) for digest in distinct}
        absent = [picture for digest, picture in distinct.items() if found[digest] is None]
        for part in chunks(absent, self.max_batch):
            self._counters["images_encoded"] += len(part)
            for picture, features in zip(part, encode(part), strict=True):
                # A clone, or else one kept row would hold the memory of its whole batch.
                found[picture.digest] = alone = features.clone()
                kept.put(picture.digest, alone)
        return {digest: features for digest, features in found.items() if features is not None}

    def _encode_tokens(self, pictures: Sequence[Picture]) -> Tensor:
        """Spatial CLIP's features (B, 1 + g * g, D), normalised, float32."""
        visual = self._clip.model.visual
        size = self.size or self._clip.native_size
        check_vision(visual, self.blocks, size)
        squares = self._squares(pictures, size)
        features = surgery_features(visual, squares, self.blocks, self.attention)
        return normalise(features.float(), self.norm)

    def _encode_images(self, pictures: Sequence[Picture]) -> Tensor:
        """The model's own image features (B, D), of unit length, float32."""
        squares = self._squares(pictures, self._clip.native_size)
        features: Tensor = self._clip.model.encode_image(squares)
        return normalise(features.float(), "channel")

    def _squares(self, pictures: Iterable[Picture], size: int) -> Tensor:
        """(B, 3, size, size) in the model's precision."""
        preprocess = self._clip.preprocess(size)
        squares = [preprocess(PIL.Image.fromarray(picture.pixels)) for picture in pictures]
        return torch.stack(squares).to(self._device, self._dtype)

    def _draw(self, request: Heatmap, tokens: Tensor) -> SoftMask:
        """The heat map of a request from its picture's features (1 + g * g, D)."""
        maps = self._mean_map(request.foreground, tokens)
        if request.background:
            maps = maps - self._mean_map(request.background, tokens)
        side = round(maps.numel() ** 0.5)
        answer: SoftMask = min_max(maps, dim=0).reshape(side, side).cpu().numpy()
        return answer

    def _mean_map(self, names: Sequence[str], tokens: Tensor) -> Tensor:
        """(g * g,): the mean over texts of their maps, each in 0..1."""
        prompts = self._templates or _surgery_templates()
        features = torch.stack([self._text(name, prompts) for name in names])
        return heat_maps(tokens, features, self._text("", prompts)).mean(0)

    def _text(self, name: str, prompts: tuple[str, ...]) -> Tensor:
        """(D,) unit feature of a text: the mean over templates of unit features.

        Every text is encoded on its own, so that its feature does not depend on what else is asked.
        """
        clip = self._clip
        kept = clip.texts.get((prompts, name))
        if kept is not None:
            return kept
        filled = [template.replace("{name}", name) for template in prompts]
        parts = [
            clip.model.encode_text(clip.tokenizer(list(part)).to(self._device))
            for part in chunks(filled, _TEXTS_PER_PASS)
        ]
        self._counters["texts_encoded"] += len(filled)
        mean = normalise(torch.cat(parts).float(), "channel").mean(0, keepdim=True)
        feature = normalise(mean, "channel")[0]
        clip.texts.put((prompts, name), feature)
        return feature


def _read_templates(chosen: str | Sequence[str]) -> tuple[str, ...]:
    """The texts of a named set, or those of a list; empty for ``surgery``, which open_clip holds.

    Raises:
        UsageError: The name is unknown, or a text lacks ``{name}``.
    """
    if isinstance(chosen, str):
        _check_choice("templates", chosen, ("bare", "short", "surgery"))
        return {"bare": _BARE, "short": texts.CLIP_TEMPLATES, "surgery": ()}[chosen]
    wrong = [text for text in chosen if "{name}" not in text]
    if wrong or not chosen:
        raise UsageError(f"backbone.aligner.templates needs texts with {{name}}, got {wrong}.")
    return tuple(chosen)


@cache
def _surgery_templates() -> tuple[str, ...]:
    """The 85 texts of CLIP Surgery's ensemble."""
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

    return (*(str(fill("{name}")) for fill in OPENAI_IMAGENET_TEMPLATES), *_SCENE_TEMPLATES)


def _check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"backbone.aligner.{key}={value} is unknown; choose {', '.join(choices)}.")


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


if TYPE_CHECKING:
    _check: type[Aligner] = ClipSurgery
