"""A Swin's features with windows that are gathered, not padded, rolled and turned.

The library shifts a map, pads it, orders it by windows, and back, in six passes over it; to every
shifted window it adds a mask, of which all but the last row and column of windows have no need.
Here each way is one gather, and only windows are masked in which distant parts of a map meet.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

T = TypeVar("T")
Known = Callable[[Hashable, Callable[[], T]], T]
"""A value by what it depends on; computed unless it is kept."""
APART = -100.0
"""Added where tokens of a window do not lie together, as in the library."""


class Layout(NamedTuple):
    """What windows depend on.

    Attributes:
        pictures: how many.
        height, width: of their maps, in tokens.
        side: of a window.
        shift: of all windows, to the right and down; what they leave out is in the last ones.
    """

    pictures: int
    height: int
    width: int
    side: int
    shift: int


@dataclass(frozen=True)
class Windows:
    """Where the tokens of pictures of one size stand when they stand by windows, of side² each.

    Attributes:
        into: the token at each place of all windows, those without a mask first, int32.
        holes: places without a token, int64.
        back: the place of each token, int32.
        whole: how many windows need no mask.
        masks: (M, 1, side², wide), of the others; wide as of `finished`.
    """

    into: Tensor
    holes: Tensor
    back: Tensor
    whole: int
    masks: Tensor

    @property
    def nbytes(self) -> int:
        """In all."""
        return sum(x.nbytes for x in (self.into, self.holes, self.back, self.masks))


def finished(backbone: Any) -> None:
    """Keep what depends on weights alone, if this is the library's ``SwinBackbone`` as it is known.

    Each attention gets ``qkv`` in place of three projections, and ``bias``, (heads, side², wide),
    where wide is side² rounded up to eight, as fused attention wants it.
    """
    blocks = [block for layer in backbone.swin.encoder.layers for block in layer.blocks]
    if backbone.swin.embeddings.position_embeddings is not None:
        return
    if not all(hasattr(block.attention, "q_proj") for block in blocks):
        return  # other versions of the library name it otherwise: they compute as they do
    for attention in (block.attention for block in blocks):
        three = (attention.q_proj, attention.k_proj, attention.v_proj)
        merged = nn.Linear(
            three[0].in_features, 3 * three[0].out_features, three[0].bias is not None
        )
        merged.weight = nn.Parameter(torch.cat([part.weight for part in three]), False)
        if merged.bias is not None:
            merged.bias = nn.Parameter(torch.cat([part.bias for part in three]), False)
        attention.qkv = merged
        del attention.q_proj, attention.k_proj, attention.v_proj
        bias = attention.relative_position_bias()[0].detach()
        side = attention.relative_position_bias.window_size[0]
        attention.register_buffer("bias", pad(bias, wide(side)), persistent=False)
    backbone.gathered = True


def features(backbone: Any, pixels: Tensor, known: Known[Windows]) -> list[Tensor]:
    """The backbone's feature maps, (B, C, h, w), channels last.

    Args:
        backbone: after ``finished``, or any other.
        pixels: (B, 3, H, W).
        known: windows by the size of a map.
    """
    if not getattr(backbone, "gathered", False):
        return list(backbone(pixels, return_dict=True).feature_maps)
    tokens, (height, width) = backbone.swin.embeddings(pixels)
    maps = []
    for name, layer in zip(backbone.stage_names[1:], backbone.swin.encoder.layers, strict=True):
        for block in layer.blocks:
            of = Layout(len(tokens), height, width, block.window_size, block.shift_size)
            tokens = _mixed(block, tokens, known(of, partial(windows, of, tokens)))
        if name in backbone.out_features:
            normed = backbone.hidden_states_norms[name](tokens)
            maps.append(normed.unflatten(1, (height, width)).permute(0, 3, 1, 2))
        if layer.downsample is not None:
            tokens = layer.downsample(tokens, (height, width))
            height, width = -(-height // 2), -(-width // 2)
    return maps


def windows(of: Layout, like: Tensor) -> Windows:
    """Of maps that lie so, of the device and the precision of another tensor."""
    count, height, width, side, shift = of
    down, across = (-(-length // side) * side for length in (height, width))
    tokens = np.full((down, across), -1)
    tokens[:height, :width] = np.arange(height * width).reshape(height, width)
    tokens = _by_windows(np.roll(tokens, (-shift, -shift), (0, 1)), side)
    y, x = (_parts(length, side, shift) for length in (down, across))
    part = _by_windows(3 * y[:, None] + x, side)
    apart = part[:, :, None] != part[:, None]
    masked = apart.any((1, 2))
    starts = np.arange(count)[:, None, None] * (height * width)
    both = [np.where(some < 0, -1, some + starts) for some in (tokens[~masked], tokens[masked])]
    into = np.concatenate([some.ravel() for some in both])
    filled = np.flatnonzero(into >= 0)
    back = np.empty(count * height * width, np.int32)
    back[into[filled]] = filled
    masks = pad(torch.from_numpy(apart[masked][:, None]).to(like.dtype) * APART, wide(side))
    places = (np.maximum(into, 0).astype(np.int32), np.flatnonzero(into < 0), back)
    there, holes, here = (torch.from_numpy(values).to(like.device) for values in places)
    whole = count * int((~masked).sum())
    return Windows(there, holes, here, whole, masks.to(like.device).repeat(count, 1, 1, 1))


def wide(side: int) -> tuple[int, int]:
    """What is put before and behind the columns of a mask: fused attention wants eights."""
    return 0, -(side**2) % 8


def _by_windows(values: NDArray[np.int64], side: int) -> NDArray[np.int64]:
    """From (H, W) to (windows, side * side)."""
    height, width = values.shape
    parts = values.reshape(height // side, side, width // side, side)
    return parts.transpose(0, 2, 1, 3).reshape(-1, side**2)


def _parts(length: int, side: int, shift: int) -> NDArray[np.int64]:
    """Which of three parts, which do not lie together, each place of a shifted axis belongs to."""
    place = np.arange(length)
    return (shift > 0) * ((place >= length - side) * 1 + (place >= length - shift) * 1)


def _mixed(block: Any, tokens: Tensor, by: Windows) -> Tensor:
    """``SwinLayer.forward``: (B, N, C) to the same."""
    attention, width = block.attention, tokens.shape[-1]
    length, heads = block.window_size**2, attention.num_attention_heads
    placed = block.layernorm_before(tokens).flatten(0, 1).index_select(0, by.into)
    placed.index_fill_(0, by.holes, 0)
    qkv = attention.qkv(placed).view(-1, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    plain = attention.bias[None]
    parts = []
    if by.whole:
        parts.append((qkv[:, : by.whole], plain.expand(by.whole, -1, -1, -1)))
    if len(by.masks):
        parts.append((qkv[:, by.whole :], plain + by.masks))
    heard = [
        scaled_dot_product_attention(part[0], part[1], part[2], mask[..., :length])
        for part, mask in parts
    ]
    seen = torch.cat([part.transpose(1, 2).reshape(-1, width) for part in heard])
    seen = attention.o_proj(seen.index_select(0, by.back)).view_as(tokens).add_(tokens)
    inner = block.mlp.activation_fn(block.mlp.fc1(block.layernorm_after(seen)))
    return block.mlp.fc2(inner).add_(seen)  # type: ignore[no-any-return]
