"""Concept segmenter: SAM 3 prompted with text, on transformers.

Source: Carion et al., "SAM 3: Segment Anything with Concepts", arXiv 2511.16719. Confidence,
resizing and the cut at one half are those of ``post_process_instance_segmentation``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import PIL.Image
import torch
from torch import Tensor

from int_bench.backbones.common.loading import refuse_incomplete, resolve
from int_bench.backbones.common.model import LocalModel
from int_bench.core.limits import Count
from int_bench.core.requests import Segmentation, SegmentConcept
from int_bench.core.types import SoftMask

if TYPE_CHECKING:
    from int_bench.core.protocols import ConceptSegmenter

_SMALLEST_PROBABILITY = 1e-6


@dataclass(eq=False)
class Sam3(LocalModel):
    """A `ConceptSegmenter` over ``Sam3Model``; options as of every `LocalModel`.

    ``counters``: ``rows``, pictures with a text that went through the model.
    """

    ROLE: ClassVar[str] = "concept_segmenter"
    PRECISION: ClassVar[dict[str, str]] = {"E1": "float32", "E2": "bfloat16"}

    checkpoint: str = "facebook/sam3"
    max_batch: Count = field(default=4, kw_only=True)

    def segment_concept(self, requests: Sequence[SegmentConcept]) -> list[tuple[Segmentation, ...]]:
        """The instances of each request's phrase, best first.

        Logits are (H, W) float32 at the size of the request's picture; ``iou`` is the confidence,
        0..1.

        Raises:
            SampleError: a number is not finite.
            OutOfMemory: the batch does not fit.
            MissingAsset: the checkpoint cannot be loaded.
        """
        with self.computing():
            return self.in_batches(requests, self._segment)

    def _segment(self, requests: Sequence[SegmentConcept]) -> list[tuple[Segmentation, ...]]:
        loaded: _Loaded = self.loaded
        inputs = loaded.processor(
            images=[PIL.Image.fromarray(request.image.pixels) for request in requests],
            text=[request.text for request in requests],
            return_tensors="pt",
        ).to(self.place)
        ids = inputs["input_ids"]
        compute = partial(
            loaded.model,
            pixel_values=inputs["pixel_values"].to(self.precision),
            input_ids=ids,
            attention_mask=inputs["attention_mask"],
        )
        output = self.flops.of(ids.shape[1], len(requests), compute)
        self.counters["rows"] += len(requests)
        see = self.finite.see
        scores = see("class logits", output.pred_logits).float().sigmoid()
        if output.presence_logits is not None:
            presence = see("presence logits", output.presence_logits).float().sigmoid()
            scores = scores * presence
        masks = see("mask logits", output.pred_masks).float().sigmoid()
        return [_instances(*row) for row in zip(requests, scores, masks, strict=True)]

    def load(self) -> _Loaded:
        """Model and processor; weights from safetensors only.

        Raises:
            MissingAsset: some weights of the model are not in the checkpoint.
        """
        from transformers import Sam3Model, Sam3Processor

        path, revision = resolve(self.checkpoint), self.revision or "main"
        pair: Any = Sam3Model.from_pretrained(
            path,
            revision=revision,
            dtype=self.precision,
            use_safetensors=True,
            output_loading_info=True,
        )
        model, report = pair
        refuse_incomplete(self.ROLE, self.checkpoint, report)
        processor = Sam3Processor.from_pretrained(path, revision=revision)
        return _Loaded(model.to(self.place).eval().requires_grad_(False), processor)


@dataclass(frozen=True)
class _Loaded:
    """What backbones with the same checkpoint share."""

    model: Any
    processor: Any


def _instances(request: SegmentConcept, scores: Tensor, masks: Tensor) -> tuple[Segmentation, ...]:
    """One picture's instances from all queries: ``scores`` (Q,), ``masks`` (Q, h, w), 0..1."""
    order = scores.argsort(descending=True, stable=True)
    kept = order[scores[order] > request.threshold]
    return tuple(
        Segmentation(_logits(masks[query], request.image.size), float(scores[query]))
        for query in kept
    )


def _logits(mask: Tensor, size: tuple[int, int]) -> SoftMask:
    """One mask, (h, w) in 0..1, as logits at a picture's (height, width), float32."""
    large = torch.nn.functional.interpolate(
        mask[None, None], size=size, mode="bilinear", align_corners=False
    )
    logits: SoftMask = torch.logit(large[0, 0], eps=_SMALLEST_PROBABILITY).cpu().numpy()
    return logits


if TYPE_CHECKING:
    _check: type[ConceptSegmenter] = Sam3
