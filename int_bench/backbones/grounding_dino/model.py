"""Boxes of what a phrase names: Eq. (8) on transformers' GroundingDINO (the default detector)."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from int_bench.backbones.common.ahead import Ahead, Submit
from int_bench.backbones.common.graphs import Replayed
from int_bench.backbones.common.loading import resolve
from int_bench.backbones.common.model import LocalModel
from int_bench.backbones.grounding_dino.boxes import (
    MaxBoxes,
    Selection,
    caption,
    image_for_detection,
    select,
)
from int_bench.backbones.grounding_dino.sampling import summed_where_sampled
from int_bench.core.limits import Share
from int_bench.core.requests import Detect, Detection, Request

if TYPE_CHECKING:
    from int_bench.core.protocols import Detector

Inputs = dict[str, Tensor]
NAMES = ("pixel_values", "input_ids", "token_type_ids", "attention_mask")
"""What the processor makes that the model reads; no picture is padded, so its mask says nothing."""
ROWS = (1, 2, 4, 6, 8, 12, 16)
"""Sizes of batches for which there are graphs."""
_CHECKS = "TRANSFORMERS_DISABLE_TORCH_CHECK"


@dataclass(eq=False)
class GroundingDino(LocalModel):
    """``AutoModelForZeroShotObjectDetection``: phrases in, boxes out.

    Images are resized by the checkpoint's own processor and batched where their shapes and the
    lengths of their captions agree, so that no neighbour changes an answer by more than rounding.
    On CUDA a pass is one graph: captions are padded to a multiple of eight tokens, which the model
    masks, and batches to sizes that recur.

    Args:
        checkpoint: hub id, local folder or ``zoo:NAME`` of a GroundingDinoForObjectDetection.
        revision, device, dtype, max_batch: As of every `LocalModel`.
        nms: IoU above which the worse of two boxes is dropped; 1 keeps all.
        max_boxes: most boxes per request; 0 keeps all.

    ``counters``: ``forward_passes``, ``images_encoded`` (their rows in sum) and ``text_tokens``.
    """

    ROLE: ClassVar[str] = "detector"
    HOLDS: ClassVar[str] = "bbox_embed"
    PRECISION: ClassVar[dict[str, str]] = {"E1": "float32", "E2": "float16"}
    PASSES: ClassVar[int] = 8

    nms: Share = 0.7
    max_boxes: MaxBoxes = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        self._ready: Ahead[Inputs] = Ahead()
        self._passes = Replayed(self._run)

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
        if not rows:
            return []
        with self.computing():  # all passes are launched before the first is waited for
            given = self.in_batches([inputs for _, inputs in rows], self._forward, self._shapes)
            fetched = self.finite.fetch(torch.cat([both.flatten() for both in given]))
        answers = fetched.split([both.numel() for both in given])
        chosen = Selection(self.nms, self.max_boxes)
        return [
            _selected(request, inputs, answer.view(both.shape), chosen)
            for (request, inputs), answer, both in zip(rows, answers, given, strict=True)
        ]

    def begin(self, request: Request[Any], submit: Submit) -> None:
        """The processor's work."""
        if isinstance(request, Detect):
            self._ready.begin(_seen(request), request, partial(self._inputs, request), submit)

    def _inputs(self, request: Detect) -> Inputs:
        """One request through the library's processor, each value with a batch dimension of 1."""
        processor, _ = self.loaded
        image = image_for_detection(request.image.pixels)
        inputs = dict(processor(images=image, text=caption(request.text), return_tensors="pt"))
        return {**inputs, NAMES[0]: inputs[NAMES[0]].to(self.precision)}

    def _forward(self, rows: Sequence[Inputs]) -> list[Tensor]:
        """Per row of equal shapes, relative boxes and logits side by side, (Q, 4 + T) float32."""
        _, model = self.loaded
        run: Callable[..., Tensor] = self._run
        tokens = min(row["input_ids"].shape[1] for row in rows)
        self.counters["forward_passes"] += 1
        self.counters["images_encoded"] += len(rows)
        self.counters["text_tokens"] += sum(row["input_ids"].numel() for row in rows)
        count = len(rows)
        if model.device.type == "cuda":
            rows, run = _recurring(rows), self._passes
        batch = [_uploaded([row[name] for row in rows], model.device) for name in NAMES]
        with _unchecked(model.device):
            # A replay writes where the last one did.
            shapes = tuple(part.shape[1:] for part in batch)
            both = self.flops.of(shapes, len(rows), partial(run, *batch), count)[:count].clone()
        # Behind the caption's tokens the logits are minus infinity, as they should be.
        self.finite.see("class logits", both[..., 4 : 4 + tokens], self.precision)
        self.finite.see("boxes", both[..., :4], self.precision)
        return list(both)

    def _run(self, pixels: Tensor, *texts: Tensor) -> Tensor:
        """Relative boxes, then a logit for each of T tokens, (B, Q, 4 + T) float32."""
        _, model = self.loaded
        shown = torch.ones(pixels[:, 0].shape, dtype=torch.long, device=pixels.device)
        named = dict(zip(NAMES[1:], texts, strict=True))
        output = model(pixel_values=pixels, pixel_mask=shown, **named)
        logits = output.logits[..., : texts[0].shape[1]]
        return torch.cat([output.pred_boxes.float(), logits.float()], dim=-1)

    def _shapes(self, inputs: Inputs) -> tuple[torch.Size, int]:
        """What requests must share to go through the model together."""
        tokens = inputs["input_ids"].shape[1]
        if self.place.type == "cuda":
            tokens = _next(tokens)
        return inputs["pixel_values"].shape, tokens

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
        _mend_text_positions(summed_where_sampled(model))
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


def _selected(
    request: Detect, inputs: Inputs, both: Tensor, chosen: Selection
) -> tuple[Detection, ...]:
    """The detections of one request, from its boxes and logits, (Q, 4 + T)."""
    return select(request, both[:, 4:], both[:, :4], inputs["input_ids"][0], chosen)


def _uploaded(rows: Sequence[Tensor], device: torch.device) -> Tensor:
    """Rows as one batch on the device; the host goes on while it is brought there."""
    shape = (len(rows), *rows[0].shape[1:])
    batch = torch.empty(shape, dtype=rows[0].dtype, pin_memory=device.type == "cuda")
    torch.cat(list(rows), out=batch)
    return batch.to(device, non_blocking=True)


def _next(tokens: int) -> int:
    """The length to which a caption of so many tokens is padded."""
    return -(-tokens // 8) * 8


def _recurring(rows: Sequence[Inputs]) -> list[Inputs]:
    """Rows of which number and captions have sizes that recur; the last row stands in for none."""
    tokens = _next(rows[0]["input_ids"].shape[1])
    count = next((size for size in ROWS if size >= len(rows)), len(rows))
    padded = [
        {
            name: tensor if name == NAMES[0] else pad(tensor, (0, tokens - tensor.shape[1]))
            for name, tensor in row.items()
            if name in NAMES
        }
        for row in rows
    ]
    return [*padded, *[padded[-1]] * (count - len(rows))]


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
