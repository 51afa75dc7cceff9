"""Aligner: Spatial CLIP heat maps (Eq. 9) and image-text similarity (Eq. 10), on open_clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from int_bench.backbones.clip.loading import Clip, ClipSource, load_clip
from int_bench.backbones.clip.spatial import (
    Attention,
    Norm,
    check_vision,
    class_features,
    heat_maps,
    min_max,
    normalise,
    reads_class_token,
    surgery_features,
)
from int_bench.backbones.common.ahead import Ahead, Submit
from int_bench.backbones.common.batching import chunks
from int_bench.backbones.common.lru import Mebibytes, tensors
from int_bench.backbones.common.model import LocalModel
from int_bench.core import templates as texts
from int_bench.core.limits import Count, NotEmpty
from int_bench.core.requests import Heatmap, Request, Similarity
from int_bench.core.types import Picture, SoftMask
from int_bench.errors import UsageError

if TYPE_CHECKING:
    from int_bench.core.protocols import Aligner

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

TemplateSet = Literal["bare", "short", "surgery"]


@dataclass(eq=False)
class ClipSurgery(LocalModel):
    """An `Aligner` over an open_clip model with a plain ViT.

    Args:
        checkpoint: architecture of open_clip (``ViT-B-16-quickgelu``), folder in its local-dir
            format, ``zoo:NAME``, or hub id of such a folder.
        revision, device: As of every `LocalModel`.
        dtype: ``auto`` is float32, on a GPU too: a softmax at temperature 1/100 follows on the
            cosines, which would turn half precision's rounding into other weights, and the model
            is small.
        max_batch: at most so many pictures per forward pass.
        pretrained: tag (``openai``) or file of weights; with an architecture only.
        size: side in pixels of the square for heat maps; None is the model's own (224).
        blocks: how many of the last blocks have Spatial CLIP's second path.
        attention: ``kk`` (GenSAM, ProMaC) or ``vv`` (CLIP Surgery).
        norm: ``channel``, or ``token`` as released by GenSAM and ProMaC.
        templates: for heat maps: ``bare``, ``short`` (`int_bench.core.templates.CLIP_TEMPLATES`),
            ``surgery`` (the 85 of CLIP Surgery), or a list of texts with ``{name}``.
        cache_mb: bound of the memory for picture features, in MiB (0.4 MiB per heat map at 224).

    Raises:
        UsageError: a text of ``templates`` lacks ``{name}``.

    ``counters``: ``images_encoded``, ``texts_encoded`` (per text and template), ``rows``
    (requests).
    """

    ROLE: ClassVar[str] = "aligner"
    HOLDS: ClassVar[str] = "visual."
    RUNTIME: ClassVar[tuple[str, ...]] = ("device", "max_batch", "cache_mb")
    PRECISION: ClassVar[dict[str, str]] = {"E1": "float32", "E2": "float32"}
    WEIGHTS: ClassVar[tuple[str, ...]] = ("checkpoint", "revision", "pretrained")

    checkpoint: str = "zoo:clip"
    pretrained: str | None = None
    max_batch: Count = field(default=32, kw_only=True)
    size: Count | None = None
    blocks: Count = 6
    attention: Attention = "kk"
    norm: Norm = "channel"
    templates: TemplateSet | Annotated[Sequence[str], NotEmpty()] = "short"
    cache_mb: Mebibytes = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        self._templates = _read_templates(self.templates)
        self._tokens = tensors(self.cache_mb)
        self._images = tensors(self.cache_mb)
        self._squashed: Ahead[Tensor] = Ahead()

    def heatmap(self, requests: Sequence[Heatmap]) -> list[SoftMask]:
        """Where the foreground texts are and the background texts are not, one map per request.

        ``H = minmax(mean_f S_f - mean_b S_b)``, each ``S`` scaled to 0..1 first (GenSAM's
        foreground-minus-background heat map). A map is (g, g) float32 with g = size / patch size,
        over the picture squashed to a square; row 0 is at the top.

        Raises:
            ValueError: a request has no foreground text.
            UsageError: the model, ``blocks`` or ``size`` do not go together.
            SampleError: a number is not finite.
            OutOfMemory: the batch does not fit.
            MissingAsset: the checkpoint cannot be loaded.
        """
        for request in requests:
            if not request.foreground:
                raise ValueError(f"Heatmap of {request.image!r} has no foreground text")
        self.counters["rows"] += len(requests)
        with self.computing():
            pictures = [request.image for request in requests]
            tokens = self.features(pictures, self._tokens, self._encode_tokens)
            maps = self.in_batches(requests, partial(self._draw, tokens), key=_count)
            return list(self.finite.fetch(torch.stack(maps)).numpy()) if maps else []

    def similarity(self, requests: Sequence[Similarity]) -> list[float]:
        """Cosine of picture and bare text, -1..1, one per request.

        The picture is squashed to the model's square; Reading: the text is the word alone, as in
        the authors' earlier code.

        Raises:
            SampleError: a number is not finite.
            OutOfMemory: the batch does not fit.
            MissingAsset: the checkpoint cannot be loaded.
        """
        self.counters["rows"] += len(requests)
        with self.computing():
            pictures = [request.image for request in requests]
            images = self.features(pictures, self._images, self._encode_images)
            cosines = [
                images[request.image.digest] @ self._text(request.text, _BARE)
                for request in requests
            ]
            return self.finite.fetch(torch.stack(cosines)).tolist() if cosines else []

    def begin(self, request: Request[Any], submit: Submit) -> None:
        """Squash the picture, unless its features are here."""
        picture: Picture = request.image  # type: ignore[attr-defined]
        size, cached = self.loaded.native_size, self._images
        if isinstance(request, Heatmap):
            size, cached = self.size or size, self._tokens
        if picture.digest not in cached:
            square = partial(self._square, picture, size)
            self._squashed.begin((picture.digest, size), request, square, submit)

    def load(self) -> Clip:
        """Model, tokenizer, and what is known of texts."""
        source = ClipSource(self.checkpoint, self.pretrained, self.revision)
        return load_clip(source, self.place, self.precision)

    def forget(self) -> None:
        """Drop the features of pictures and texts."""
        super().forget()
        if "loaded" in vars(self):
            self.loaded.texts.clear()

    def _encode_tokens(self, pictures: Sequence[Picture]) -> Tensor:
        """Spatial CLIP's features of the patches, (B, g * g, D), normalised, float32."""
        visual = self.loaded.model.visual
        size = self.size or self.loaded.native_size
        check_vision(visual, self.blocks, size)
        squares = self._squares(pictures, size)
        over_tokens = self.norm == "token"
        surgery = partial(
            surgery_features, visual, squares, self.blocks, self.attention, over_tokens
        )
        features = self.flops.of("tokens", len(squares), surgery)
        self.finite.see("token features", features)
        return normalise(features.float(), self.norm)[:, int(over_tokens) :]

    def _encode_images(self, pictures: Sequence[Picture]) -> Tensor:
        """The model's own image features (B, D), of unit length, float32."""
        squares, model = self._squares(pictures, self.loaded.native_size), self.loaded.model
        plain = reads_class_token(model.visual)
        encode = partial(class_features, model.visual) if plain else model.encode_image
        features: Tensor = self.flops.of("images", len(squares), partial(encode, squares))
        self.finite.see("picture features", features)
        return normalise(features.float(), "channel")

    def _squares(self, pictures: Sequence[Picture], size: int) -> Tensor:
        """(B, 3, size, size) in the model's precision."""
        self.counters["images_encoded"] += len(pictures)
        squares = [
            self._squashed.take((picture.digest, size), partial(self._square, picture, size))
            for picture in pictures
        ]
        return torch.stack(squares).to(self.place, self.precision)

    def _square(self, picture: Picture, size: int) -> Tensor:
        """(3, size, size) float32, normalised."""
        clip: Clip = self.loaded
        return clip.square(picture.pixels, size)

    def _draw(self, tokens: Mapping[str, Tensor], requests: Sequence[Heatmap]) -> list[Tensor]:
        """The heat maps (g, g) of requests with equally many texts, from (g * g, D) each."""
        prompts = self._templates or _surgery_templates()
        named = [
            self._text(name, prompts)
            for request in requests
            for name in (*request.foreground, *request.background)
        ]
        features = torch.stack([tokens[request.image.digest] for request in requests])
        names = torch.stack(named).unflatten(0, (len(requests), -1))
        maps = heat_maps(features, names, self._text("", prompts))
        foreground, background = _count(requests[0])
        drawn = maps[:, :foreground].mean(1)
        if background:
            drawn = drawn - maps[:, foreground:].mean(1)
        side = round(drawn.shape[1] ** 0.5)
        return list(min_max(drawn).unflatten(1, (side, side)))

    def _text(self, name: str, prompts: tuple[str, ...]) -> Tensor:
        """(D,) unit feature of a text: the mean over templates of unit features.

        Every text is encoded on its own, so that its feature does not depend on what else is asked.
        """
        clip: Clip = self.loaded
        kept = clip.texts.get((prompts, name))
        if kept is not None:
            return kept
        filled = [template.replace("{name}", name) for template in prompts]
        rows = [
            clip.tokenizer(list(part)).to(self.place) for part in chunks(filled, _TEXTS_PER_PASS)
        ]
        encode = clip.model.encode_text
        parts = [self.flops.of("texts", len(ids), partial(encode, ids)) for ids in rows]
        self.counters["texts_encoded"] += len(filled)
        features = self.finite.see("text features", torch.cat(parts))
        mean = normalise(features.float(), "channel").mean(0, keepdim=True)
        feature = normalise(mean, "channel")[0]
        clip.texts.put((prompts, name), feature)
        return feature


def _count(request: Heatmap) -> tuple[int, int]:
    """How many texts a request has, for and against."""
    return len(request.foreground), len(request.background)


def _read_templates(chosen: TemplateSet | Sequence[str]) -> tuple[str, ...]:
    """The texts of a named set, or those of a list; empty for ``surgery``, which open_clip holds.

    Raises:
        UsageError: a text lacks ``{name}``.
    """
    if isinstance(chosen, str):
        return {"bare": _BARE, "short": texts.CLIP_TEMPLATES, "surgery": ()}[chosen]
    wrong = [text for text in chosen if "{name}" not in text]
    if wrong:
        raise UsageError(f"backbone.aligner.templates needs texts with {{name}}, got {wrong}.")
    return tuple(chosen)


@cache
def _surgery_templates() -> tuple[str, ...]:
    """The 85 texts of CLIP Surgery's ensemble."""
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

    return (*(str(fill("{name}")) for fill in OPENAI_IMAGENET_TEMPLATES), *_SCENE_TEMPLATES)


if TYPE_CHECKING:
    _check: type[Aligner] = ClipSurgery
