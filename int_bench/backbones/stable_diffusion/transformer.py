"""The UNet's spatial transformers with as few operations as their formula needs.

A transformer is given and gives maps with channels last, which are its tokens without a copy: its
first and last convolution, of one pixel, are products like all others. What is made of the same
input is one product.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear, scaled_dot_product_attention

from int_bench.backbones.common.kernels import kernels

Norm = Callable[[nn.GroupNorm, Tensor], Tensor]
"""The norm of (B, C, H, W), channels last."""


def keep_transformer(model: Any, norm: Norm) -> None:
    """Change a ``Transformer2DModel`` in place if it is one of Stable Diffusion's.

    Args:
        model: its weights are where they will stay.
        norm: computes the group norm before the tokens.
    """
    if not (model.is_input_continuous and all(map(_is_plain, model.transformer_blocks))):
        return
    for block in model.transformer_blocks:
        for attention in (block.attn1, block.attn2):
            _join(attention)
        block.forward = MethodType(_block, block)  # is what may be compiled
    model.group_norm = norm
    model.forward = MethodType(_transformed, model)


def _is_plain(block: Any) -> bool:
    """Whether a block is norm and attention, norm and attention to a text, norm and perceptron."""
    from diffusers.models.activations import GEGLU

    layers = list(block.ff.net)
    return (
        block.norm_type == "layer_norm"
        and block.pos_embed is None
        and not block.only_cross_attention
        and not hasattr(block, "fuser")
        and block.attn2 is not None
        and block.attn2.is_cross_attention
        and all(map(_is_plain_attention, (block.attn1, block.attn2)))
        and [type(layer) for layer in layers] == [GEGLU, nn.Dropout, nn.Linear]
    )


def _is_plain_attention(layer: Any) -> bool:
    """Whether a layer has nothing around its products."""
    around = (layer.spatial_norm, layer.group_norm, layer.norm_q, layer.norm_k, layer.norm_cross)
    biases = (layer.to_q.bias, layer.to_k.bias, layer.to_v.bias)
    return (
        not any(part is not None and part is not False for part in (*around, *biases))
        and not layer.residual_connection
        and layer.rescale_output_factor == 1
        and layer.scale_qk
    )


def _join(layer: Any) -> None:
    """One product for all that is made of the same input."""
    made = (layer.to_k, layer.to_v)
    layer.joined = made if layer.is_cross_attention else (layer.to_q, *made)
    weight = torch.cat([part.weight for part in layer.joined])
    for part, rows in zip(layer.joined, weight.chunk(len(layer.joined)), strict=True):
        part.weight = nn.Parameter(rows, requires_grad=False)
    layer.joined_weight = weight


def _transformed(
    self: Any, hidden_states: Tensor, encoder_hidden_states: Tensor, *_: Any, **__: Any
) -> tuple[Tensor]:
    """``Transformer2DModel.forward``: maps (B, C, H, W) and a text (B, T, W) to maps."""
    x = hidden_states.contiguous(memory_format=torch.channels_last)
    flat, tokens = (m.flatten(2).transpose(1, 2) for m in (x, self.group_norm(self.norm, x)))
    tokens = linear(tokens, self.proj_in.weight.flatten(1), self.proj_in.bias)
    for block in self.transformer_blocks:
        tokens = block(tokens, encoder_hidden_states)
    tokens = linear(tokens, self.proj_out.weight.flatten(1), self.proj_out.bias).add_(flat)
    return (tokens.transpose(1, 2).view(x.shape),)


def _block(self: Any, tokens: Tensor, text: Tensor) -> Tensor:
    """``BasicTransformerBlock.forward``: (B, N, C) and a text to (B, N, C)."""
    tokens = _attended(self.attn1, _normed(self.norm1, tokens)).add_(tokens)
    tokens = _attended(self.attn2, _normed(self.norm2, tokens), text).add_(tokens)
    gate, _, out = self.ff.net
    gated = kernels(tokens.device).geglu(
        _normed(self.norm3, tokens), gate.proj.weight, gate.proj.bias
    )
    return linear(gated, out.weight, out.bias).add_(tokens)


def _normed(norm: nn.LayerNorm, tokens: Tensor) -> Tensor:
    return layer_norm(tokens, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def _attended(layer: Any, tokens: Tensor, text: Tensor | None = None) -> Tensor:
    """Attention of tokens, (B, N, C), to each other or to a text, (B, T, W)."""
    if text is None:
        queries, keys, values = _heads(layer, linear(tokens, layer.joined_weight), 3)
    else:
        (queries,) = _heads(layer, linear(tokens, layer.to_q.weight), 1)
        keys, values = _heads(layer, linear(text, layer.joined_weight), 2)
    mixed = scaled_dot_product_attention(queries, keys, values)
    out = layer.to_out[0]
    return linear(mixed.transpose(1, 2).flatten(2), out.weight, out.bias)


def _heads(layer: Any, made: Tensor, parts: int) -> list[Tensor]:
    """(B, N, parts * C) as so many (B, heads, N, C / heads)."""
    split = made.unflatten(-1, (parts, layer.heads, -1)).permute(2, 0, 3, 1, 4)
    return list(split)
