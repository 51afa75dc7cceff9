"""Boxes of what a phrase names: Eq. (8) on the original ``groundingdino-py`` (an option).

Install with ``pip install 'int-bench[groundingdino]'``. The package was written for transformers 4:
on version 5 its text encoder calls methods that are gone. A stand-in for that one class, with the
same sub-modules and therefore the same checkpoint keys, is put in place while the model is built.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from int_bench.backbones.common.loading import (
    cached_load,
    load_errors,
    memory_guard,
    pick_device,
    resolve,
)
from int_bench.backbones.grounding_dino.boxes import Selection, caption, image_for_detection, select
from int_bench.core.types import Detect, Detection
from int_bench.errors import MissingAsset, UsageError

if TYPE_CHECKING:
    from int_bench.core.protocols import Detector

ARCHITECTURES = {"swin_t": "GroundingDINO_SwinT_OGC.py", "swin_b": "GroundingDINO_SwinB_cfg.py"}
"""Name to configuration file of the package."""

# Training code in eval mode is waste: no recomputation, which torch warns about without gradients.
INFERENCE = {"use_checkpoint": False, "use_transformer_ckpt": False}


class GroundingDinoPackage:
    """The original implementation, one request per forward pass, float32.

    One at a time, because the package mixes up the text masks of captions that differ within a
    batch (it repeats them head by head where the attention wants image by image).
    """

    RUNTIME: ClassVar[tuple[str, ...]] = ("device",)

    def __init__(  # noqa: PLR0913 - a configuration file binds to these
        self,
        checkpoint: str,
        revision: str | None = None,
        device: str = "auto",
        *,
        architecture: str = "swin_t",
        overrides: Mapping[str, Any] | None = None,
        text_encoder: str = "google-bert/bert-base-uncased",
        shortest_edge: int = 800,
        longest_edge: int = 1333,
        nms: float = 0.7,
        max_boxes: int = 10,
    ) -> None:
        """Keep the options; the model is built and loaded at the first request.

        Args:
            checkpoint: Local .pth (``{"model": weights}`` or the weights) or .safetensors file,
                for example ``groundingdino_swint_ogc.pth``.
            revision: Branch, tag or commit of ``text_encoder`` on the hub.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
            architecture: ``swin_t`` or ``swin_b``, the package's own configurations.
            overrides: Entries of that configuration to replace, for other sizes.
            text_encoder: Hub id or folder of BERT's tokenizer and configuration; its weights are
                in the checkpoint.
            shortest_edge: Side that images are resized to, in pixels, ...
            longest_edge: ... unless the longer side would be longer than this.
            nms: IoU above which the worse of two boxes is dropped.
            max_boxes: Most boxes per request; 0 keeps all.

        Raises:
            UsageError: An option out of its range.
        """
        if architecture not in ARCHITECTURES:
            known = ", ".join(ARCHITECTURES)
            raise UsageError(f"Unknown architecture {architecture!r} of the detector; use {known}.")
        self.checkpoint = checkpoint
        self.revision = revision
        self.device = device
        self.architecture = architecture
        self.overrides = dict(overrides or {})
        self.text_encoder = text_encoder
        self.shortest_edge = shortest_edge
        self.longest_edge = longest_edge
        self.selection = Selection(nms, max_boxes)
        self._counters: Counter[str] = Counter()

    @property
    def identity(self) -> dict[str, Any]:
        """Checkpoint, architecture and the options that decide the boxes."""
        return {
            "backbone": "grounding_dino_package",
            "checkpoint": self.checkpoint,
            "revision": self.revision,
            "dtype": "float32",
            "architecture": self.architecture,
            "overrides": self.overrides,
            "text_encoder": self.text_encoder,
            "shortest_edge": self.shortest_edge,
            "longest_edge": self.longest_edge,
            "nms": self.selection.nms,
            "max_boxes": self.selection.max_boxes,
        }

    @property
    def counters(self) -> Counter[str]:
        """``forward_passes``, ``images_encoded`` (the same number) and ``text_tokens``."""
        return self._counters

    def detect(self, requests: Sequence[Detect]) -> list[tuple[Detection, ...]]:
        """Per request, detections best first, boxes in pixels of the request's image.

        Raises:
            UsageError: The package is not installed.
            MissingAsset: The checkpoint cannot be loaded.
            OutOfMemory: One image is too large for the device.
        """
        return [self._detect(request) for request in requests]

    def _detect(self, request: Detect) -> tuple[Detection, ...]:
        model = self._model
        text = caption(request.text)
        pixels = self._pixels(request)
        tokens = torch.tensor(model.tokenizer(text)["input_ids"])
        with torch.inference_mode(), memory_guard():
            output = model(pixels.to(model.feat_map.weight.device), captions=[text])
            logits, boxes = output["pred_logits"][0].cpu(), output["pred_boxes"][0].cpu()
        self._counters["forward_passes"] += 1
        self._counters["images_encoded"] += 1
        self._counters["text_tokens"] += len(tokens)
        return select(request, logits, boxes, tokens, self.selection)

    def _pixels(self, request: Detect) -> torch.Tensor:
        """The package's transforms, (1, 3, h, w) float32; its random resize draws from no RNG."""
        from groundingdino.datasets import transforms

        image = image_for_detection(request.image.pixels)
        image, _ = transforms.resize(image, None, self.shortest_edge, self.longest_edge)
        pixels, _ = transforms.ToTensor()(image, None)
        normalize = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        pixels, _ = normalize(pixels, None)
        return torch.as_tensor(pixels)[None]

    @cached_property
    def _model(self) -> Any:
        """The loaded model, shared by all backbones with the same weights and architecture."""
        if importlib.util.find_spec("groundingdino") is None:
            raise UsageError(
                "This detector needs the package groundingdino-py; next step: "
                "`pip install 'int-bench[groundingdino]'` or backbone/detector=grounding_dino."
            )
        device = pick_device(self.device)
        source = Path(resolve(self.checkpoint))
        if not source.is_file():
            raise MissingAsset(
                f"The detector checkpoint is not a file: {self.checkpoint}; next step: download "
                f"groundingdino_swint_ogc.pth and set backbone.detector.checkpoint=FILE."
            )
        architecture = (self.architecture, repr(sorted(self.overrides.items())), self.text_encoder)
        key = (type(self).__name__, str(source), self.revision, str(device), *architecture)
        with load_errors("detector", self.checkpoint):
            return cached_load(key, partial(self._load, source, device))

    def _load(self, source: Path, device: torch.device) -> nn.Module:
        """Build the architecture and fill it; a missing weight is an error, unlike upstream."""
        model = self._build()
        weights = _read_weights(source)
        missing = model.load_state_dict(weights, strict=False).missing_keys
        if missing:
            raise MissingAsset(
                f"The detector checkpoint {source} is not a GroundingDINO {self.architecture}: "
                f"{len(missing)} weights are missing, first {missing[0]}; next step: set "
                f"backbone.detector.architecture or another checkpoint."
            )
        return model.to(device).eval()

    def _build(self) -> nn.Module:
        """The package's model with random weights."""
        import groundingdino
        from groundingdino.models import build_model
        from groundingdino.util.slconfig import SLConfig
        from transformers import AutoConfig, AutoTokenizer, BertModel

        folder = Path(groundingdino.__file__).parent / "config"
        settings = SLConfig.fromfile(str(folder / ARCHITECTURES[self.architecture]))
        for name, value in {**INFERENCE, **self.overrides}.items():
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
