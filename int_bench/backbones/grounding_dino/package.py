"""Boxes of what a phrase names: Eq. (8) on the original ``groundingdino-py`` (an option).

Install with ``pip install 'int-bench[groundingdino]'``. The package was written for transformers 4:
on version 5 its text encoder calls methods that are gone. A stand-in for that one class, with the
same sub-modules and therefore the same checkpoint keys, is put in place while the model is built.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import nn

from int_bench.backbones.common.loading import resolve
from int_bench.backbones.common.model import LocalModel
from int_bench.backbones.grounding_dino.boxes import (
    MaxBoxes,
    Selection,
    caption,
    image_for_detection,
    select,
)
from int_bench.core.limits import Count, Share
from int_bench.core.requests import Detect, Detection
from int_bench.errors import MissingAsset, UsageError

if TYPE_CHECKING:
    from int_bench.core.protocols import Detector

ARCHITECTURES = {"swin_t": "GroundingDINO_SwinT_OGC.py", "swin_b": "GroundingDINO_SwinB_cfg.py"}
"""Name to configuration file of the package."""

# Training code in eval mode is waste: no recomputation, which torch warns about without gradients.
INFERENCE = {"use_checkpoint": False, "use_transformer_ckpt": False}


@dataclass(eq=False)
class GroundingDinoPackage(LocalModel):
    """The original implementation, one request per forward pass, float32.

    One at a time, because the package mixes up the text masks of captions that differ within a
    batch (it repeats them head by head where the attention wants image by image).

    Args:
        checkpoint: local .pth (``{"model": weights}`` or the weights) or .safetensors file, for
            example ``groundingdino_swint_ogc.pth``.
        revision: branch, tag or commit of ``text_encoder`` on the hub.
        device: as of every `LocalModel`.
        architecture: ``swin_t`` or ``swin_b``, the package's own configurations.
        overrides: entries of that configuration to replace, for other sizes.
        text_encoder: hub id or folder of BERT's tokenizer and configuration; its weights are in
            the checkpoint.
        shortest_edge: side that images are resized to, in pixels, ...
        longest_edge: ... unless the longer side would be longer than this.
        nms: IoU above which the worse of two boxes is dropped; 1 keeps all.
        max_boxes: most boxes per request; 0 keeps all.

    ``counters``: ``forward_passes``, ``images_encoded`` (the same number) and ``text_tokens``.
    """

    ROLE: ClassVar[str] = "detector"
    HOLDS: ClassVar[str] = "bbox_embed"
    PRECISION: ClassVar[dict[str, str]] = {"E1": "float32", "E2": "float32"}
    WEIGHTS: ClassVar[tuple[str, ...]] = (
        "checkpoint",
        "revision",
        "architecture",
        "overrides",
        "text_encoder",
    )

    dtype: Literal["auto", "float32"] = field(default="auto", kw_only=True)
    max_batch: Literal[1] = field(default=1, kw_only=True)
    architecture: Literal["swin_t", "swin_b"] = "swin_t"
    overrides: Mapping[str, Any] | None = None
    text_encoder: str = "google-bert/bert-base-uncased"
    shortest_edge: Count = 800
    longest_edge: Count = 1333
    nms: Share = 0.7
    max_boxes: MaxBoxes = 10

    def detect(self, requests: Sequence[Detect]) -> list[tuple[Detection, ...]]:
        """Per request, detections best first, boxes in pixels of the request's image.

        Raises:
            UsageError: the package is not installed.
            MissingAsset: the checkpoint cannot be loaded.
            OutOfMemory: one image is too large for the device.
            SampleError: a number is not finite.
        """
        return [self._detect(request) for request in requests]

    def _detect(self, request: Detect) -> tuple[Detection, ...]:
        model = self.loaded
        text = caption(request.text)
        pixels = self._pixels(request)
        tokens = torch.tensor(model.tokenizer(text)["input_ids"])
        with self.computing():
            compute = partial(model, pixels.to(model.feat_map.weight.device), captions=[text])
            output = self.flops.of((pixels.shape, len(tokens)), 1, compute)
            # Behind the caption's tokens the logits are minus infinity, as they should be.
            self.finite.see("class logits", output["pred_logits"][..., : len(tokens)])
            boxes = self.finite.see("boxes", output["pred_boxes"])[0].cpu()
            logits = output["pred_logits"][0].cpu()
        self.counters["forward_passes"] += 1
        self.counters["images_encoded"] += 1
        self.counters["text_tokens"] += len(tokens)
        return select(request, logits, boxes, tokens, Selection(self.nms, self.max_boxes))

    def _pixels(self, request: Detect) -> torch.Tensor:
        """The package's transforms, (1, 3, h, w) float32; its random resize draws from no RNG."""
        from groundingdino.datasets import transforms

        image = image_for_detection(request.image.pixels)
        image, _ = transforms.resize(image, None, self.shortest_edge, self.longest_edge)
        pixels, _ = transforms.ToTensor()(image, None)
        normalize = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        pixels, _ = normalize(pixels, None)
        return torch.as_tensor(pixels)[None]

    def load(self) -> nn.Module:
        """Build the architecture and fill it; a missing weight is an error, unlike upstream.

        Raises:
            UsageError: the package is not installed.
            MissingAsset: the checkpoint is not a file, or not of this architecture.
        """
        if importlib.util.find_spec("groundingdino") is None:
            raise UsageError(
                "This detector needs the package groundingdino-py; next step: "
                "`pip install 'int-bench[groundingdino]'` or backbone/detector=grounding_dino."
            )
        source = Path(resolve(self.checkpoint))
        if not source.is_file():
            raise MissingAsset(
                f"The detector checkpoint is not a file: {self.checkpoint}; next step: download "
                f"groundingdino_swint_ogc.pth and set backbone.detector.checkpoint=FILE."
            )
        model = self._build()
        missing = model.load_state_dict(_read_weights(source), strict=False).missing_keys
        if missing:
            raise MissingAsset(
                f"The detector checkpoint {source} is not a GroundingDINO {self.architecture}: "
                f"{len(missing)} weights are missing, first {missing[0]}; next step: set "
                f"backbone.detector.architecture or another checkpoint."
            )
        return model.to(self.place).eval()

    def _build(self) -> nn.Module:
        """The package's model with random weights."""
        import groundingdino
        from groundingdino.models import build_model
        from groundingdino.util.slconfig import SLConfig
        from transformers import AutoConfig, AutoTokenizer, BertModel

        folder = Path(groundingdino.__file__).parent / "config"
        settings = SLConfig.fromfile(str(folder / ARCHITECTURES[self.architecture]))
        for name, value in {**INFERENCE, **(self.overrides or {})}.items():
            if name not in settings:
                raise UsageError(f"GroundingDINO's configuration has no entry {name!r}.")
            setattr(settings, name, value)
        tokenizer = AutoTokenizer.from_pretrained(self.text_encoder, revision=self.revision)
        config = AutoConfig.from_pretrained(self.text_encoder, revision=self.revision)
        with _text_encoder_in_place(tokenizer, BertModel(config)):
            model: nn.Module = build_model(settings)
        return model


class TextEncoder(nn.Module):
    """BERT under the package's names, for any transformers 5; replaces its ``BertModelWarper``."""

    def __init__(self, bert_model: Any) -> None:
        super().__init__()
        self.config = bert_model.config
        self.embeddings = bert_model.embeddings
        self.encoder = bert_model.encoder
        self.pooler = bert_model.pooler  # unused, but in the checkpoints

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        position_ids: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Encode captions whose phrases do not see each other.

        Args:
            input_ids: (B, N).
            attention_mask: (B, N, N) bool, True where a token (row) may look at another (column).
            position_ids: (B, N), starting anew in each phrase.
            token_type_ids: (B, N).

        Returns:
            ``last_hidden_state``, (B, N, width).
        """
        hidden = self.embeddings(
            input_ids=input_ids, token_type_ids=token_type_ids, position_ids=position_ids
        )
        least = torch.finfo(hidden.dtype).min
        bias = torch.zeros_like(attention_mask, dtype=hidden.dtype)
        bias = bias.masked_fill(~attention_mask, least)[:, None]
        return {"last_hidden_state": self.encoder(hidden, attention_mask=bias)[0]}


@contextmanager
def _text_encoder_in_place(tokenizer: Any, bert: nn.Module) -> Iterator[None]:
    """While a model is built, the package takes this tokenizer and BERT and our ``TextEncoder``."""
    from groundingdino.models.GroundingDINO import groundingdino as package

    def given(value: Any) -> Any:
        return lambda text_encoder_type: value

    replaced = [
        (package, "BertModelWarper", TextEncoder),
        (package.get_tokenlizer, "get_tokenlizer", given(tokenizer)),
        (package.get_tokenlizer, "get_pretrained_language_model", given(bert)),
    ]
    originals = [(module, name, getattr(module, name)) for module, name, _ in replaced]
    try:
        for module, name, value in replaced:
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in originals:
            setattr(module, name, value)


def _read_weights(source: Path) -> dict[str, torch.Tensor]:
    """The weights of a file, without the prefix of data-parallel training; runs no pickled code."""
    if source.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(source)
    content = torch.load(source, map_location="cpu", weights_only=True)
    weights = content.get("model", content)
    return {name.removeprefix("module."): value for name, value in weights.items()}


if TYPE_CHECKING:
    _check: type[Detector] = GroundingDinoPackage
