"""Concept segmenter: SAM 3 prompted with text, on transformers.

Source: Carion et al., "SAM 3: Segment Anything with Concepts", arXiv 2511.16719. Confidence,
resizing and the cut at one half are those of ``post_process_instance_segmentation``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import PIL.Image
import torch
from torch import Tensor

from int_bench.backbones.common.batching import chunks
from int_bench.backbones.common.loading import (
    cached_load,
    load_errors,
    memory_guard,
    pick_device,
    pick_dtype,
    resolve,
)
from int_bench.core.types import Segmentation, SegmentConcept
from int_bench.errors import MissingAsset

if TYPE_CHECKING:
    from int_bench.core.protocols import ConceptSegmenter

_ROLE = "concept_segmenter"
_SMALLEST_PROBABILITY = 1e-6


@dataclass(eq=False)
class Sam3:
    """A `ConceptSegmenter` over ``Sam3Model``.

    Args:
        checkpoint: Hub id or local folder.
        revision: Of the hub repository.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
        dtype: ``auto`` (float32 on a CPU, half precision on CUDA) or a name.
        max_batch: At most so many pictures per forward pass.
    """

    RUNTIME: ClassVar[tuple[str, ...]] = ("device", "max_batch")
    PRECISION: ClassVar[dict[str, str]] = {"E1": "float32", "E2": "bfloat16"}

    checkpoint: str = "facebook/sam3"
    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    max_batch: int = 4

    def __post_init__(self) -> None:
        self._device = pick_device(self.device)
        self._dtype = pick_dtype(self.dtype, self._device)
        self._counters: Counter[str] = Counter()

    @property
    def identity(self) -> Mapping[str, Any]:
        """Class, checkpoint and precision."""
        return {
            "class": "Sam3",
            "checkpoint": self.checkpoint,
            "revision": self.revision,
            "dtype": str(self._dtype).removeprefix("torch."),
        }

    @property
    def counters(self) -> Counter[str]:
        """``rows``: pictures with a text that went through the model."""
        return self._counters

    def segment_concept(self, requests: Sequence[SegmentConcept]) -> list[tuple[Segmentation, ...]]:
        """The instances of each request's phrase, best first.

        Logits are (H, W) float32 at the size of the request's picture; ``iou`` is the confidence,
        0..1.

        Raises:
            OutOfMemory: The batch does not fit.
            MissingAsset: The checkpoint cannot be loaded.
        """
        answers: list[tuple[Segmentation, ...]] = []
        with torch.inference_mode(), memory_guard():
            for positions in chunks(list(range(len(requests))), self.max_batch):
                answers += self._segment([requests[position] for position in positions])
        return answers

    def _segment(self, requests: Sequence[SegmentConcept]) -> list[tuple[Segmentation, ...]]:
        loaded = self._loaded
        inputs = loaded.processor(
            images=[PIL.Image.fromarray(request.image.pixels) for request in requests],
            text=[request.text for request in requests],
            return_tensors="pt",
        ).to(self._device)
        output = loaded.model(
            pixel_values=inputs["pixel_values"].to(self._dtype),
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
        )
        self._counters["rows"] += len(requests)
        scores = output.pred_logits.float().sigmoid()
        if output.presence_logits is not None:
            scores = scores * output.presence_logits.float().sigmoid()
        masks = output.pred_masks.float().sigmoid()
        return [_instances(*row) for row in zip(requests, scores, masks, strict=True)]

    @property
    def _loaded(self) -> _Loaded:
        """Model and processor, loaded at first use."""
        key = (Sam3, self.checkpoint, self.revision, self._dtype, self._device)
        with load_errors(_ROLE, self.checkpoint):
            return cached_load(key, self._load)

    def _load(self) -> _Loaded:
        from transformers import Sam3Model, Sam3Processor

        path, revision = resolve(self.checkpoint), self.revision or "main"
        loaded: Any = Sam3Model.from_pretrained(
            path,
            revision=revision,
            dtype=self._dtype,
            use_safetensors=True,
            output_loading_info=True,
        )
        model, report = loaded
        if report["missing_keys"]:
            absent = sorted(report["missing_keys"])
            raise MissingAsset(
                f"The {_ROLE} checkpoint is not usable: {self.checkpoint} lacks {len(absent)} "
                f"weights of its model, {absent[0]} first; next step: fetch it again."
            )
        processor = Sam3Processor.from_pretrained(path, revision=revision)
        return _Loaded(model.to(self._device).eval().requires_grad_(False), processor)


@dataclass(frozen=True)
class _Loaded:
    """What backbones with the same checkpoint share."""

    model: Any
    processor: Any


def _instances(request: SegmentConcept, scores: Tensor, masks: Tensor) -> tuple[Segmentation, ...]:
    """One picture's instances from all queries: ``scores`` (Q,), ``masks`` (Q, h, w), 0..1."""
    order = scores.argsort(descending=True, stable=True)
    kept = order[scores[order] > request.threshold]
    if not len(kept):
        return ()
    large = torch.nn.functional.interpolate(
        masks[kept][None], size=request.image.size, mode="bilinear", align_corners=False
    )[0]
    logits = torch.logit(large, eps=_SMALLEST_PROBABILITY).cpu().numpy()
    return tuple(
        Segmentation(mask, score) for mask, score in zip(logits, scores[kept].tolist(), strict=True)
    )


if TYPE_CHECKING:
    _check: type[ConceptSegmenter] = Sam3
