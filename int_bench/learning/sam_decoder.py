"""Fine-tuning of SAM's mask decoder, encoder and prompts frozen: full masks, scribbles or points.

With scribbles or points the loss is the partial cross-entropy, over marked pixels only: the rows
SAM-S and SAM-P of INT's Table 1 are "SAM fine-tuned with scribble / point supervision" (He et al.,
arXiv 2305.10918), whose code is not public.

Reading: prompts while training are points of the object and, half of the time, its shaken box; the
several masks share the loss so that the best one counts most, as SAM is trained.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from int_bench.backbones.common.adapter import write
from int_bench.backbones.common.batching import chunks
from int_bench.backbones.sam import Sam
from int_bench.backbones.sam.decoding import decode_masks, embed_prompts
from int_bench.backbones.sam.loading import DECODER_PREFIX
from int_bench.core.limits import Above, AtLeast, Count, Share, Within
from int_bench.core.protocols import Backbone
from int_bench.data.dataset import Dataset
from int_bench.errors import UsageError
from int_bench.learning.features import Features, embeddings
from int_bench.learning.marks import marks_of
from int_bench.learning.mask_losses import Marks, mask_loss, overlaps, partial_entropy
from int_bench.learning.targets import Batch, Targets, targets
from int_bench.learning.training import Fitting, recipe_of

_SHAKEN = 0.1
"""Of a box's extent, the spread of its sides while training."""


@dataclass(frozen=True)
class SamDecoder:
    """Trains a ``segment_anything`` mask decoder; see the module.

    Attributes:
        supervision: what is known of an object: its ``mask``, a ``scribble`` on it and one beside
            it, or a ``point`` on it and one beside it.
        boxes: share of the steps whose prompts have a box beside the point.
        steps, learning_rate, warm_up, weight_decay, clip, seed, report_every, save_every: of
            :class:`int_bench.learning.loop.Recipe`.
        batch: objects of a step.
        validated: the first so many objects of the validation split are looked at.
    """

    RUNTIME: ClassVar[tuple[str, ...]] = ("save_every",)

    supervision: Literal["mask", "scribble", "point"] = "mask"
    boxes: Share = 0.5
    steps: Count = 300
    batch: Count = 16
    learning_rate: Annotated[float, Above(0)] = 5e-4
    warm_up: Annotated[int, AtLeast(0)] = 30
    weight_decay: Annotated[float, Within(0, 1)] = 0.01
    clip: Annotated[float, Above(0)] = 1.0
    seed: Annotated[int, AtLeast(0)] = 0
    report_every: Count = 100
    save_every: Annotated[float, AtLeast(0)] = 60.0
    validated: Count = 128

    @property
    def roles(self) -> frozenset[str]:
        """The segmenter alone."""
        return frozenset({"segmenter"})

    def begin(
        self, data: Dataset, validation: Dataset, backbones: Mapping[str, Backbone], scratch: Path
    ) -> Fitting:
        """Encode the pictures of both splits, and take a copy of the decoder to train.

        Raises:
            UsageError: the segmenter is no SAM of this package, or no object can be trained on.
        """
        segmenter = sam_of(backbones)
        sam, side = Prompted(segmenter), segmenter.loaded.image_encoder.img_size
        seen, held = (
            embeddings(segmenter, part, scratch, name)
            for part, name in ((data, "train"), (validation, "validation"))
        )
        known = targets(data, side, scratch, "train").only(seen.rows)
        looked = targets(validation, side, scratch, "validation").only(held.rows)
        return Fitting(
            model=sam.mask_decoder,
            recipe=recipe_of(self, "sam_decoder"),
            loss=_Loss(self, sam, seen, known),
            validate=_Check(sam, held, looked, self.validated),
            export=partial(export, segmenter=segmenter, decoder=sam.mask_decoder),
        )


def sam_of(backbones: Mapping[str, Backbone]) -> Sam:
    """The segmenter.

    Raises:
        UsageError: it is no SAM of this package.
    """
    segmenter = backbones["segmenter"]
    if not isinstance(segmenter, Sam):
        raise UsageError(
            "The segmenter is no SAM that can be trained; choose e.g. backbone/segmenter=zoo_sam."
        )
    return segmenter


def export(folder: Path, segmenter: Sam, decoder: nn.Module) -> None:
    """Write a mask decoder as an adapter, float16."""
    sizes = {"base": segmenter.checkpoint}
    weights = {DECODER_PREFIX + name: tensor for name, tensor in decoder.state_dict().items()}
    write(folder, Sam.ADAPTER, segmenter.frozen, sizes, weights, half=True)


class Prompted:
    """A frozen SAM's prompts with a mask decoder of its own, in float32.

    Args:
        segmenter: is not changed.
    """

    def __init__(self, segmenter: Sam) -> None:
        sam = segmenter.loaded
        self.prompt_encoder, self.device = sam.prompt_encoder, segmenter.place
        self.mask_decoder: Any = copy.deepcopy(sam.mask_decoder).requires_grad_(True)

    def decode(
        self, embedding: Tensor, points: Tensor, boxes: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Mask logits (B, M, s, s) and predicted IoUs (B, M), the single mask first.

        Args:
            embedding: (B, C, g, g).
            points: (B, 2) x, y of one positive point, in pixels of the model's square.
            boxes: (B, 4) or None, in the same frame.
        """
        labels = torch.ones(len(points), 1, dtype=torch.int32, device=self.device)
        placed = None if boxes is None else boxes.to(self.device)
        prompts = embed_prompts(self, (points[:, None].to(self.device), labels), placed)
        decoded = decode_masks(self, embedding, prompts)
        return decoded.masks, decoded.ious

    def answers(
        self, features: Features, known: Targets, count: int
    ) -> Iterator[tuple[Batch, Tensor, Tensor]]:
        """The first ``count`` objects in batches, and what :meth:`decode` makes of their points.

        Yields:
            The batch, mask logits (B, M, s, s) and predicted IoUs (B, M), on the CPU.
        """
        for picked in chunks(range(min(count, len(known.ids))), 32):
            batch = known.take(picked)
            embedding = features.take(batch.ids, self.device)
            logits, scores = self.decode(embedding, batch.points, None)
            yield batch, logits.cpu(), scores.cpu()


@dataclass(frozen=True)
class _Loss:
    """The loss of a batch."""

    options: SamDecoder
    sam: Prompted
    features: Features
    targets: Targets

    def __call__(self, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        batch = self.targets.take(rng.integers(len(self.targets.ids), size=self.options.batch))
        embedding = self.features.take(batch.ids, self.sam.device)
        with_box = rng.random() < self.options.boxes
        boxes = batch.shaken_boxes(rng, _SHAKEN) if with_box else None
        logits, scores = self.sam.decode(embedding, batch.points, boxes)
        masks = batch.masks.to(self.sam.device)
        losses = self._losses(logits, masks, batch.ids)
        several = 0.7 * losses[:, 1:].amin(1) + 0.3 * losses[:, 1:].mean(1)
        total = losses[:, 0].mean() + several.mean()
        figures = {"single": losses[:, 0].mean(), "several": several.mean()}
        if self.options.supervision == "mask":  # of marks alone no IoU is known
            score = (scores - overlaps(logits.detach() > 0, masks > 0.5)).square().mean()
            total, figures = total + 0.5 * score, {**figures, "score": score}
        return total, {name: value.detach() for name, value in figures.items()}

    def _losses(self, logits: Tensor, masks: Tensor, ids: Sequence[str]) -> Tensor:
        """(B, M)."""
        kind = self.options.supervision
        if kind == "mask":
            return mask_loss(logits, masks.expand_as(logits))
        marks = marks_of(ids, masks[:, 0].cpu(), kind, self.options.seed)
        return partial_entropy(logits, Marks(*(part.to(logits.device) for part in marks)))


@dataclass(frozen=True)
class _Check:
    """Mean IoU over validation objects, prompted by one point.

    Of the mask of highest predicted IoU (``top_1``), of the best of the several (``oracle``), and
    of the single one.
    """

    sam: Prompted
    features: Features
    targets: Targets
    count: int

    def __call__(self) -> Mapping[str, float]:
        rows: list[Tensor] = []
        answers = self.sam.answers(self.features, self.targets, self.count)
        for batch, logits, scores in answers:
            own = overlaps(logits > 0, batch.masks > 0.5)
            top = own.gather(1, 1 + scores[:, 1:].argmax(1, keepdim=True))[:, 0]
            rows.append(torch.stack([top, own[:, 1:].amax(1), own[:, 0]], 1))
        top_1, oracle, single = torch.cat(rows).mean(0).tolist()
        return {"top_1": top_1, "oracle": oracle, "single": single}
