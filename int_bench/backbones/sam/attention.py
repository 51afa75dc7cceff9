"""SAM's attention as one fused kernel, and its image encoder in half precision.

The library multiplies, adds, exponentiates and multiplies again in four passes over a matrix of
(tokens x tokens); ``scaled_dot_product_attention`` does it in one. The numbers differ by rounding.
"""

from __future__ import annotations

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
    """Give the image encoder of a ``segment_anything.modeling.Sam`` the fused forward pass."""
    from segment_anything.modeling.image_encoder import Attention

    for module in sam.modules():
        if type(module) is Attention:
            module.forward = MethodType(_encoder_forward, module)
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
        if block.attn.use_rel_pos and block.attn.qkv.weight.is_cuda:
            widen(block.attn)
        for norm in (block.norm1, block.norm2):
            norm.register_forward_hook(lambda module, inputs, output: output.to(precision))
    return sam


def widen(layer: Any) -> None:
    """Give each head of an attention layer of the encoder channels for its relative positions.

    ``q . k + row[i] + column[j]`` is one product if the query goes on with its terms for all rows
    and all columns, and the key of place (i, j) with a 1 at i and a 1 at j: no matrix of places by
    places is made. The projections make the room themselves, with weights of 0, so that nothing is
    copied to get it; what the values have there is 0 and stays it.
    """
    height, width = ((len(table) + 1) // 2 for table in (layer.rel_pos_h, layer.rel_pos_w))
    heads, own = layer.num_heads, layer.rel_pos_h.shape[1]
    wide = -(-(own + height + width) // 8) * 8  # the kernel wants whole multiples of eight
    if wide > WIDEST:
        return
    layer.wide = wide
    spare, linear = wide - own, layer.qkv
    weight = pad(linear.weight.unflatten(0, (3, heads, own)), (0, 0, 0, spare))
    linear.weight = torch.nn.Parameter(weight.flatten(0, 2), requires_grad=False)
    if linear.bias is not None:
        bias = pad(linear.bias.unflatten(0, (3, heads, own)), (0, spare))
        linear.bias = torch.nn.Parameter(bias.flatten(), requires_grad=False)
    weight = pad(layer.proj.weight.unflatten(1, (heads, own)), (0, spare))
    layer.proj.weight = torch.nn.Parameter(weight.flatten(1), requires_grad=False)


def _encoder_forward(self: Any, x: Tensor) -> Tensor:
    """Self-attention of the image encoder: (B, H, W, C) to the same."""
    batch, height, width, _ = x.shape
    qkv = self.qkv(x).reshape(batch, height * width, 3, self.num_heads, -1)
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    if not self.use_rel_pos:
        mixed = scaled_dot_product_attention(q, k, v, scale=self.scale)
    elif hasattr(self, "wide"):
        _fill_positions(self, q, k, height, width)
        mixed = scaled_dot_product_attention(q, k, v, scale=self.scale)
    elif q.is_cuda and height * width > PLACES_AT_ONCE:
        pictures = zip(q.split(1), k.split(1), v.split(1), strict=True)
        mixed = torch.cat([_biased(self, *picture, height, width) for picture in pictures])
    else:
        mixed = _biased(self, q, k, v, height, width)
    answer: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, height, width, -1))
    return answer


def _biased(self: Any, q: Tensor, k: Tensor, v: Tensor, height: int, width: int) -> Tensor:
    """Attention with the positions as a bias, (B, heads, H * W, H * W)."""
    rows, columns = _positions(self, q, height, width)
    bias = (rows[..., :, None] + columns[..., None, :]).flatten(4).flatten(2, 3)
    return scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=self.scale)


def _fill_positions(self: Any, q: Tensor, k: Tensor, height: int, width: int) -> None:
    """Write the positions into the further channels of queries and keys (see ``widen``)."""
    own = self.rel_pos_h.shape[1]
    rows, columns = _positions(self, q[..., :own], height, width)
    room = q[..., own : own + height + width].unflatten(2, (height, width))
    room[..., :height] = rows
    room[..., height:] = columns
    k[..., own : own + height + width] = _marks(self, k, height, width)


def _marks(self: Any, k: Tensor, height: int, width: int) -> Tensor:
    """(H * W, H + W) of ``k``'s precision: a 1 for the row and one for the column of each place."""
    known: dict[tuple[int, int], Tensor] = vars(self).setdefault("marks", {})
    if (height, width) not in known:
        places = torch.arange(height * width, device=k.device)[:, None]
        row, column = (torch.arange(side, device=k.device) for side in (height, width))
        marks = torch.cat([places // width == row, places % width == column], -1)
        known[height, width] = marks.to(k.dtype)
    return known[height, width]


def _positions(self: Any, q: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Decomposed relative positions, (B, heads, H, W, H) and (B, heads, H, W, W); see MViTv2."""
    places = q.reshape(*q.shape[:2], height, width, -1)
    by_row, by_column = _tables(self, height, width)
    rows = torch.einsum("bnhwc,hkc->bnhwk", places, by_row)
    columns = torch.einsum("bnhwc,wkc->bnhwk", places, by_column)
    return rows, columns


def _tables(self: Any, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Embeddings of all distances, (H, H, C) and (W, W, C); made once, as each waits on CUDA.

    A widened layer multiplies them by its scale with all the rest, so they are divided by it here.
    """
    from segment_anything.modeling.image_encoder import get_rel_pos

    known: dict[tuple[int, int], tuple[Tensor, Tensor]] = vars(self).setdefault("tables", {})
    if (height, width) not in known:
        rows = get_rel_pos(height, height, self.rel_pos_h)
        columns = get_rel_pos(width, width, self.rel_pos_w)
        whole = self.scale if hasattr(self, "wide") else 1.0
        known[height, width] = (rows, columns) if whole == 1.0 else (rows / whole, columns / whole)
    return known[height, width]
