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
from torch.nn.functional import conv2d, linear, scaled_dot_product_attention

from int_bench.backbones.common.kernels import kernels

LAST = torch.channels_last


def keep_channels_last(model: Any) -> None:
    """Change the blocks of a diffusers model in place, whose weights are where they will stay.

    Norms are computed with the activation behind them and the bias before them, where there is a
    kernel for it (``kernels``).
    """
    from diffusers.models.activations import GEGLU
    from diffusers.models.attention_processor import Attention
    from diffusers.models.resnet import ResnetBlock2D
    from diffusers.models.transformers.transformer_2d import Transformer2DModel

    for module in model.modules():
        if type(module) is nn.GroupNorm:
            module.forward = MethodType(group_norm, module)  # type: ignore[method-assign]
        elif type(module) is ResnetBlock2D and _is_plain_resnet(module):
            _prepare_resnet(module)
        elif type(module) is Transformer2DModel and module.is_input_continuous:
            leave = MethodType(_transformed, module)
            module._get_output_for_continuous_inputs = leave  # type: ignore[method-assign]
        elif type(module) is GEGLU:
            module.forward = MethodType(_gated, module)  # type: ignore[method-assign]
        elif type(module) is Attention and _is_plain_attention(module):
            _prepare_attention(module)


def group_norm(self: nn.GroupNorm, x: Tensor) -> Tensor:
    """``nn.GroupNorm`` of (B, C, ...) where channels are last, without changing that.

    The library's own kernel wants them first, so that each norm copies its input, and the
    convolution behind it copies the answer back: a quarter of the UNet's time.
    """
    flat = x.flatten(2).transpose(1, 2)  # (B, places, C)
    if not flat.is_contiguous():
        plain: Tensor = nn.GroupNorm.forward(self, x)
        return plain
    return kernels(x.device).group_norm(self, flat).transpose(1, 2).view(x.shape)


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
    """Give the biases of convolutions to what is added to their answers anyway."""
    first = (block.conv1, block.time_emb_proj)
    block.early_bias = _summed([layer.bias for layer in first if layer is not None])
    if block.conv_shortcut is not None:
        block.late_bias = _summed([block.conv2.bias, block.conv_shortcut.bias])
    block.forward = MethodType(_resnet, block)


def _summed(biases: Sequence[Tensor | None]) -> Tensor:
    """The sum of the biases that there are, (C,), added up in float32."""
    given = [bias for bias in biases if bias is not None]
    return torch.stack([bias.float() for bias in given]).sum(0).to(given[0].dtype)


def _resnet(
    self: Any, input_tensor: Tensor, temb: Tensor | None = None, *_: Any, **__: Any
) -> Tensor:
    """``ResnetBlock2D.forward``: (B, C, H, W) and an embedded time, (B, T), to (B, C', H, W)."""
    x = input_tensor.contiguous(memory_format=LAST)
    hidden = _convolved(self.conv1, _activated(self, self.norm1, x))
    early = self.early_bias[None]
    if self.time_emb_proj is not None:
        early = linear(self.nonlinearity(temb), self.time_emb_proj.weight, self.early_bias)
    hidden = _convolved(self.conv2, _activated(self, self.norm2, hidden, early))
    flat, own = (tensor.permute(0, 2, 3, 1) for tensor in (x, hidden))
    if self.conv_shortcut is None:
        answer = kernels(x.device).add_(own, flat, self.conv2.bias)
    else:
        answer = linear(flat, self.conv_shortcut.weight.flatten(1), self.late_bias).add_(own)
    return answer.permute(0, 3, 1, 2)


def _activated(block: Any, norm: nn.GroupNorm, x: Tensor, early: Tensor | None = None) -> Tensor:
    """The activation behind the norm of ``x + early``; channels are last."""
    flat, swish = x.flatten(2).transpose(1, 2), type(block.nonlinearity) is nn.SiLU
    normed = kernels(x.device).group_norm(norm, flat, early, swish)
    normed = normed.transpose(1, 2).view(x.shape)
    return normed if swish else block.nonlinearity(normed)  # type: ignore[no-any-return]


def _convolved(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A convolution without its bias."""
    return conv2d(x, layer.weight, None, layer.stride, layer.padding)  # type: ignore[arg-type]


def _transformed(
    self: Any, hidden_states: Tensor, residual: Tensor, height: int, width: int, **_: Any
) -> Tensor:
    """What a spatial transformer adds, (B, H * W, C), to its input, (B, C, H, W)."""
    if self.use_linear_projection:
        hidden_states = self.proj_out(hidden_states)
    hidden: Tensor = hidden_states.unflatten(1, (height, width)).permute(0, 3, 1, 2)
    if not self.use_linear_projection:
        hidden = self.proj_out(hidden)
    return hidden.add_(residual)


def _gated(self: Any, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
    """``GEGLU.forward``: (B, N, C) to (B, N, C')."""
    return kernels(hidden_states.device).geglu(hidden_states, self.proj.weight, self.proj.bias)


def _is_plain_attention(layer: Any) -> bool:
    """Whether a layer is one of a transformer's, with nothing around its products."""
    around = (layer.spatial_norm, layer.group_norm, layer.norm_q, layer.norm_k, layer.norm_cross)
    biases = (layer.to_q.bias, layer.to_k.bias, layer.to_v.bias)
    return (
        not any(part is not None and part is not False for part in (*around, *biases))
        and not layer.residual_connection
        and layer.rescale_output_factor == 1
        and layer.scale_qk
    )


def _prepare_attention(layer: Any) -> None:
    """One product for all that is made of the same input."""
    itself = layer.to_q.in_features == layer.to_k.in_features and not layer.is_cross_attention
    layer.joined = (layer.to_q, layer.to_k, layer.to_v) if itself else (layer.to_k, layer.to_v)
    weight = torch.cat([part.weight for part in layer.joined])
    for part, rows in zip(layer.joined, weight.chunk(len(layer.joined)), strict=True):
        part.weight = nn.Parameter(rows, requires_grad=False)
    layer.joined_weight = weight
    layer.set_processor(_Attended())


class _Attended:
    """Attention of tokens to each other or to a text."""

    def __call__(
        self,
        layer: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        """(B, N, C) to (B, N, C); a text is (B, T, W)."""
        assert attention_mask is None
        seen = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        made = linear(seen, layer.joined_weight).chunk(len(layer.joined), -1)
        queries = made[0] if len(made) == 3 else layer.to_q(hidden_states)
        heads = [
            part.unflatten(-1, (layer.heads, -1)).transpose(1, 2) for part in (queries, *made[-2:])
        ]
        mixed = scaled_dot_product_attention(*heads)
        answer: Tensor = layer.to_out[0](mixed.transpose(1, 2).flatten(2))
        return answer
