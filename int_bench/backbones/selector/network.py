"""What SAPNet's selection learns: features of boxes, and what two stages say of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from int_bench.backbones.selector.boxes import area

FINEST = 56.0
"""Pixels of a box's side that the finest map serves; each coarser one serves twice as many."""
SIDE = 7
"""Cells of a box on either axis."""
SAMPLES = 2
"""Samples a cell and axis; Reading: a fixed number, since an adaptive one costs by the box."""


class SmallTrunk(nn.Module):
    """Three convolutions, for pictures of some hundred pixels; features at a quarter of them.

    The paper's trunk, a ResNet with an FPN, is that of the segmenter, which the head shares where
    both are trained end to end.
    """

    strides = (4,)
    channels = 48

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(_layer(3, 32, 2), _layer(32, 48, 2), _layer(48, 48, 1))

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Maps (B, 48, H / 4, W / 4) of normalised pictures (B, 3, H, W)."""
        return [self.layers(pictures)]


def _layer(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, 1)
    return nn.Sequential(convolution, nn.GroupNorm(8, outputs), nn.ReLU())


class SelectionHead(nn.Module):
    """Two shared layers over the features of a box, and two linear outputs for each stage.

    Args:
        channels: of the maps.
        strides: of the maps, finest first.
        classes: K.
        width: of the shared layers; 1024 in the paper.
        background: whether the first stage has a class for the background.
    """

    def __init__(
        self,
        channels: int,
        strides: Sequence[int],
        classes: int,
        width: int = 1024,
        background: bool = False,
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.shared = nn.Sequential(
            nn.Linear(channels * SIDE * SIDE, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )
        outputs = (classes + int(background), classes)
        self.classes = nn.ModuleList(nn.Linear(width, number) for number in outputs)
        self.instances = nn.ModuleList(nn.Linear(width, number) for number in outputs)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=1.0 / math.sqrt(module.in_features))

    def forward(
        self, maps: Sequence[Tensor], images: Tensor, boxes: Tensor, stage: int
    ) -> tuple[Tensor, Tensor]:
        """O_cls and O_ins of a stage, each (N, M, K).

        Args:
            maps: of the pictures, finest first.
            images: the picture of each object, (N,).
            boxes: (N, M, 4) in pixels of the pictures.
            stage: 0 of the PSM, 1 of the PRM.
        """
        count = boxes.shape[:2]
        features = self.shared(self._pooled(maps, images.repeat_interleave(count[1]), boxes))
        classes, instances = self.classes[stage](features), self.instances[stage](features)
        return classes.unflatten(0, count), instances.unflatten(0, count)

    def _pooled(self, maps: Sequence[Tensor], images: Tensor, boxes: Tensor) -> Tensor:
        """RoIAlign from the map of each box's size, (N * M, C * 49)."""
        flat = boxes.flatten(0, 1)
        rows = torch.cat([images[:, None].to(flat), flat], dim=1)
        pooled = flat.new_zeros(len(flat), maps[0].shape[1], SIDE, SIDE)
        level = (area(flat).sqrt() / FINEST + 1e-6).log2().floor().clamp(0, len(maps) - 1)
        for index, (features, stride) in enumerate(zip(maps, self.strides, strict=True)):
            here = level == index
            if here.any():
                cells = roi_align(features, rows[here], SIDE, 1 / stride, SAMPLES, aligned=True)
                pooled[here] = cells.to(pooled.dtype)
        return pooled.flatten(1)


class SelectionNetwork(nn.Module):
    """Trunk and head.

    Args:
        classes: K.
        width: of the head's shared layers.
        background: as of :class:`SelectionHead`.
    """

    def __init__(self, classes: int, width: int, background: bool = False) -> None:
        super().__init__()
        self.trunk = SmallTrunk()
        trunk = self.trunk
        self.head = SelectionHead(trunk.channels, trunk.strides, classes, width, background)


def normalised(pictures: Sequence[Tensor]) -> Tensor:
    """Pictures (3, h, w) of 0..255, padded on the right and below, (B, 3, H, W) in -1..1."""
    height = max(picture.shape[1] for picture in pictures)
    width = max(picture.shape[2] for picture in pictures)
    batch = torch.full((len(pictures), 3, height, width), 127.5, device=pictures[0].device)
    for row, picture in zip(batch, pictures, strict=True):
        row[:, : picture.shape[1], : picture.shape[2]] = picture
    return batch / 127.5 - 1.0
