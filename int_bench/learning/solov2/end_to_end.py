"""SAPNet end to end: selection and segmenter on one trunk, ``int-bench train method=sapnet_e2e``.

Source: Wei et al., CVPR 2024 (arXiv 2312.15895), Eq. (9): L_mask + L_cls + lambda L_psm + L_prm.
Trunk and feature pyramid are the segmenter's; the selection takes its boxes from the same maps by
RoIAlign, and the segmenter learns from what the selection takes at that step. Both losses reach the
trunk; what is selected is a label, through which no gradient goes. What is written is the
segmenter alone, as two stages write it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor

from int_bench.backbones.common.precision import pick_device
from int_bench.backbones.selector import bms
from int_bench.backbones.selector.losses import Learnt, selection_loss
from int_bench.backbones.selector.network import SelectionHead
from int_bench.backbones.selector.options import Bms, Choices, Pnpg, Prm, Psm
from int_bench.backbones.selector.selection import Bags, final_boxes
from int_bench.backbones.solov2.head import SoloNet
from int_bench.backbones.solov2.losses import Labels
from int_bench.backbones.solov2.mps import ranks
from int_bench.backbones.solov2.targets import boxes_of
from int_bench.core.files import expanded
from int_bench.core.limits import Within
from int_bench.core.protocols import Backbone
from int_bench.data.dataset import Dataset
from int_bench.errors import UsageError
from int_bench.learning.solov2.batches import Batch, batch_of, drawn
from int_bench.learning.solov2.labels import Pictures
from int_bench.learning.solov2.selected import bags
from int_bench.learning.solov2.training import SoloOptions, classes_of
from int_bench.learning.training import Counting, Fitting


class SharedNetwork(Counting):
    """A segmenter, and a selection head over the maps of its feature pyramid.

    Args:
        net: the segmenter.
        selection: takes maps of the pyramid's channels and strides.
    """

    def __init__(self, net: SoloNet, selection: SelectionHead) -> None:
        super().__init__()
        self.net, self.selection = net, selection


@dataclass(frozen=True)
class TrainEndToEnd(SoloOptions):
    """Trains segmenter and selection together; see the module.

    Attributes:
        labels: what a network learns from: the selection at its side.
        width: of the selection's shared layers.
        psm, pnpg, prm, bms: what the selection does; see ``backbones.selector.options``.
    """

    labels: Literal["end_to_end"] = "end_to_end"
    width: Annotated[int, Within(8, 8192)] = 1024
    psm: Psm = field(default_factory=Psm)
    pnpg: Pnpg = field(default_factory=Pnpg)
    prm: Prm = field(default_factory=Prm)
    bms: Bms = field(default_factory=Bms)

    def __post_init__(self) -> None:
        """Refuse what belongs to the public code alone.

        Raises:
            UsageError: point distance guidance as released, which takes true boxes.
        """
        if self.psm.pdg == "released":
            raise UsageError(
                "train.psm.pdg=released takes the centres of true boxes, which method=sapnet_e2e "
                "does not read; choose paper or off."
            )

    @property
    def roles(self) -> frozenset[str]:
        """The segmenter, whose proposals are selected from."""
        return frozenset({"segmenter"})

    @property
    def choices(self) -> Choices:
        """What the selection does."""
        return Choices(self.psm, self.pnpg, self.prm, self.bms)

    def begin(
        self, data: Dataset, validation: Dataset, backbones: Mapping[str, Backbone], scratch: Path
    ) -> Fitting:
        """Make the bags, once, and build both networks.

        Raises:
            UsageError: the data sets know no objects, or not of the same classes.
            MissingAsset: ``pretrained`` is not there or no such network's.
        """
        classes = classes_of(data, validation)
        folder = expanded(self.bags) if self.bags else scratch / "bags"
        known = bags(data, self.proposing, backbones["segmenter"], folder)
        pictures = self.pictures(data, known)
        net = self.network(len(classes))
        head = SelectionHead(
            self.architecture.pyramid,
            net.features.strides,
            len(classes),
            self.width,
            self.psm.background,
        )
        model = SharedNetwork(net, head).to(pick_device(self.device))
        loss = _Loss(self, model, pictures, classes)
        return self.fitting(model, loss, net, validation, classes)


@dataclass(frozen=True)
class _Loss:
    """Eq. (9) of a batch."""

    options: TrainEndToEnd
    model: SharedNetwork
    pictures: Pictures
    classes: Sequence[str]

    def __call__(self, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        options, model = self.options, self.model
        parts = drawn(self.pictures, options.batch, options.turned, rng)
        batch = batch_of(parts, options.architecture, self.classes)
        objects = bags_of(batch, model.calls.device)
        images = batch.images.to(model.calls.device)
        with options.forward_pass(images.device):
            maps = model.net.features(images)
            outputs = model.net.head(maps)
        refined = options.prm.enabled and model.next_step() >= options.prm.start_step
        maps = [level.float() for level in maps]
        learnt = selection_loss(model.selection, maps, objects, options.choices, rng, refined)
        labels, further = taken(batch, objects, learnt, options.choices)
        size = (batch.images.shape[2], batch.images.shape[3])
        more = further if options.mps else None
        total, figures = options.loss(outputs, labels, more, size)
        figures |= {name: loss.detach() for name, loss in learnt.parts.items()}
        return total + learnt.total, figures


def bags_of(batch: Batch, place: torch.device) -> Bags:
    """The bags of a batch whose further masks are whole bags, in the order of its pictures."""
    counts = [len(bag) for bag in batch.further]
    boxes = torch.cat([boxes_of(bag.flatten(0, 1)) for bag in batch.further])
    boxes = boxes.unflatten(0, (sum(counts), -1))
    valid = boxes[..., 2] > 0
    boxes[~valid] = torch.tensor([0.0, 0.0, 1.0, 1.0])
    limits = torch.tensor([(width, height) * 2 for height, width in batch.sizes])
    images = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    kinds = torch.cat([part.categories for part in batch.labels])
    columns = (images, boxes, valid, torch.cat(batch.points), kinds, limits[images].float())
    return Bags(*(column.to(place) for column in columns))


@torch.no_grad()
def taken(
    batch: Batch, objects: Bags, learnt: Learnt, choices: Choices
) -> tuple[list[Labels], list[Tensor]]:
    """What the segmenter learns from at this step, by picture.

    Returns:
        The labels: of each object the proposal that was selected. And its three further ones by
        score, (N, 3, H, W) bool.
    """
    boxes = final_boxes(objects, learnt.first, learnt.second, choices)
    index = bms.nearest(boxes, objects.boxes, objects.valid).cpu()
    proposals = objects.boxes.shape[1]
    scores = learnt.first.own if learnt.second is None else learnt.second.own[:, :proposals]
    order = scores.argsort(dim=1, descending=True, stable=True)[:, list(ranks(proposals))].cpu()
    labels, further, first = [], [], 0
    for known, bag in zip(batch.labels, batch.further, strict=True):
        rows, here = torch.arange(len(bag)), slice(first, first + len(bag))
        chosen = objects.boxes[here].cpu()[rows, index[here]]
        labels.append(Labels(bag[rows, index[here]], chosen, known.categories))
        further.append(bag[rows[:, None], order[here]])
        first += len(bag)
    return labels, further
