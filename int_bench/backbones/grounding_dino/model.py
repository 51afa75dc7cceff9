"""Boxes of what a phrase names: Eq. (8) on transformers' GroundingDINO (the default detector)."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from int_bench.backbones.common.ahead import Ahead, Submit
from int_bench.backbones.common.loading import resolve
from int_bench.backbones.common.model import LocalModel
from int_bench.backbones.grounding_dino.boxes import (
    MaxBoxes,
    Selection,
    caption,
    image_for_detection,
    select,
)
from int_bench.core.limits import Share
from int_bench.core.requests import Detect, Detection, Request

if TYPE_CHECKING:
    from int_bench.core.protocols import Detector

Inputs = dict[str, Tensor]
_CHECKS = "TRANSFORMERS_DISABLE_TORCH_CHECK"


@dataclass(eq=False)
class GroundingDino(LocalModel):
    """``AutoModelForZeroShotObjectDetection``: phrases in, boxes out.

    Images are resized by the checkpoint's own processor and batched where their shapes and the
    lengths of their captions agree, so that nothing is padded and no neighbour changes an answer
    by more than rounding.

    Args:
        checkpoint: hub id, local folder or ``zoo:NAME`` of a GroundingDinoForObjectDetection.
        revision, device, dtype, max_batch: As of every `LocalModel`.
        nms: IoU above which the worse of two boxes is dropped; 1 keeps all.
        max_boxes: most boxes per request; 0 keeps all.

    ``counters``: ``forward_passes``, ``images_encoded`` (their rows in sum) and ``text_tokens``.
    """

    ROLE: ClassVar[str] = "detector"
    PRECISION: ClassVar[dict[str, str]] = {"E1": "float32", "E2": "float16"}

    nms: Share = 0.7
    max_boxes: MaxBoxes = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        self._ready: Ahead[Inputs] = Ahead()

    def detect(self, requests: Sequence[Detect]) -> list[tuple[Detection, ...]]:
        """Per request, detections best first, boxes in pixels of the request's image.

        Raises:
            MissingAsset: the checkpoint cannot be loaded.
            OutOfMemory: the batch is too large for the device.
            SampleError: a number is not finite.
        """
        rows = [
            (request, self._ready.take(_seen(request), partial(self._inputs, request)))
            for request in requests
        ]
        return self.in_batches(rows, self._detect, key=_shapes)

    def _detect(self, rows: Sequence[tuple[Detect, Inputs]]) -> list[tuple[Detection, ...]]:
        """One forward pass over requests whose inputs have equal shapes."""
        with self.computing():
            logits, boxes = self._forward([inputs for _, inputs in rows])
        chosen = Selection(self.nms, self.max_boxes)
        return [
            select(request, row_logits, row_boxes, inputs["input_ids"][0], chosen)
            for (request, inputs), row_logits, row_boxes in zip(rows, logits, boxes, strict=True)
        ]

    def begin(self, request: Request[Any], submit: Submit) -> None:
        """The processor's work."""
        if isinstance(request, Detect):
            self._ready.begin(_seen(request), partial(self._inputs, request), submit)

    def _inputs(self, request: Detect) -> Inputs:
        """One request through the library's processor, each value with a batch dimension of 1."""
        processor, _ = self.loaded
        image = image_for_detection(request.image.pixels)
        return dict(processor(images=image, text=caption(request.text), return_tensors="pt"))

    def _forward(self, rows: Sequence[Inputs]) -> tuple[Tensor, Tensor]:
        """Logits, (B, Q, T) float32, and relative boxes, (B, Q, 4), of rows of equal shapes."""
        _, model = self.loaded
        batch = {name: torch.cat([row[name] for row in rows]).to(model.device) for name in rows[0]}
        batch["pixel_values"] = batch["pixel_values"].to(model.dtype)
        with _unchecked(model.device):
            output = model(**batch)
        self.counters["forward_passes"] += 1
        self.counters["images_encoded"] += len(rows)
        self.counters["text_tokens"] += batch["input_ids"].numel()
        # Behind the caption's tokens the logits are minus infinity, as they should be.
        self.finite.see("class logits", output.logits[..., : batch["input_ids"].shape[1]])
        self.finite.see("boxes", output.pred_boxes)
        both = torch.cat([output.logits.float(), output.pred_boxes.float()], dim=-1)
        both = self.finite.fetch(both)
        return both[..., :-4], both[..., -4:]

    def load(self) -> tuple[Any, Any]:
        """Processor and model, in the library's default attention.

        Its eager attention adds the text's boolean mask as 0 and 1, and its SDPA one is refused.
        The image processor is the PIL one, which equals the original code's transforms.
        """
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor
        from transformers.utils import logging

        source = resolve(self.checkpoint)
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        processor = AutoProcessor.from_pretrained(  # type: ignore[no-untyped-call]
            source, revision=self.revision, backend="pil"
        )
        with warnings.catch_warnings():
            # A hint about the speed of a CUDA kernel, nothing that a user can act on.
            warnings.filterwarnings("ignore", message="You'd better set embed_dim")
            model = AutoModelForZeroShotObjectDetection.from_pretrained(
                source, revision=self.revision, dtype=self.precision, use_safetensors=True
            )
        _mend_text_positions(model)
        # Channels last: the layout in which convolutions need no reordering, on CPU and CUDA.
        return processor, model.to(self.place, memory_format=torch.channels_last).eval()


@contextmanager
def _unchecked(device: torch.device) -> Iterator[None]:
    """Leave out transformers' checks of values on CUDA: each of twelve layers waits for one."""
    before = os.environ.get(_CHECKS)
    if device.type != "cuda" or before is not None:
        yield
        return
    os.environ[_CHECKS] = "1"
    try:
        yield
    finally:
        del os.environ[_CHECKS]


def _seen(request: Detect) -> tuple[str, str]:
    """What the processor's work depends on."""
    return request.image.digest, request.text


def _shapes(row: tuple[Detect, Inputs]) -> tuple[torch.Size, torch.Size]:
    """What requests must share to go through the model together."""
    return row[1]["pixel_values"].shape, row[1]["input_ids"].shape


def _mend_text_positions(model: Any) -> None:
    """Let transformers before 5.23 place the tokens of a phrase as the original does.

    There the full stop of a phrase counts as position 0 instead of the one after the last word,
    and the sines and cosines of positions are cut to integers. A token's position is the number
    of tokens before it that it may look at.
    """
    import transformers
    from packaging.version import Version

    if Version(transformers.__version__) >= Version("5.23"):
        return

    def positions(sees: Tensor) -> Tensor:
        """From (B, N, N) bool, True where a token (row) looks at another, to (B, N)."""
        return sees.long().tril(-1).sum(-1)

    def before_bert(module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        ids, mask, types, _ = inputs
        return ids, mask, types, positions(mask[:, 0])

    def before_encoder(
        module: Any, inputs: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        places = positions(~named["text_self_attention_masks"])
        return inputs, named | {"text_position_ids": places.to(named["text_features"].dtype)}

    model.model.text_backbone.register_forward_pre_hook(before_bert)
    model.model.encoder.register_forward_pre_hook(before_encoder, with_kwargs=True)


if TYPE_CHECKING:
    _check: type[Detector] = GroundingDino
