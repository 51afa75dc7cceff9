"""SAM's attention as one fused kernel, with the relative positions as its bias.

The library multiplies, adds, exponentiates and multiplies again in four passes over a matrix of
(tokens x tokens); ``scaled_dot_product_attention`` does it in one. The numbers differ by rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


def fuse_attention(sam: Any) -> Any:
    """Give all attention layers of a ``segment_anything.modeling.Sam`` the fused forward pass."""
    from segment_anything.modeling.image_encoder import Attention as EncoderAttention
    from segment_anything.modeling.transformer import Attention as DecoderAttention

    fused: dict[type, Callable[..., Tensor]] = {
        EncoderAttention: _encoder_forward,
        DecoderAttention: _decoder_forward,
    }
    for module in sam.modules():
        if type(module) in fused:
            module.forward = MethodType(fused[type(module)], module)
    return sam


def _encoder_forward(self: Any, x: Tensor) -> Tensor:
    """Self-attention of the image encoder: (B, H, W, C) to the same."""
    batch, height, width, channels = x.shape
    qkv = self.qkv(x).reshape(batch, height * width, 3, self.num_heads, -1)
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    bias = _positions(self, q, height, width) if self.use_rel_pos else None
    mixed = scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=self.scale)
    answer: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, height, width, channels))
    return answer


def _positions(self: Any, q: Tensor, height: int, width: int) -> Tensor:
    """Decomposed relative positions as a bias, (B, heads, H * W, H * W); see MViTv2."""
    from segment_anything.modeling.image_encoder import get_rel_pos

    places = q.reshape(*q.shape[:2], height, width, -1)
    by_row = get_rel_pos(height, height, self.rel_pos_h)
    by_column = get_rel_pos(width, width, self.rel_pos_w)
    rows = torch.einsum("bnhwc,hkc->bnhwk", places, by_row)
    columns = torch.einsum("bnhwc,wkc->bnhwk", places, by_column)
    return (rows[..., :, None] + columns[..., None, :]).flatten(4).flatten(2, 3)


def _decoder_forward(self: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of the mask decoder: (B, N, C) attends to (B, M, C)."""
    heads = [
        project(x).reshape(*x.shape[:2], self.num_heads, -1).transpose(1, 2)
        for project, x in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v))
    ]
    answer: Tensor = self.out_proj(scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))
    return answer
