"""Boxes of what a phrase names: Eq. (8) on transformers' GroundingDINO (the default detector)."""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from int_bench.backbones.common.loading import (
    cached_load,
    load_errors,
    memory_guard,
    pick_device,
    pick_dtype,
    resolve,
)
from int_bench.backbones.grounding_dino.boxes import Selection, caption, image_for_detection, select
from int_bench.core.types import Detect, Detection
from int_bench.errors import UsageError

if TYPE_CHECKING:
    from int_bench.core.protocols import Detector

Inputs = dict[str, torch.Tensor]


class GroundingDino:
    """``AutoModelForZeroShotObjectDetection``: phrases in, boxes out.

    Images are resized by the checkpoint's own processor and batched where their shapes and the
    lengths of their captions agree, so that nothing is padded and no neighbour changes an answer
    by more than rounding.
    """

    RUNTIME: ClassVar[tuple[str, ...]] = ("device", "max_batch")
    PRECISION: ClassVar[dict[str, str]] = {"E1": "float32", "E2": "bfloat16"}

    def __init__(  # noqa: PLR0913 - a configuration file binds to these
        self,
        checkpoint: str,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        max_batch: int = 16,
        *,
        nms: float = 0.7,
        max_boxes: int = 10,
    ) -> None:
        """Keep the options; model and processor are loaded at the first request.

        Args:
            checkpoint: Hub id, local folder or ``zoo:NAME`` of a GroundingDinoForObjectDetection.
            revision: Branch, tag or commit on the hub.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
            dtype: ``auto``, ``float32``, ``bfloat16``, ``float16``.
            max_batch: Most images per forward pass.
            nms: IoU above which the worse of two boxes is dropped.
            max_boxes: Most boxes per request; 0 keeps all.

        Raises:
            UsageError: An option out of its range.
        """
        if max_batch < 1:
            raise UsageError(f"The detector's max_batch is {max_batch}; it must be at least 1.")
        self.checkpoint = checkpoint
        self.revision = revision
        self.device = device
        self.dtype = dtype
        self.max_batch = max_batch
        self.selection = Selection(nms, max_boxes)
        self._counters: Counter[str] = Counter()

    @property
    def identity(self) -> dict[str, Any]:
        """Checkpoint, precision and the options that decide the boxes."""
        return {
            "backbone": "grounding_dino",
            "checkpoint": self.checkpoint,
            "revision": self.revision,
            "dtype": str(pick_dtype(self.dtype, pick_device(self.device))).removeprefix("torch."),
            "nms": self.selection.nms,
            "max_boxes": self.selection.max_boxes,
        }

    @property
    def counters(self) -> Counter[str]:
        """``forward_passes``, ``images_encoded`` (their rows in sum) and ``text_tokens``."""
        return self._counters

    def detect(self, requests: Sequence[Detect]) -> list[tuple[Detection, ...]]:
        """Per request, detections best first, boxes in pixels of the request's image.

        Raises:
            MissingAsset: The checkpoint cannot be loaded.
            OutOfMemory: The batch is too large for the device.
        """
        inputs = [self._inputs(request) for request in requests]
        groups: dict[tuple[torch.Size, ...], list[int]] = defaultdict(list)
        for index, values in enumerate(inputs):
            groups[values["pixel_values"].shape, values["input_ids"].shape].append(index)
        answers: list[tuple[Detection, ...]] = [()] * len(requests)
        for group in groups.values():
            for start in range(0, len(group), self.max_batch):
                chunk = group[start : start + self.max_batch]
                with torch.inference_mode(), memory_guard():
                    logits, boxes = self._forward([inputs[index] for index in chunk])
                for row, index in enumerate(chunk):
                    tokens = inputs[index]["input_ids"][0]
                    answers[index] = select(
                        requests[index], logits[row], boxes[row], tokens, self.selection
                    )
        return answers

    def _inputs(self, request: Detect) -> Inputs:
        """One request through the library's processor, each value with a batch dimension of 1."""
        processor, _ = self._loaded
        image = image_for_detection(request.image.pixels)
        return dict(processor(images=image, text=caption(request.text), return_tensors="pt"))

    def _forward(self, rows: Sequence[Inputs]) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits, (B, Q, T) float32, and relative boxes, (B, Q, 4), of rows of equal shapes."""
        _, model = self._loaded
        batch = {name: torch.cat([row[name] for row in rows]).to(model.device) for name in rows[0]}
        batch["pixel_values"] = batch["pixel_values"].to(model.dtype)
        output = model(**batch)
        self._counters["forward_passes"] += 1
        self._counters["images_encoded"] += len(rows)
        self._counters["text_tokens"] += batch["input_ids"].numel()
        return output.logits.float().cpu(), output.pred_boxes.float().cpu()

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """Processor and model, shared by all backbones with the same weights."""
        device = pick_device(self.device)
        dtype = pick_dtype(self.dtype, device)
        source = resolve(self.checkpoint)
        key = (type(self).__name__, source, self.revision, str(dtype), str(device))
        with load_errors("detector", self.checkpoint):
            return cached_load(key, partial(self._load, source, device, dtype))

    def _load(self, source: str, device: torch.device, dtype: torch.dtype) -> tuple[Any, Any]:
        """Load in the library's default attention.

        Its eager attention adds the text's boolean mask as 0 and 1, and its SDPA one is refused.
        The image processor is the PIL one, which equals the original code's transforms.
        """
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        processor = AutoProcessor.from_pretrained(  # type: ignore[no-untyped-call]
            source, revision=self.revision, backend="pil"
        )
        with warnings.catch_warnings():
            # A hint about the speed of a CUDA kernel, nothing that a user can act on.
            warnings.filterwarnings("ignore", message="You'd better set embed_dim")
            model = AutoModelForZeroShotObjectDetection.from_pretrained(
                source, revision=self.revision, dtype=dtype, use_safetensors=True
            )
        _mend_text_positions(model)
        # Channels last: the layout in which convolutions need no reordering, on CPU and CUDA.
        return processor, model.to(device, memory_format=torch.channels_last).eval()


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

    def positions(sees: torch.Tensor) -> torch.Tensor:
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
