"""Training of a SOLOv2 network: ``int-bench train method=sapnet`` and its baselines.

Reading: SAPNet trains with SGD and falling steps; here it is the package's one loop, AdamW and a
cosine. ``category_weight`` is 1 in the paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from int_bench.backbones.common.precision import pick_device
from int_bench.backbones.solov2.architecture import Architecture
from int_bench.backbones.solov2.head import Outputs, SoloNet
from int_bench.backbones.solov2.instances import Decoding, decode
from int_bench.backbones.solov2.losses import (
    Labels,
    assigned,
    category_loss,
    class_entropy,
    mask_loss,
)
from int_bench.backbones.solov2.model import write
from int_bench.backbones.solov2.mps import multi_mask_loss
from int_bench.backbones.solov2.pixels import normalised, seen_size
from int_bench.core.files import expanded
from int_bench.core.limits import Above, AtLeast, Count, Device, Within
from int_bench.core.protocols import Backbone
from int_bench.data.dataset import Dataset, InstanceDataset, objects_of
from int_bench.errors import SampleError, UsageError
from int_bench.learning.loop import Loss
from int_bench.learning.solov2.batches import Turned, batch_of, drawn
from int_bench.learning.solov2.labels import Chosen, Pictures, Source
from int_bench.learning.solov2.selected import selected
from int_bench.learning.training import Fitting, recipe_of
from int_bench.methods.sapnet.proposing import Proposing
from int_bench.metrics.instances import Precision, ScoredMask

_MIB = 2**20


@dataclass(frozen=True)
class SoloOptions:
    """What every training of a network is told.

    Attributes:
        architecture: its sizes.
        mps: learn from three further masks of each bag too (Eq. 11); of SAPNet's labels alone.
        bags: folder of `int-bench propose`; null makes them first.
        proposing: what makes the bags.
        pretrained: file of torchvision's weights of the ResNet; null begins at random.
        category_weight: of the focal loss beside the dice loss.
        class_entropy: weight of the cross-entropy of classes at positive cells, ours, which lets a
            small network tell them apart early; 0 in the paper.
        turned: pictures are flipped sideways, or flipped and turned in all eight ways.
        steps, learning_rate, warm_up, weight_decay, clip, seed, report_every, save_every: of
            :class:`int_bench.learning.loop.Recipe`.
        batch: pictures of a step.
        dtype: ``bfloat16`` computes the network's forward pass by torch's autocast; weights and
            losses stay float32. Faster where the processor has instructions for it.
        validated: the first so many pictures of the validation split are looked at.
        memory: MiB of decoded pictures that are remembered.
        device: where it is trained.
    """

    RUNTIME: ClassVar[tuple[str, ...]] = ("bags", "save_every", "memory", "device")

    architecture: Architecture = field(default_factory=Architecture)
    mps: bool = True
    bags: str | None = None
    proposing: Proposing = field(default_factory=Proposing)
    pretrained: str | None = None
    category_weight: Annotated[float, Above(0)] = 1.0
    class_entropy: Annotated[float, AtLeast(0)] = 0.0
    turned: Turned = "all"
    steps: Count = 1000
    batch: Count = 16
    learning_rate: Annotated[float, Above(0)] = 3e-3
    warm_up: Annotated[int, AtLeast(0)] = 50
    weight_decay: Annotated[float, Within(0, 1)] = 0.02
    clip: Annotated[float, Above(0)] = 1.0
    dtype: Literal["float32", "bfloat16"] = "float32"
    seed: Annotated[int, AtLeast(0)] = 0
    report_every: Count = 200
    save_every: Annotated[float, AtLeast(0)] = 60.0
    validated: Count = 64
    memory: Count = 512
    device: Device = "auto"

    def network(self, classes: int) -> SoloNet:
        """A network at its beginning, on the CPU.

        Raises:
            UsageError: ``pretrained`` is given, and the trunk is no ResNet.
            MissingAsset: it is not there or no such network's.
        """
        torch.manual_seed(self.seed)
        net = SoloNet(self.architecture, classes)
        if self.pretrained is not None:
            net.features.read_imagenet(self.pretrained)
        return net

    def pictures(self, data: Dataset, chosen: Mapping[str, Sequence[Chosen]] | None) -> Pictures:
        """What is learnt from; see :class:`int_bench.learning.solov2.labels.Pictures`.

        Raises:
            UsageError: it has no object.
        """
        pictures = Pictures(data, chosen, self.memory * _MIB)
        if len(pictures) == 0:
            raise UsageError(f"{data.name} has no object to learn from; choose another split.")
        return pictures

    def fitting(
        self,
        model: nn.Module,
        loss: Loss,
        net: SoloNet,
        validation: Dataset,
        classes: Sequence[str],
    ) -> Fitting:
        """How ``model`` is trained: its segmenter ``net`` is what is looked at and written."""
        return Fitting(
            model=model,
            recipe=recipe_of(self, "sapnet"),
            loss=loss,
            validate=Check(self, net, validation, classes),
            export=partial(write, net=net, architecture=self.architecture, classes=classes),
        )

    def forward_pass(self, place: torch.device) -> torch.autocast:
        """Within it the network computes in ``dtype``."""
        return torch.autocast(place.type, torch.bfloat16, enabled=self.dtype == "bfloat16")

    def loss(
        self,
        outputs: Outputs,
        labels: Sequence[Labels],
        further: Sequence[Tensor] | None,
        size: tuple[int, int],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch: dice of the masks, Eq. 11's further masks, focal of the classes.

        Args:
            outputs: of the network, in any precision.
            labels: by picture.
            further: by picture (N, 3, H, W) bool; None where only the labels teach.
            size: (height, width) of the padded pictures.

        Returns:
            The loss, a scalar, and its terms.
        """
        outputs = outputs.float()
        classes = outputs.categories[0].shape[1]
        cells = assigned(labels, self.architecture, classes, size)
        masks = mask_loss(outputs, cells, [part.masks for part in labels])
        categories = category_loss(outputs, cells)
        figures = {"masks": masks.detach(), "categories": categories.detach()}
        total = masks + self.category_weight * categories
        if self.class_entropy:
            entropy = class_entropy(outputs, cells)
            total = total + self.class_entropy * entropy
            figures["classes"] = entropy.detach()
        if further is not None:
            more = multi_mask_loss(outputs, labels, further, self.architecture, classes, size)
            total, figures = total + more, {**figures, "further": more.detach()}
        return total, figures


@dataclass(frozen=True)
class TrainSoloV2(SoloOptions):
    """Trains a network on true masks or on chosen proposals; see the module.

    Attributes:
        labels: what it learns from.
    """

    labels: Source = "sapnet"

    @property
    def roles(self) -> frozenset[str]:
        """Those that choose the labels; none for true masks."""
        chosen = {"truth": (), "sam_top1": ("segmenter",)}
        return frozenset(chosen.get(self.labels, ("segmenter", "selector")))

    def begin(
        self, data: Dataset, validation: Dataset, backbones: Mapping[str, Backbone], scratch: Path
    ) -> Fitting:
        """Choose the labels, once, and build the network.

        Raises:
            UsageError: the data sets know no objects, or not of the same classes.
            MissingAsset: ``pretrained`` is not there or no such network's.
        """
        classes = classes_of(data, validation)
        chosen = None
        if self.labels != "truth":
            further = self.mps and self.labels == "sapnet"
            bags = expanded(self.bags) if self.bags else scratch / "bags"
            chosen = selected(data, self.labels, further, self.proposing, backbones, bags)
        pictures = self.pictures(data, chosen)
        net = self.network(len(classes)).to(pick_device(self.device))
        loss = _Loss(self, net, pictures, classes)
        return self.fitting(net, loss, net, validation, classes)


def classes_of(data: Dataset, validation: Dataset) -> tuple[str, ...]:
    """The categories that are trained, by number.

    Raises:
        UsageError: the data sets know no objects, or not of the same classes.
    """
    for part in (data, validation):
        if not isinstance(part, InstanceDataset):
            raise UsageError(
                f"The data set {part.name} knows no objects by class; choose one that does, such "
                "as dataset=camoworld_crowd."
            )
    assert isinstance(data, InstanceDataset) and isinstance(validation, InstanceDataset)
    unknown = sorted(set(validation.categories) - set(data.categories))
    if unknown:
        raise UsageError(
            f"The validation split has the class {unknown[0]!r}, which is not among those that "
            "are trained; choose splits of the same classes."
        )
    return data.categories


@dataclass(frozen=True)
class _Loss:
    options: TrainSoloV2
    net: SoloNet
    pictures: Pictures
    classes: Sequence[str]

    def __call__(self, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        options = self.options
        parts = drawn(self.pictures, options.batch, options.turned, rng)
        batch = batch_of(parts, options.architecture, self.classes)
        images = batch.images.to(next(self.net.parameters()).device)
        with options.forward_pass(images.device):
            outputs = self.net(images)
        size = (batch.images.shape[2], batch.images.shape[3])
        more = options.mps and options.labels == "sapnet"
        return options.loss(outputs, batch.labels, batch.further if more else None, size)


class Check:
    """Mask AP over the first pictures of the validation split."""

    def __init__(
        self, options: SoloOptions, net: SoloNet, data: Dataset, classes: Sequence[str]
    ) -> None:
        self._architecture, self._net, self._classes = options.architecture, net, classes
        pictures = Pictures(data, None, options.memory * _MIB)
        self._data, self._samples = data, pictures.samples[: options.validated]

    def __call__(self) -> Mapping[str, float]:
        """AP, AP50 and AP75, 0..1."""
        precision, architecture = Precision(self._classes), self._architecture
        place = next(self._net.parameters()).device
        for sample in self._samples:
            try:
                image, objects = self._data.load_image(sample), objects_of(self._data, sample)
            except SampleError:  # a look at the others is worth as much
                continue
            size = (image.shape[0], image.shape[1])
            outputs = self._net(normalised(image, architecture)[None].to(place))
            seen = seen_size(size, architecture)
            made = decode(outputs, 0, architecture, seen, size, Decoding())
            names = [self._classes[kind] for kind in made.categories.tolist()]
            rows = zip(made.masks.cpu().numpy(), names, made.scores.tolist(), strict=True)
            precision.add(objects, [ScoredMask(*row) for row in rows])
        summary = precision.summary()
        return {name: summary[name] for name in ("AP", "AP50", "AP75")}
