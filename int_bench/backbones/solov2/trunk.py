"""Features for SOLOv2: a ResNet or a small trunk, under torchvision's feature pyramid."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from pickle import UnpicklingError

import torch
from torch import Tensor, nn
from torchvision.models import resnet50, resnet101
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock

from int_bench.backbones.solov2.architecture import Architecture
from int_bench.core.files import expanded
from int_bench.errors import MissingAsset, UsageError

_RESNETS = {"resnet50": resnet50, "resnet101": resnet101}


class ConvNorm(nn.Sequential):
    """A convolution, group normalisation, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, groups: int, side: int = 3, stride: int = 1
    ) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False),
            nn.GroupNorm(groups, outputs),
            nn.ReLU(),
        )


class Features(nn.Module):
    """P2, P3, ... of a picture: every level has as many channels, each has half the side.

    Args:
        architecture: which trunk, and the channels of the pyramid.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.trunk: _Small | _ResNet
        extra: ExtraFPNBlock | None
        if architecture.trunk == "small":
            self.trunk, extra = _Small(architecture.groups), None
        else:
            self.trunk = _ResNet(architecture.trunk)
            extra = _P6(self.trunk.channels[-1], architecture.pyramid, architecture.groups)
        self.pyramid = FeaturePyramidNetwork(
            list(self.trunk.channels),
            architecture.pyramid,
            extra,
            norm_layer=partial(nn.GroupNorm, architecture.groups),
        )
        levels = len(self.trunk.channels) + (extra is not None)
        self.strides = tuple(4 * 2**level for level in range(levels))

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """(B, 3, H, W), normalised, to features at strides 4, 8, 16 (ResNet: 32 and 64 too)."""
        stages = OrderedDict((str(i), stage) for i, stage in enumerate(self.trunk(pictures)))
        return list(self.pyramid(stages).values())

    def read_imagenet(self, path: str) -> None:
        """Begin with torchvision's weights of a classifier.

        Args:
            path: file of its state dict, such as ``resnet50-0676ba61.pth``.

        Raises:
            UsageError: the trunk is no ResNet.
            MissingAsset: the file is not there, or not of this ResNet.
        """
        if not isinstance(self.trunk, _ResNet):
            raise UsageError(
                "Weights of a ResNet (train.pretrained) need one: choose method=sapnet_r50 or "
                "method=sapnet_r101."
            )
        file = expanded(path)
        if not file.is_file():
            raise MissingAsset(f"Of train.pretrained={path} there is no such file.")
        try:
            self.trunk.take(torch.load(file, map_location="cpu", weights_only=True))
        except (RuntimeError, ValueError, AttributeError, UnpicklingError) as error:
            raise MissingAsset(
                f"{file} does not hold torchvision's weights of this ResNet; download them again."
            ) from error


class _Small(nn.Module):
    """About .4 M parameters, strides 4, 8, 16; for scenes of 128 pixels."""

    channels: Sequence[int] = (32, 64, 128)

    def __init__(self, groups: int) -> None:
        super().__init__()
        stages, inputs = [], 3
        for index, outputs in enumerate(self.channels):
            second = 2 if index == 0 else 1
            first = ConvNorm(inputs, outputs, groups, stride=2)
            stages.append(nn.Sequential(first, ConvNorm(outputs, outputs, groups, stride=second)))
            inputs = outputs
        self.stages = nn.ModuleList(stages)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        made = []
        for stage in self.stages:
            pictures = stage(pictures)
            made.append(pictures)
        return made


class _ResNet(nn.Module):
    """C2 to C5; stem and first stage frozen, batch statistics those of ImageNet throughout."""

    channels: Sequence[int] = (256, 512, 1024, 2048)

    def __init__(self, name: str) -> None:
        super().__init__()
        net = _RESNETS[name]()
        self.stem = nn.Sequential(
            OrderedDict(conv1=net.conv1, bn1=net.bn1, relu=net.relu, maxpool=net.maxpool)
        )
        self.layers = nn.ModuleList([net.layer1, net.layer2, net.layer3, net.layer4])
        self.stem.requires_grad_(False)
        self.layers[0].requires_grad_(False)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        made, features = [], self.stem(pictures)
        for layer in self.layers:
            features = layer(features)
            made.append(features)
        return made

    def train(self, mode: bool = True) -> _ResNet:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def take(self, weights: Mapping[str, Tensor]) -> None:
        """Take torchvision's weights of a classifier; its last layer is not needed.

        Raises:
            RuntimeError: names or shapes are others.
        """
        own = {}
        for name, tensor in weights.items():
            head, _, rest = name.partition(".")
            if head.startswith("layer"):
                own[f"layers.{int(head[5:]) - 1}.{rest}"] = tensor
            elif head != "fc":
                own[f"stem.{name}"] = tensor
        self.load_state_dict(own)


class _P6(ExtraFPNBlock):  # type: ignore[misc]  # torchvision has no types
    """P6: a 3 x 3 convolution of stride 2 on C5."""

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False)
        self.norm = nn.GroupNorm(groups, outputs)

    def forward(
        self, results: list[Tensor], x: list[Tensor], names: list[str]
    ) -> tuple[list[Tensor], list[str]]:
        return [*results, self.norm(self.convolution(x[-1]))], [*names, "p6"]


def coordinates(features: Tensor) -> Tensor:
    """Where each place lies: (B, 2, h, w), x and y from -1 at the first to 1 at the last."""
    height, width = features.shape[-2:]
    x = torch.linspace(-1, 1, width, device=features.device)
    y = torch.linspace(-1, 1, height, device=features.device)
    grid = torch.stack([x.expand(height, width), y[:, None].expand(height, width)])
    return grid.to(features.dtype).expand(len(features), -1, -1, -1)
