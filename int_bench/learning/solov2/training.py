"""Training of a SOLOv2 network: ``int-bench train method=sapnet`` and its baselines.

Reading: SAPNet trains with SGD and falling steps; here it is the package's one loop, AdamW and a
cosine. ``category_weight`` is 1 in the paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate, pad

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
from int_bench.backbones.solov2.targets import box_of
from int_bench.core.files import expanded
from int_bench.core.limits import Above, AtLeast, Count, Device, Within
from int_bench.core.protocols import Backbone
from int_bench.data.dataset import Dataset, InstanceDataset, objects_of
from int_bench.errors import UsageError
from int_bench.learning.solov2.labels import Labelled, Pictures, Source
from int_bench.learning.solov2.selected import selected
from int_bench.learning.training import Fitting, recipe_of
from int_bench.methods.sapnet.proposing import Proposing
from int_bench.metrics.instances import Precision, ScoredMask

_MIB = 2**20


@dataclass(frozen=True)
class TrainSoloV2:
    """Trains a network on true masks or on chosen proposals; see the module.

    Attributes:
        architecture: its sizes.
        labels: what it learns from.
        mps: learn from three further masks of each bag too (Eq. 11); of ``sapnet`` alone.
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
    labels: Source = "sapnet"
    mps: bool = True
    bags: str | None = None
    proposing: Proposing = field(default_factory=Proposing)
    pretrained: str | None = None
    category_weight: Annotated[float, Above(0)] = 1.0
    class_entropy: Annotated[float, AtLeast(0)] = 0.0
    turned: Literal["sideways", "all"] = "all"
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
        classes = _classes(data, validation)
        chosen = None
        if self.labels != "truth":
            further = self.mps and self.labels == "sapnet"
            bags = expanded(self.bags) if self.bags else scratch / "bags"
            chosen = selected(data, self.labels, further, self.proposing, backbones, bags)
        pictures = Pictures(data, chosen, self.memory * _MIB)
        if len(pictures) == 0:
            raise UsageError(f"{data.name} has no object to learn from; choose another split.")
        torch.manual_seed(self.seed)
        net = SoloNet(self.architecture, len(classes))
        if self.pretrained is not None:
            net.features.read_imagenet(self.pretrained)
        net = net.to(pick_device(self.device))
        return Fitting(
            model=net,
            recipe=recipe_of(self, "sapnet"),
            loss=_Loss(self, net, pictures, classes),
            validate=_Check(self, net, validation, classes),
            export=partial(write, net=net, architecture=self.architecture, classes=classes),
        )


def _classes(data: Dataset, validation: Dataset) -> tuple[str, ...]:
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
    """The loss of a batch: dice of the masks, Eq. 11's further masks, focal of the classes."""

    options: TrainSoloV2
    net: SoloNet
    pictures: Pictures
    classes: Sequence[str]

    def __call__(self, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        options, count = self.options, len(self.pictures)
        drawn = rng.choice(count, min(options.batch, count), replace=False)
        turns = rng.integers(8 if options.turned == "all" else 2, size=len(drawn))
        parts = [
            _turned(self.pictures[int(index)], int(turn))
            for index, turn in zip(drawn, turns, strict=True)
        ]
        images, labels, further = batch_of(parts, options.architecture, self.classes)
        outputs = self._outputs(images.to(next(self.net.parameters()).device))
        size = (images.shape[2], images.shape[3])
        cells = assigned(labels, options.architecture, len(self.classes), size)
        masks = mask_loss(outputs, cells, [part.masks for part in labels])
        categories = category_loss(outputs, cells)
        figures = {"masks": masks.detach(), "categories": categories.detach()}
        total = masks + options.category_weight * categories
        if options.class_entropy:
            classes = class_entropy(outputs, cells)
            total = total + options.class_entropy * classes
            figures["classes"] = classes.detach()
        if options.mps and options.labels == "sapnet":
            more = multi_mask_loss(
                outputs, labels, further, options.architecture, len(self.classes), size
            )
            total, figures = total + more, {**figures, "further": more.detach()}
        return total, figures

    def _outputs(self, images: Tensor) -> Outputs:
        half = self.options.dtype == "bfloat16"
        with torch.autocast(images.device.type, torch.bfloat16, enabled=half):
            outputs: Outputs = self.net(images)
        if not half:
            return outputs
        kernels, categories = (
            tuple(level.float() for level in part) for part in (outputs.kernels, outputs.categories)
        )
        return Outputs(kernels, categories, outputs.features.float())


def batch_of(
    parts: Sequence[Labelled], architecture: Architecture, classes: Sequence[str]
) -> tuple[Tensor, list[Labels], list[Tensor]]:
    """Pictures as the network sees them, padded to one size, their labels, their further masks.

    Returns:
        (B, 3, H, W) float32; by picture :class:`Labels`, and (N, F, H, W) bool.
    """
    images = [normalised(part.image, architecture) for part in parts]
    height = max(image.shape[1] for image in images)
    width = max(image.shape[2] for image in images)
    batch = torch.stack(
        [pad(image, (0, width - image.shape[2], 0, height - image.shape[1])) for image in images]
    )
    numbers = {name: number for number, name in enumerate(classes)}
    labels, further = [], []
    for part in parts:
        size = (part.image.shape[0], part.image.shape[1])
        seen = seen_size(size, architecture)
        kept = [index for index, mask in enumerate(part.masks) if mask.any()]
        masks = _seen(part.masks[kept], seen, (height, width))
        kinds = torch.tensor([numbers[part.categories[index]] for index in kept])
        boxes = torch.tensor([box_of(m) if m.any() else (0.0,) * 4 for m in masks])
        labels.append(Labels(masks, boxes.reshape(-1, 4), kinds.long()))
        flat = part.further[kept].reshape(-1, *size)
        more = _seen(flat, seen, (height, width))
        further.append(more.reshape(len(kept), part.further.shape[1], height, width))
    return batch, labels, further


def _seen(
    masks: NDArray[np.bool_],
    seen: tuple[int, int],
    padded: tuple[int, int],
) -> Tensor:
    """Masks (N, H, W) as the network sees the picture, (N, *padded) bool."""
    made = torch.from_numpy(np.ascontiguousarray(masks))
    if tuple(made.shape[1:]) != seen and len(made):
        made = interpolate(made[None].float(), seen, mode="bilinear")[0] >= 0.5
    return pad(made, (0, padded[1] - seen[1], 0, padded[0] - seen[0]))


def _turned(labelled: Labelled, turn: int) -> Labelled:
    """Flipped sideways (1), upside down (2), at the diagonal (4), or several of them."""
    arrays: list[NDArray[Any]] = [labelled.image.transpose(2, 0, 1), *labelled[1:3]]
    if turn & 1:
        arrays = [array[..., ::-1] for array in arrays]
    if turn & 2:
        arrays = [array[..., ::-1, :] for array in arrays]
    if turn & 4:
        arrays = [array.swapaxes(-1, -2) for array in arrays]
    image = np.ascontiguousarray(arrays[0].transpose(1, 2, 0))
    return Labelled(image, arrays[1], arrays[2], labelled.categories)


class _Check:
    """Mask AP over the first pictures of the validation split."""

    def __init__(
        self, options: TrainSoloV2, net: SoloNet, data: Dataset, classes: Sequence[str]
    ) -> None:
        self._architecture, self._net, self._classes = options.architecture, net, classes
        pictures = Pictures(data, None, options.memory * _MIB)
        self._data, self._samples = data, pictures.samples[: options.validated]

    def __call__(self) -> Mapping[str, float]:
        precision, architecture = Precision(self._classes), self._architecture
        place = next(self._net.parameters()).device
        for sample in self._samples:
            image = self._data.load_image(sample)
            size = (image.shape[0], image.shape[1])
            outputs = self._net(normalised(image, architecture)[None].to(place))
            seen = seen_size(size, architecture)
            made = decode(outputs, 0, architecture, seen, size, Decoding())
            names = [self._classes[kind] for kind in made.categories.tolist()]
            rows = zip(made.masks.cpu().numpy(), names, made.scores.tolist(), strict=True)
            precision.add(objects_of(self._data, sample), [ScoredMask(*row) for row in rows])
        summary = precision.summary()
        return {name: summary[name] for name in ("AP", "AP50", "AP75")}
