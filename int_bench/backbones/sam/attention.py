"""SAM's attention as one fused kernel, and its image encoder in half precision.

The library multiplies, adds, exponentiates and multiplies again in four passes over a matrix of
(tokens x tokens); ``scaled_dot_product_attention`` does it in one. The numbers differ by rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

WIDEST = 256
"""The longest query, in channels, of the kernel that takes no bias."""
PLACES_AT_ONCE = 1024
"""A bias of more places is made for one picture after the other: at 4096 it takes 1 GB."""


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


def lower(sam: Any, precision: torch.dtype) -> Any:
    """Let the image encoder multiply in half precision, and add up in float32.

    Patches, attention and the blocks' perceptrons are converted. What their answers are added to
    stays in float32, and so do the norms and the neck: together under 1 % of the work.
    """
    if precision == torch.float32:
        return sam
    encoder = sam.image_encoder
    encoder.patch_embed.to(precision)
    for block in encoder.blocks:
        for part in (block.attn, block.mlp):
            part.to(precision)
        for norm in (block.norm1, block.norm2):
            norm.register_forward_hook(lambda module, inputs, output: output.to(precision))
    return sam


def _encoder_forward(self: Any, x: Tensor) -> Tensor:
    """Self-attention of the image encoder: (B, H, W, C) to the same."""
    batch, height, width, channels = x.shape
    qkv = self.qkv(x).reshape(batch, height * width, 3, self.num_heads, -1)
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    if not self.use_rel_pos:
        mixed = scaled_dot_product_attention(q, k, v, scale=self.scale)
    elif q.is_cuda and q.dtype != torch.float32 and q.shape[-1] + height + width <= WIDEST:
        mixed = _lengthened(self, q, k, v, height, width)
    elif q.is_cuda and height * width > PLACES_AT_ONCE:
        pictures = zip(q.split(1), k.split(1), v.split(1), strict=True)
        mixed = torch.cat([_biased(self, *picture, height, width) for picture in pictures])
    else:
        mixed = _biased(self, q, k, v, height, width)
    answer: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, height, width, channels))
    return answer


def _biased(self: Any, q: Tensor, k: Tensor, v: Tensor, height: int, width: int) -> Tensor:
    """Attention with the positions as a bias, (B, heads, H * W, H * W)."""
    rows, columns = _positions(self, q, height, width)
    bias = (rows[..., :, None] + columns[..., None, :]).flatten(4).flatten(2, 3)
    return scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=self.scale)


def _lengthened(self: Any, q: Tensor, k: Tensor, v: Tensor, height: int, width: int) -> Tensor:
    """The same with the positions as further channels: no matrix of places by places is made.

    ``q . k + row[i] + column[j]`` is one product if the query goes on with its terms for all rows
    and all columns, and the key of place (i, j) with a 1 at i and a 1 at j.
    """
    rows, columns = _positions(self, q, height, width)
    own, places = q.shape[-1], height * width
    spare = -(own + height + width) % 8  # the kernel wants whole multiples of eight
    terms = torch.cat([rows, columns], -1).flatten(2, 3) / self.scale
    at = torch.arange(places, device=q.device)[:, None]
    row, column = (torch.arange(side, device=q.device) for side in (height, width))
    marks = torch.cat([at // width == row, at % width == column], -1).to(k.dtype)
    query = pad(torch.cat([q, terms], -1), (0, spare))
    key = pad(torch.cat([k, marks.expand(*k.shape[:2], -1, -1)], -1), (0, spare))
    value = pad(v, (0, query.shape[-1] - own))
    return scaled_dot_product_attention(query, key, value, scale=self.scale)[..., :own]


def _positions(self: Any, q: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Decomposed relative positions, (B, heads, H, W, H) and (B, heads, H, W, W); see MViTv2."""
    places = q.reshape(*q.shape[:2], height, width, -1)
    by_row, by_column = _tables(self, height, width)
    rows = torch.einsum("bnhwc,hkc->bnhwk", places, by_row)
    columns = torch.einsum("bnhwc,wkc->bnhwk", places, by_column)
    return rows, columns


def _tables(self: Any, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Embeddings of all distances, (H, H, C) and (W, W, C); made once, as each waits on CUDA."""
    from segment_anything.modeling.image_encoder import get_rel_pos

    known: dict[tuple[int, int], tuple[Tensor, Tensor]] = vars(self).setdefault("tables", {})
    if (height, width) not in known:
        known[height, width] = (
            get_rel_pos(height, height, self.rel_pos_h),
            get_rel_pos(width, width, self.rel_pos_w),
        )
    return known[height, width]


def _decoder_forward(self: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of the mask decoder: (B, N, C) attends to (B, M, C)."""
    heads = [
        project(x).reshape(*x.shape[:2], self.num_heads, -1).transpose(1, 2)
        for project, x in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v))
    ]
    answer: Tensor = self.out_proj(scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))
    return answer
