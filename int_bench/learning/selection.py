"""Trains the selection half of SAPNet on bags of proposals: L_psm and L_prm of Eq. (9).

Source: Wei et al., CVPR 2024 (arXiv 2312.15895). The paper's stem is a ResNet-50 that is
shared with the mask head: :mod:`int_bench.learning.solov2.end_to_end`. Reading: here, where labels
are chosen first, the selector has a small trunk of its own, trained with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from int_bench.backbones.common import adapter
from int_bench.backbones.selector import bms
from int_bench.backbones.selector.boxes import iou
from int_bench.backbones.selector.losses import selection_loss
from int_bench.backbones.selector.model import FROZEN, KIND
from int_bench.backbones.selector.network import SelectionNetwork
from int_bench.backbones.selector.options import Bms, Choices, Pnpg, Prm, Psm
from int_bench.backbones.selector.selection import final_boxes, first_stage, second_stage
from int_bench.core.files import expanded
from int_bench.core.limits import AtLeast, Count, Share, Within
from int_bench.core.protocols import Backbone
from int_bench.data.dataset import Dataset, InstanceDataset
from int_bench.learning.bag_batches import TrainingImages
from int_bench.learning.loop import Recipe, device
from int_bench.learning.propose import propose
from int_bench.learning.store import say
from int_bench.learning.training import Counting, Fitting
from int_bench.methods.sapnet.proposing import Proposing

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
        save_every: seconds between checkpoints.
    """

    RUNTIME: ClassVar[tuple[str, ...]] = ("bags", "report_every", "save_every")

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
    save_every: Annotated[float, AtLeast(0)] = 60.0

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
        store = propose(data, segmenter, self.proposing, folder, say)
        assert isinstance(data, InstanceDataset)
        images = TrainingImages(data, store, device())
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
            save_every=self.save_every,
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
        refined = self.prm.enabled and model.next_step() >= self.prm.start_step
        learnt = selection_loss(model.network.head, maps, bags, self.choices, generator, refined)
        return learnt.total, {name: loss.detach() for name, loss in learnt.parts.items()}

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


class _Counted(Counting):
    def __init__(self, network: SelectionNetwork) -> None:
        super().__init__()
        self.network = network
