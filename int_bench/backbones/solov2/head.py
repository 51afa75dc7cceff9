"""SOLOv2: for each cell of a grid a category and a 1 x 1 kernel, for a picture mask features.

Source: Wang et al., "SOLOv2: Dynamic and Fast Instance Segmentation", arXiv 2003.10152. A cell's
mask is its kernel applied to the mask features. Nothing here makes masks: a training needs those of
positive cells only (:mod:`losses`), a picture those of cells above the threshold
(:mod:`instances`), and all of them at once would be 3,872 masks of a picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from int_bench.backbones.solov2.architecture import Architecture
from int_bench.backbones.solov2.trunk import ConvNorm, Features, coordinates

_PRIOR = 0.01
"""Probability of each category at a cell before training; also the spread of first weights."""


@dataclass(frozen=True)
class Outputs:
    """What the network says about a batch of pictures; S is a level's cells a side.

    Attributes:
        kernels: by level (B, K, S, S).
        categories: by level (B, C, S, S), logits.
        features: (B, K, H / 4, W / 4), of the masks.
    """

    kernels: tuple[Tensor, ...]
    categories: tuple[Tensor, ...]
    features: Tensor

    def float(self) -> Outputs:
        """The same in float32."""
        kernels = tuple(level.float() for level in self.kernels)
        categories = tuple(level.float() for level in self.categories)
        return Outputs(kernels, categories, self.features.float())


class Head(nn.Module):
    """The three branches of SOLOv2 over a feature pyramid.

    Args:
        architecture: sizes.
        classes: number of categories.
    """

    def __init__(self, architecture: Architecture, classes: int) -> None:
        super().__init__()
        inputs, hidden, groups = architecture.pyramid, architecture.hidden, architecture.groups
        self.grids = tuple(architecture.grids)

        def branch(first: int) -> nn.Sequential:
            sizes = [first, *[hidden] * architecture.convolutions]
            return nn.Sequential(*(ConvNorm(i, o, groups) for i, o in pairwise(sizes)))

        self.kernel_branch, self.category_branch = branch(inputs + 2), branch(inputs)
        self.kernel = nn.Conv2d(hidden, architecture.kernel, 3, padding=1)
        self.category = nn.Conv2d(hidden, classes, 3, padding=1)
        levels = 3 if architecture.trunk == "small" else 4
        self.mask_branch = MaskFeatures(architecture, levels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=_PRIOR)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        assert self.category.bias is not None
        nn.init.constant_(self.category.bias, -math.log((1 - _PRIOR) / _PRIOR))

    def forward(self, features: Sequence[Tensor]) -> Outputs:
        """Features of all levels, finest first, to what each cell says."""
        kernels, categories = [], []
        for level, grid in zip(_resized(features), self.grids, strict=True):
            placed = torch.cat([level, coordinates(level)], 1)
            cells = interpolate(placed, (grid, grid), mode="bilinear")
            kernels.append(self.kernel(self.kernel_branch(cells)))
            categories.append(self.category(self.category_branch(cells[:, :-2])))
        return Outputs(tuple(kernels), tuple(categories), self.mask_branch(features))


def _resized(features: Sequence[Tensor]) -> list[Tensor]:
    """The finest level at the size of the second, the coarsest at that of the one before it."""
    first, *middle, last = features
    first = interpolate(first, middle[0].shape[-2:], mode="bilinear")
    return [first, *middle, interpolate(last, middle[-1].shape[-2:], mode="bilinear")]


class MaskFeatures(nn.Module):
    """Mask features at stride 4: the finest levels, each brought to the first one's size, summed.

    Args:
        architecture: sizes.
        levels: how many of them; the last knows its coordinates.
    """

    def __init__(self, architecture: Architecture, levels: int) -> None:
        super().__init__()
        hidden, groups = architecture.mask_hidden, architecture.groups
        paths = []
        for level in range(levels):
            inputs = architecture.pyramid + (2 if level == levels - 1 else 0)
            path: list[nn.Module] = []
            for index in range(max(level, 1)):
                path.append(ConvNorm(inputs if index == 0 else hidden, hidden, groups))
                if level:
                    path.append(nn.Upsample(scale_factor=2, mode="bilinear"))
            paths.append(nn.Sequential(*path))
        self.paths = nn.ModuleList(paths)
        self.last = ConvNorm(hidden, architecture.kernel, groups, side=1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features of all levels, finest first, to (B, K, H / 4, W / 4)."""
        used = list(features[: len(self.paths)])
        used[-1] = torch.cat([used[-1], coordinates(used[-1])], 1)
        parts = [path(level) for path, level in zip(self.paths, used, strict=True)]
        summed: Tensor = self.last(sum(parts[1:], parts[0]))
        return summed


class SoloNet(nn.Module):
    """Trunk, pyramid and head.

    Args:
        architecture: sizes.
        classes: number of categories.
    """

    def __init__(self, architecture: Architecture, classes: int) -> None:
        super().__init__()
        self.features = Features(architecture)
        self.head = Head(architecture, classes)

    def forward(self, pictures: Tensor) -> Outputs:
        """(B, 3, H, W), normalised, sides multiples of the architecture's, to its outputs."""
        outputs: Outputs = self.head(self.features(pictures))
        return outputs
