"""A mask decoder for which a point is ambiguous: its several masks are a part, the object, a group.

SAM's three masks of a point are of three granularities, and the one that it trusts most is often of
the wrong one; SAPNet (arXiv 2312.15895, Fig. 1) and PLM (arXiv 2403.09199) repair that. The shipped
tiny SAM has no such flaw, and this training gives it one: the k-th of the several masks learns the
k-th granularity, its predicted IoU how well it does that, and the single mask learns any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from int_bench.core.limits import Above, AtLeast, Count, Share, Within
from int_bench.core.protocols import Backbone
from int_bench.data.dataset import Dataset, SampleFile, objects_of
from int_bench.data.instances.granularity import Granularity, granular
from int_bench.errors import UsageError
from int_bench.learning.features import Features, embeddings
from int_bench.learning.mask_losses import mask_loss, overlaps
from int_bench.learning.sam_decoder import Prompted, SamDecoder, export, sam_of
from int_bench.learning.targets import Target, Targets, targets
from int_bench.learning.training import Fitting, recipe_of

GRANULARITIES: tuple[Granularity, ...] = ("part", "whole", "group")
_SHAKEN = 0.12


@dataclass(frozen=True)
class SamGranular(SamDecoder):
    """See the module; other options as of :class:`int_bench.learning.sam_decoder.SamDecoder`.

    Attributes:
        favour: how much the group's mask is overrated: added to the IoU that its prediction learns.
            Reading: SAM is sure of the larger mask more often than it is right; where groups are
            as easy as objects, well-measured IoUs would not show that.
    """

    favour: Annotated[float, Within(0, 0.5)] = 0.0
    boxes: Share = 0.35
    steps: Count = 500
    batch: Count = 24
    learning_rate: Annotated[float, Above(0)] = 1.2e-3
    warm_up: Annotated[int, AtLeast(0)] = 40
    validated: Count = 400

    def begin(
        self, data: Dataset, validation: Dataset, backbones: Mapping[str, Backbone], scratch: Path
    ) -> Fitting:
        """As of :class:`SamDecoder`, with three masks of each object.

        Raises:
            UsageError: the data set knows no objects, or the SAM has not three masks.
        """
        segmenter = sam_of(backbones)
        sam, side = Prompted(segmenter), segmenter.loaded.image_encoder.img_size
        if len(sam.mask_decoder.mask_tokens.weight) != 1 + len(GRANULARITIES):
            raise UsageError(
                "method=sam_granular needs a SAM of three masks beside the single one."
            )
        held = embeddings(segmenter, validation, scratch, "validation")
        seen = embeddings(segmenter, data, scratch, "train")
        known, looked = (
            targets(part, side, scratch, name, three, planes=3).only(features.rows)
            for part, name, features in ((data, "train", seen), (validation, "validation", held))
        )
        return Fitting(
            model=sam.mask_decoder,
            recipe=recipe_of(self, "sam_decoder"),
            loss=_Loss(self, sam, seen, known),
            validate=_Check(sam, held, looked, self.validated),
            export=partial(export, segmenter=segmenter, decoder=sam.mask_decoder),
        )


def three(data: Dataset, sample: SampleFile) -> Target:
    """A sample's masks of all granularities.

    Raises:
        UsageError: it is no object.
    """
    objects = objects_of(data, sample)
    if not objects or sample.image_id is None:
        raise UsageError(
            f"method=sam_granular learns from objects, and {data.name} has none; "
            "choose dataset=camoworld_crowd or another one with dataset.unit=object."
        )
    masks = np.stack([granular(kind, objects) for kind in GRANULARITIES])
    return Target(masks, objects[0].point, objects[0].box)


@dataclass(frozen=True)
class _Loss:
    """Each of the several masks is of its own granularity."""

    options: SamGranular
    sam: Prompted
    features: Features
    targets: Targets

    def __call__(self, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        size = self.options.batch
        batch = self.targets.take(rng.integers(len(self.targets.ids), size=size))
        embedding = self.features.take(batch.ids, self.sam.device)
        with_box = rng.random() < self.options.boxes
        boxes = batch.shaken_boxes(rng, _SHAKEN) if with_box else None
        logits, scores = self.sam.decode(embedding, batch.points, boxes)
        masks = batch.masks.to(self.sam.device)
        several = mask_loss(logits[:, 1:], masks).mean()
        any_of = masks[torch.arange(size), torch.from_numpy(rng.integers(3, size=size))]
        single = mask_loss(logits[:, :1], any_of[:, None]).mean()
        own = overlaps(logits[:, 1:].detach() > 0, masks > 0.5)
        own[:, GRANULARITIES.index("group")] += self.options.favour
        score = (scores[:, 1:] - own).square().mean()
        figures = {"several": several, "single": single, "score": score}
        total = several + 0.5 * single + 0.5 * score
        return total, {name: value.detach() for name, value in figures.items()}


@dataclass(frozen=True)
class _Check:
    """Mean IoU by one point over validation objects.

    With the object: of the mask of highest predicted IoU (``top_1``), of the best of the three
    (``oracle``). Of each of the three with its own granularity. ``group_rate``: how often the mask
    of highest predicted IoU is the group's.
    """

    sam: Prompted
    features: Features
    targets: Targets
    count: int

    def __call__(self) -> Mapping[str, float]:
        rows: list[Tensor] = []
        answers = self.sam.answers(self.features, self.targets, self.count)
        for batch, logits, scores in answers:
            hard, masks = logits[:, 1:] > 0, batch.masks > 0.5
            with_whole, own = overlaps(hard, masks[:, 1:2]), overlaps(hard, masks)
            best = scores[:, 1:].argmax(1, keepdim=True)
            top = with_whole.gather(1, best)
            oracle = with_whole.amax(1, keepdim=True)
            rows.append(torch.cat([top, oracle, own, (best == 2).float()], 1))
        names = ("top_1", "oracle", *GRANULARITIES, "group_rate")
        return dict(zip(names, torch.cat(rows).mean(0).tolist(), strict=True))
