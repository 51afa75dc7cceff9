"""What is done to a GroundingDINO's weights once, so that each pass has less to do."""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from int_bench.backbones.grounding_dino import swin


def finished(model: Any) -> Any:
    """The model, a ``GroundingDinoForObjectDetection``, as ``network.detected`` reads it.

    Raises:
        ValueError: it does not choose its queries from the picture.
    """
    if not model.config.two_stage:
        raise ValueError("a GroundingDINO with fixed boxes (two_stage: false) is none of these")
    eyes = model.model.backbone.conv_encoder.model
    if type(eyes).__name__ == "SwinBackbone":
        swin.finished(eyes)
    for module in list(model.modules()):
        if isinstance(module, nn.ReLU):
            module.inplace = True
        if hasattr(module, "normalization"):
            _fold(module)
        if hasattr(module, "sampling_offsets"):
            _sort_offsets(module)
        _name_pointwise(module)
    return model.requires_grad_(False)


@torch.no_grad()
def _fold(module: Any) -> None:
    """Make a convolution do what the frozen batch norm behind it does, and that nothing."""
    norm, plain = module.normalization, getattr(module, "convolution", None)
    if "FrozenBatchNorm" not in type(norm).__name__ or not isinstance(plain, nn.Conv2d):
        return
    scale = norm.weight.double() * (norm.running_var.double() + 1e-5).rsqrt()
    folded = plain.weight.double() * scale[:, None, None, None]
    shift = norm.bias.double() - norm.running_mean.double() * scale
    if plain.bias is not None:
        shift += plain.bias.double() * scale
    plain.weight = nn.Parameter(folded.to(plain.weight), requires_grad=False)
    plain.bias = nn.Parameter(shift.to(plain.weight), requires_grad=False)
    module.normalization = nn.Identity()
    if isinstance(getattr(module, "activation", None), nn.ReLU):
        module.forward = MethodType(_rectified, module)


def _rectified(self: Any, maps: Tensor) -> Tensor:
    """What is left of a convolution, its norm and its activation."""
    answer: Tensor = self.convolution(maps).relu_()
    return answer


@torch.no_grad()
def _sort_offsets(attention: Any) -> None:
    """Have the samples' offsets come out with all x before all y."""
    layer = attention.sampling_offsets
    for values in (layer.weight, layer.bias):
        values.data = values.unflatten(0, (-1, 2)).transpose(0, 1).flatten(0, 1).contiguous()


def _name_pointwise(module: Any) -> None:
    """Put a `Pointwise` in the place of each convolution of single pixels that is the module's."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Conv2d) and (
            (child.kernel_size, child.stride, child.groups) == ((1, 1), (1, 1), 1)
            and child.padding == (0, 0)
        ):
            module.register_module(name, Pointwise(child))


class Pointwise(nn.Module):
    """A convolution of single pixels as what it is: a matrix product, its bias added on the way."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.weight = layer.weight
        self.bias = layer.bias

    def forward(self, maps: Tensor) -> Tensor:
        """From (B, C, H, W) to (B, D, H, W), channels last."""
        rows = maps.permute(0, 2, 3, 1)
        products = linear(rows.flatten(0, 2), self.weight.flatten(1), self.bias)
        return products.view(*rows.shape[:3], -1).permute(0, 3, 1, 2)
