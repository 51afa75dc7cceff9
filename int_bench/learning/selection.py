"""Trains the selection half of SAPNet on bags of proposals: L_psm and L_prm of Eq. (9).

Source: Wei et al., CVPR 2024 (arXiv 2312.15895). Reading: the paper's stem is a ResNet-50 that is
shared with the mask head; here the selector has a trunk of its own, trained with it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from int_bench.backbones.common import adapter
from int_bench.backbones.selector import bms, pnpg, prm
from int_bench.backbones.selector.boxes import iou
from int_bench.backbones.selector.model import FROZEN, KIND
from int_bench.backbones.selector.network import SelectionNetwork
from int_bench.backbones.selector.options import Bms, Choices, Pnpg, Prm, Psm
from int_bench.backbones.selector.selection import (
    Bags,
    First,
    certainty,
    final_boxes,
    first_loss,
    first_stage,
    second_stage,
)
from int_bench.core.files import expanded
from int_bench.core.limits import AtLeast, Count, Share, Within
from int_bench.core.protocols import Backbone
from int_bench.data.dataset import Dataset, InstanceDataset
from int_bench.learning.bag_batches import TrainingImages
from int_bench.learning.loop import Recipe, device
from int_bench.learning.propose import propose
from int_bench.learning.training import Fitting
from int_bench.methods.sapnet.proposing import Proposing

_say = partial(print, file=sys.stderr, flush=True)
LAMBDA = 0.25
"""Weight of L_psm in Eq. (9)."""
_VALIDATED = 128
"""Images whose objects a report measures."""


@dataclass(frozen=True)
class SelectionTraining:
    """A training of a selector.

    Attributes:
        seed: of the run.
        steps: optimizer steps.
        batch: images of a step.
        learning_rate: peak learning rate of AdamW.
        weight_decay: decoupled weight decay.
        width: of the head's shared layers; 1024 in the paper.
        flip: share of images that are mirrored.
        bags: folder of `int-bench propose` for the same samples; None makes them first.
        proposing: what makes a bag.
        psm, pnpg, prm, bms: what the method does; see ``backbones.selector.options``.
        report_every: steps between reports.
    """

    RUNTIME: ClassVar[tuple[str, ...]] = ("bags", "report_every")

    seed: Annotated[int, Within(0, 9223372036854775807)] = 0
    steps: Count = 1200
    batch: Count = 8
    learning_rate: Annotated[float, AtLeast(0)] = 2e-3
    weight_decay: Annotated[float, AtLeast(0)] = 0.01
    width: Count = 128
    flip: Share = 0.5
    bags: str | None = None
    proposing: Proposing = field(default_factory=Proposing)
    psm: Psm = field(default_factory=Psm)
    pnpg: Pnpg = field(default_factory=Pnpg)
    prm: Prm = field(default_factory=Prm)
    bms: Bms = field(default_factory=Bms)
    report_every: Count = 100

    @property
    def roles(self) -> frozenset[str]:
        """The segmenter, whose proposals are selected from."""
        return frozenset({"segmenter"})

    @property
    def choices(self) -> Choices:
        """What the method does."""
        return Choices(self.psm, self.pnpg, self.prm, self.bms)

    def begin(
        self,
        data: Dataset,
        validation: Dataset,
        backbones: Mapping[str, Backbone],
        scratch: Path,
    ) -> Fitting:
        """Make the bags of the training objects, and a network for their classes.

        Reports measure the training objects, as the paper's Table 7 does: labels are selected for
        them, and nothing else is.

        Raises:
            UserError: the data knows no objects, or none of them can be used.
        """
        segmenter: Any = backbones["segmenter"]
        folder = scratch / "bags" if self.bags is None else expanded(self.bags)
        store = propose(data, segmenter, self.proposing, folder, _say)
        assert isinstance(data, InstanceDataset)
        images = TrainingImages(data, list(store), device())
        torch.manual_seed(self.seed)
        network = SelectionNetwork(len(images.categories), self.width, self.psm.background)
        model = _Counted(network).to(device())
        recipe = Recipe(
            name="selector",
            steps=self.steps,
            learning_rate=self.learning_rate,
            warm_up=20,
            weight_decay=self.weight_decay,
            clip=5.0,
            autocast=False,
            report_every=self.report_every,
            seed=self.seed,
        )
        return Fitting(
            model,
            recipe,
            partial(self._loss, model, images),
            partial(self._validate, model, images),
            partial(self._export, network, images.categories),
        )

    def _loss(
        self, model: _Counted, images: TrainingImages, generator: np.random.Generator
    ) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """SAPNet's Eq. (9) without the masks, of a batch of images."""
        chosen = generator.integers(images.count, size=self.batch)
        mirrored = generator.random(self.batch) < self.flip
        released = self.psm.pdg == "released"
        pictures, bags = images.batch(chosen, mirrored, centres=released)
        maps = model.network.trunk(pictures)
        first = first_stage(model.network.head, maps, bags, self.choices)
        losses = {"psm": first_loss(first, bags, self.choices)}
        total = LAMBDA * losses["psm"]
        if self.prm.enabled and model.next_step() >= self.prm.start_step:
            losses.update(self._refinement(model.network, maps, bags, first, generator))
            total = total + prm.loss(losses["positive"], losses["negative"])
        return total, {name: loss.detach() for name, loss in losses.items()}

    def _refinement(
        self,
        network: SelectionNetwork,
        maps: Sequence[Tensor],
        bags: Bags,
        first: First,
        generator: np.random.Generator,
    ) -> dict[str, Tensor]:
        """SAPNet's Eq. (5) to (7)."""
        sure = certainty(first, bags)
        second = second_stage(network.head, maps, bags, first, self.choices)
        positive = prm.positive_loss(second.bags, bags.labels, sure)
        if self.pnpg.npg == "none":
            return {"positive": positive, "negative": torch.zeros_like(positive)}
        places, boxes = self._negatives(bags, first, generator)
        classes, _ = network.head(maps, places, boxes[:, None], 1)
        counted = torch.ones_like(places, dtype=torch.bool)
        negative = prm.negative_loss(classes[:, 0], counted, sure, self.prm.neg_norm)
        return {"positive": positive, "negative": negative}

    def _negatives(
        self, bags: Bags, first: First, generator: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """The images (U,) and boxes (U, 4) of Algorithm 1; only those that count."""
        places, boxes = [], []
        low, high = self.pnpg.t_neg
        for image in bags.images.unique():
            rows = bags.images == image
            width, height = (int(side) for side in bags.limits[rows][0, :2])
            drawn = pnpg.background_boxes(generator, self.pnpg.background, (height, width))
            drawn = drawn.to(bags.boxes)
            proposals = bags.boxes[rows][bags.valid[rows]]
            drawn = drawn[pnpg.is_background(drawn, proposals, low)]
            boxes.append(drawn)
            places.append(image.expand(len(drawn)))
        smallest = (self.pnpg.smallest_side * bags.limits[:, :2].amin(dim=1)) ** 2
        selected = bags.boxes[torch.arange(len(bags.labels)), first.index]
        parts, counted = pnpg.part_boxes(generator, selected, self.pnpg.parts, high, smallest)
        boxes.append(parts[counted])
        places.append(bags.images[:, None].expand_as(counted)[counted])
        return torch.cat(places), torch.cat(boxes)

    def _validate(self, model: _Counted, images: TrainingImages) -> Mapping[str, float]:
        """Share of bags whose class is right, and IoU of the selected and the true boxes."""
        hits, overlaps = [], []
        network = model.network
        for start in range(0, min(images.count, _VALIDATED), self.batch):
            chosen = np.arange(start, min(start + self.batch, images.count, _VALIDATED))
            pictures, bags = images.batch(chosen, np.zeros(len(chosen), dtype=bool))
            maps = network.trunk(pictures)
            first = first_stage(network.head, maps, bags, self.choices)
            begun = self.prm.enabled and int(model.calls) >= self.prm.start_step
            second = None
            if begun:
                second = second_stage(network.head, maps, bags, first, self.choices)
            boxes = final_boxes(bags, first, second, self.choices)
            nearest = bms.nearest(boxes, bags.boxes, bags.valid)
            taken = bags.boxes[torch.arange(len(nearest)), nearest]
            overlaps.append(iou(taken, images.truths(chosen)))
            scores = (first.classes.softmax(-1) * first.instances.softmax(1)).sum(dim=1)
            hits.append(scores.argmax(dim=1) == bags.labels)
        return {
            "bags": torch.cat(hits).float().mean().item(),
            "mIoU_box": torch.cat(overlaps).mean().item(),
        }

    def _export(self, network: SelectionNetwork, categories: Sequence[str], folder: Path) -> None:
        sizes = {
            "categories": list(categories),
            "width": self.width,
            "choices": self.choices.as_json(),
        }
        adapter.write(folder, KIND, FROZEN, sizes, network.state_dict())


class _Counted(nn.Module):
    """A network and how many losses of it were asked for, which a checkpoint keeps."""

    calls: Tensor

    def __init__(self, network: SelectionNetwork) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def next_step(self) -> int:
        """Counts; the number before."""
        self.calls += 1
        return int(self.calls) - 1
