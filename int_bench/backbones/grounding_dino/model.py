"""Boxes of what a phrase names: Eq. (8) on transformers' GroundingDINO (the default detector)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from int_bench.backbones.common.ahead import Ahead, Submit
from int_bench.backbones.common.graphs import Replayed, held
from int_bench.backbones.common.loading import resolve
from int_bench.backbones.common.lru import MEBIBYTE, Lru
from int_bench.backbones.common.model import LocalModel
from int_bench.backbones.grounding_dino import captions, network
from int_bench.backbones.grounding_dino.boxes import (
    MaxBoxes,
    Selection,
    caption,
    image_for_detection,
    select,
)
from int_bench.backbones.grounding_dino.captions import Caption, Words
from int_bench.backbones.grounding_dino.finishing import finished
from int_bench.backbones.grounding_dino.pixels import Padding, pixels_of
from int_bench.core.limits import Share
from int_bench.core.requests import Detect, Detection, Request

if TYPE_CHECKING:
    from int_bench.core.protocols import Detector

Fitted = tuple[Tensor, Padding | None]
"""A picture, (1, 3, H, W), and its padding if any."""
Row = tuple[Tensor, Padding | None, Caption]
"""A picture, its padding, and what is looked for in it."""
ROWS = (1, 2, 4, 6, 8, 12, 16)
"""Sizes of batches for which there are graphs."""
CAPTIONS = 256
"""Of which what they say is kept."""
TABLES_MB = 128
"""MiB of what depends on sizes alone; 20 of a picture of 800 x 1333 pixels."""


@dataclass(eq=False)
class GroundingDino(LocalModel):
    """``AutoModelForZeroShotObjectDetection``: phrases in, boxes out.

    Images are resized and padded as the checkpoint's processor does and batched where their shapes,
    their padding and the lengths of their captions agree, so that no neighbour changes an answer by
    more than rounding. The model is told what is padding; its boxes are relative to the padded
    picture, as the library's processor has them in training.
    A pass is ``network.detected``, over the library's weights: what a caption says and what depends
    on sizes alone is kept between calls.
    On CUDA a pass is one graph: captions are padded to a multiple of eight tokens, which the model
    masks, and batches to sizes that recur.

    Args:
        checkpoint: hub id, local folder or ``zoo:NAME`` of a GroundingDinoForObjectDetection.
        revision, device, dtype, max_batch: As of every `LocalModel`.
        nms: IoU above which the worse of two boxes is dropped; 1 keeps all.
        max_boxes: most boxes per request; 0 keeps all.

    ``counters``: ``forward_passes``, ``images_encoded`` (their rows in sum) and ``text_tokens``, of
    captions that were not kept.
    """

    ROLE: ClassVar[str] = "detector"
    HOLDS: ClassVar[str] = "bbox_embed"
    PRECISION: ClassVar[dict[str, str]] = {"E1": "float32", "E2": "float16"}
    PASSES: ClassVar[int] = 8

    nms: Share = 0.7
    max_boxes: MaxBoxes = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        self._ready: Ahead[Fitted] = Ahead()
        self._captions: Lru[str, Caption] = Lru(CAPTIONS)
        self._tables: Lru[Hashable, Any] = Lru(TABLES_MB * MEBIBYTE, lambda x: x.nbytes)
        self._passes = Replayed(self._run)

    def detect(self, requests: Sequence[Detect]) -> list[tuple[Detection, ...]]:
        """Per request, detections best first, boxes in pixels of the request's image.

        Raises:
            MissingAsset: the checkpoint cannot be loaded.
            OutOfMemory: the batch is too large for the device.
            SampleError: a number is not finite.
        """
        pictures = [
            self._ready.take(_seen(request), partial(self._pixels, request)) for request in requests
        ]
        if not pictures:
            return []
        with self.computing():  # all passes are launched before the first is waited for
            texts = [self._caption(caption(request.text)) for request in requests]
            rows = [(*picture, text) for picture, text in zip(pictures, texts, strict=True)]
            given = self.in_batches(rows, self._forward, _shapes)
            fetched = self.finite.fetch(torch.cat([both.flatten() for both in given]))
        answers = fetched.split([both.numel() for both in given])
        chosen = Selection(self.nms, self.max_boxes)
        return [
            _selected(request, row, answer.view(both.shape), chosen)
            for request, row, answer, both in zip(requests, rows, answers, given, strict=True)
        ]

    def begin(self, request: Request[Any], submit: Submit) -> None:
        """The processor's work."""
        if isinstance(request, Detect):
            self._ready.begin(_seen(request), request, partial(self._pixels, request), submit)

    def _pixels(self, request: Detect) -> Fitted:
        """The request's image for the model, with a batch dimension of 1."""
        processor, _ = self.loaded
        image = image_for_detection(request.image.pixels)
        pixels, padding = pixels_of(image, processor.image_processor)
        return pixels.to(self.precision), padding

    def _caption(self, text: str) -> Caption:
        """What the model makes of a caption, computed unless it is kept."""
        known = self._captions.get(text)
        if known is None:
            processor, model = self.loaded
            ids = processor.tokenizer(text)["input_ids"]
            read = partial(captions.read, model, ids, model.device)
            known = self.flops.of(len(ids), 1, read)
            if model.device.type == "cuda":
                known = captions.filled(known, -(-len(known.ids) // 8) * 8)
            self.counters["text_tokens"] += len(ids)
            self._captions.put(text, known)
        return known

    def _forward(self, rows: Sequence[Row]) -> list[Tensor]:
        """Per row of one key of `_shapes`, boxes and logits side by side, (Q, 4 + T) float32."""
        _, model = self.loaded
        run: Callable[..., Tensor] = self._run
        self.counters["forward_passes"] += 1
        self.counters["images_encoded"] += len(rows)
        count, tokens = len(rows), min(len(text.ids) for _, _, text in rows)
        if model.device.type == "cuda":
            size = next((size for size in ROWS if size >= count), count)
            rows, run = [*rows, *[rows[-1]] * (size - count)], self._passes
        pictures = _uploaded([pixels for pixels, _, _ in rows], model.device)
        spoken = ((text.said, text.hidden) for _, _, text in rows)
        words = [torch.stack(values) for values in zip(*spoken, strict=True)]
        compute = partial(run, pictures, *words, padding=rows[0][1])
        both = self.flops.of(_shapes(rows[0]), len(rows), compute, count)
        both = both[:count].clone()  # a replay writes where the last one did
        # Behind the caption's tokens the logits are minus infinity, as they should be.
        self.finite.see("class logits", both[..., 4 : 4 + tokens], self.precision)
        self.finite.see("boxes", both[..., :4], self.precision)
        return list(both)

    def _run(self, pixels: Tensor, said: Tensor, hidden: Tensor, padding: Padding | None) -> Tensor:
        """Relative boxes, then a logit for each of T tokens, (B, Q, 4 + T) float32."""
        words = Words(said, hidden)
        return network.detected(self.loaded[1], pixels, words, self._known, padding)

    def _known(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What depends on sizes alone, computed unless it is kept."""

        def find() -> Any:
            known = self._tables.get(key)
            if known is None:
                known = make()
                self._tables.put(key, known)
            return known

        return held((id(self), key), find)

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
        # Channels last: the layout in which convolutions need no reordering, on CPU and CUDA.
        model = finished(model).to(self.place, memory_format=torch.channels_last)
        return processor, model.eval()


def _seen(request: Detect) -> tuple[str, str]:
    """What the processor's work depends on, and who asks for it."""
    return request.image.digest, request.text


def _shapes(row: Row) -> tuple[torch.Size, Padding | None, torch.Size]:
    """What requests must share to go through the model together."""
    pixels, padding, text = row
    return pixels.shape, padding, text.said.shape


def _selected(request: Detect, row: Row, both: Tensor, chosen: Selection) -> tuple[Detection, ...]:
    """The detections of one request, from its boxes and logits, (Q, 4 + T)."""
    _, padding, text = row
    frame = padding and padding.around(request.image.size)
    return select(request, both[:, 4:], both[:, :4], text.ids, chosen, frame)


def _uploaded(rows: Sequence[Tensor], device: torch.device) -> Tensor:
    """Rows as one batch on the device; the host goes on while it is brought there."""
    shape = (len(rows), *rows[0].shape[1:])
    batch = torch.empty(
        shape,
        dtype=rows[0].dtype,
        pin_memory=device.type == "cuda",
        memory_format=torch.channels_last,
    )
    torch.cat(list(rows), out=batch)
    return batch.to(device, non_blocking=True)


if TYPE_CHECKING:
    _check: type[Detector] = GroundingDino
