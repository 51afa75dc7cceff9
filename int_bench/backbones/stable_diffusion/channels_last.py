"""UNet and VAE with channels last from end to end, and fewer passes over memory.

The library's blocks change between two layouts in the middle, so that on CUDA norms, sums and
convolutions behind them copy what they are given; each convolution's bias is a pass of its own, and
so is a division by one behind each sum. Here a block computes the same formula in one layout, with
the biases in the products that can add them. Sums are rounded in another order.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear, silu
from torch.nn.functional import group_norm as library_norm

from int_bench.backbones.common.kernels import kernels
from int_bench.backbones.stable_diffusion.transformer import keep_transformer

LAST = torch.channels_last


def keep_channels_last(model: Any) -> None:
    """Change the blocks of a diffusers model in place, whose weights are where they will stay.

    On CUDA norms are computed with the activation behind them and the bias before them, where there
    is a kernel for it (``kernels``).
    """
    from diffusers.models.resnet import ResnetBlock2D
    from diffusers.models.transformers.transformer_2d import Transformer2DModel
    from diffusers.models.upsampling import Upsample2D

    for module in model.modules():
        if type(module) is nn.GroupNorm:
            module.forward = MethodType(group_norm, module)  # type: ignore[method-assign]
        elif type(module) is ResnetBlock2D and _is_plain_resnet(module):
            _prepare_resnet(module)
        elif type(module) is Transformer2DModel:
            keep_transformer(module, normed)
        elif type(module) is Upsample2D and _is_plain_upsampling(module):
            _prepare_upsampling(module)


def group_norm(self: nn.GroupNorm, x: Tensor) -> Tensor:
    """``nn.GroupNorm`` of (B, C, ...) where channels are last, without changing that.

    On CUDA the library's own kernel wants them first, so that each norm copies its input, and the
    convolution behind it copies the answer back: a quarter of the UNet's time.
    """
    if x.is_cuda and x.flatten(2).transpose(1, 2).is_contiguous():
        return normed(self, x)
    plain: Tensor = nn.GroupNorm.forward(self, x)
    return plain


def normed(
    norm: nn.GroupNorm, x: Tensor, early: Tensor | None = None, activated: bool = False
) -> Tensor:
    """The norm of ``x + early``, and SiLU behind it if ``activated``.

    Args:
        norm: its groups and weights.
        x: (B, C, H, W), channels are last; may be overwritten if there is something to add.
        early: (B, C) or (1, C).
        activated: whether SiLU follows.
    """
    if x.is_cuda:
        flat = x.flatten(2).transpose(1, 2)  # (B, places, C)
        answer = kernels(x.device).group_norm(norm, flat, early, activated)
        return answer.transpose(1, 2).view(x.shape)
    whole = x if early is None else x.add_(early[:, :, None, None])
    answer = library_norm(whole, norm.num_groups, norm.weight, norm.bias, norm.eps)
    return silu(answer, inplace=True) if activated else answer


def _is_plain_resnet(block: Any) -> bool:
    """Whether a block is of the kind that Stable Diffusion has."""
    short = block.conv_shortcut
    return (
        (block.time_emb_proj is None or block.time_embedding_norm == "default")
        and block.upsample is None
        and block.downsample is None
        and not block.skip_time_act
        and block.output_scale_factor == 1
        and block.conv2.bias is not None
        and (short is None or (short.kernel_size == (1, 1) and short.stride == (1, 1)))
    )


def _prepare_resnet(block: Any) -> None:
    """Where each bias is added.

    On CUDA with what is added to the answers of the convolutions anyway; on a CPU a convolution
    adds its own without another pass.
    """
    short, times = block.conv_shortcut, block.time_emb_proj
    ends = [block.conv2.bias] + ([short.bias] if short is not None else [])
    starts = [block.conv1.bias] + ([times.bias] if times is not None else [])
    if block.conv2.weight.is_cuda:
        block.first_bias, block.early_bias = None, _summed(starts)
        block.second_bias, block.late_bias = None, _summed(ends)
    else:
        block.first_bias, block.early_bias = block.conv1.bias, _summed(starts[1:])
        block.second_bias, block.late_bias = _summed(ends), None
    block.forward = MethodType(_resnet, block)


def _summed(biases: Sequence[Tensor | None]) -> Tensor | None:
    """The sum of the biases that there are, (C,), added up in float32; None of none."""
    given = [bias for bias in biases if bias is not None]
    if len(given) < 2:
        return given[0] if given else None
    return torch.stack([bias.float() for bias in given]).sum(0).to(given[0].dtype)


def _resnet(
    self: Any, input_tensor: Tensor, temb: Tensor | None = None, *_: Any, **__: Any
) -> Tensor:
    """``ResnetBlock2D.forward``: (B, C, H, W) and an embedded time, (B, T), to (B, C', H, W)."""
    x = input_tensor.contiguous(memory_format=LAST)
    hidden = _convolved(self.conv1, _activated(self, self.norm1, x), self.first_bias)
    early = None if self.early_bias is None else self.early_bias[None]
    if self.time_emb_proj is not None:
        early = linear(self.nonlinearity(temb), self.time_emb_proj.weight, self.early_bias)
    activated = _activated(self, self.norm2, hidden, early)
    hidden = _convolved(self.conv2, activated, self.second_bias)
    flat, own = (tensor.permute(0, 2, 3, 1) for tensor in (x, hidden))
    if self.conv_shortcut is not None:
        answer = linear(flat, self.conv_shortcut.weight.flatten(1), self.late_bias).add_(own)
    elif self.late_bias is None:
        answer = own.add_(flat)
    else:
        answer = kernels(x.device).add_(own, flat, self.late_bias)
    return answer.permute(0, 3, 1, 2)


def _activated(block: Any, norm: nn.GroupNorm, x: Tensor, early: Tensor | None = None) -> Tensor:
    """The activation behind the norm of ``x + early``; channels are last."""
    swish = type(block.nonlinearity) is nn.SiLU
    answer = normed(norm, x, early, swish)
    return answer if swish else block.nonlinearity(answer)  # type: ignore[no-any-return]


def _convolved(layer: nn.Conv2d, x: Tensor, bias: Tensor | None) -> Tensor:
    """A convolution with a bias of another's."""
    return conv2d(x, layer.weight, bias, layer.stride, layer.padding)  # type: ignore[arg-type]


def _is_plain_upsampling(layer: Any) -> bool:
    """Whether a layer doubles both sides and convolves, on a CPU."""
    return (
        layer.use_conv
        and not layer.use_conv_transpose
        and layer.interpolate
        and layer.norm is None
        and layer.conv.kernel_size == (3, 3)
        and layer.conv.padding == (1, 1)
        and not layer.conv.weight.is_cuda
    )


def _prepare_upsampling(layer: Any) -> None:
    """The four convolutions of 2 x 2 that one of 3 x 3 on doubled pixels is, one for each corner.

    Three doubled pixels in a row are two of the small ones, one of them twice: its weights are
    added up. That is 4 products a pixel instead of 9, and nothing is doubled before.
    """
    weight = layer.conv.weight.float()
    rows = (_merged(weight, 2, late) for late in (False, True))
    corners = [_merged(row, 3, late) for row in rows for late in (False, True)]
    joined = torch.cat(corners).to(layer.conv.weight.dtype)
    layer.corners = joined.contiguous(memory_format=LAST)
    bias = layer.conv.bias
    layer.corners_bias = None if bias is None else bias.repeat(4)
    layer.forward = MethodType(_upsampled, layer)


def _merged(weight: Tensor, axis: int, late: bool) -> Tensor:
    """Three weights along an axis as the two that the first or second of two equal pixels sees."""
    first, middle, last = weight.unbind(axis)
    pair = (first + middle, last) if late else (first, middle + last)
    return torch.stack(pair, axis)


def _upsampled(
    self: Any, hidden_states: Tensor, output_size: Any = None, *_: Any, **__: Any
) -> Tensor:
    """``Upsample2D.forward``: (B, C, H, W) to (B, C', 2 H, 2 W)."""
    batch, (height, width) = len(hidden_states), hidden_states.shape[2:]
    if output_size is not None and tuple(output_size) != (2 * height, 2 * width):
        plain: Tensor = type(self).forward(self, hidden_states, output_size)
        return plain
    x = hidden_states.contiguous(memory_format=LAST)
    made = conv2d(x, self.corners, self.corners_bias, padding=1)  # (B, 4 C', H + 1, W + 1)
    corners = made.permute(0, 2, 3, 1).chunk(4, -1)
    whole = x.new_empty(batch, height, 2, width, 2, corners[0].shape[-1])
    for place, corner in enumerate(corners):
        down, right = divmod(place, 2)
        whole[:, :, down, :, right] = corner[:, down : down + height, right : right + width]
    return whole.view(batch, 2 * height, 2 * width, -1).permute(0, 3, 1, 2)
