"""The blocks of SAM's image encoder without copies between memory layouts.

The library's encoder lets all blocks add to a picture whose channels lie first, as its patches came
from a convolution: each sum and each norm walks memory in steps. On CUDA its windows are padded,
reordered, reordered back and cut, four passes; here each way is one gather. Nothing is rounded in
another way: the same numbers are moved.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from int_bench.backbones.common.kernels import perceptron

Places = dict[tuple[int, int, int, int], tuple[Tensor, Tensor]]
"""By pictures, height, width and window: see ``_places``."""


def moved_less(sam: Any) -> Any:
    """The same ``segment_anything.modeling.Sam``, changed in place."""
    encoder = sam.image_encoder
    encoder.patch_embed.register_forward_hook(lambda module, given, out: out.contiguous())
    encoder.neck.forward = MethodType(_neck, encoder.neck)
    places: Places = {}
    for block in encoder.blocks:
        block.places = places
        block.forward = MethodType(_block, block)
        block.mlp.forward = MethodType(_perceptron, block.mlp)
    return sam


def _perceptron(self: Any, x: Tensor) -> Tensor:
    """``MLPBlock.forward``."""
    return perceptron(x, self.lin1, self.act, self.lin2)


def _neck(self: Any, x: Tensor) -> Tensor:
    """(B, C, H, W), channels last in memory, to (B, D, H, W) that lies alike."""
    first, norm, second, last_norm = self
    x = F.linear(x.permute(0, 2, 3, 1), first.weight.flatten(1))
    x = F.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, norm.eps)
    x = second(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    wanted = F.layer_norm(x, x.shape[-1:], last_norm.weight, last_norm.bias, last_norm.eps)
    return wanted.permute(0, 3, 1, 2)


def _block(self: Any, x: Tensor) -> Tensor:
    """``Block.forward``: (B, H, W, C) to the same."""
    if not x.is_cuda or not self.window_size:
        return type(self).forward(self, x)  # type: ignore[no-any-return]
    into, back = _places(self, x)
    tokens = self.norm1(x).flatten(0, 2)
    tokens = torch.cat([tokens, tokens.new_zeros(1, x.shape[-1])])
    side = self.window_size
    windows = tokens.index_select(0, into).view(-1, side, side, x.shape[-1])
    mixed = self.attn(windows).flatten(0, 2).index_select(0, back).view(x.shape)
    x = x + mixed
    return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


def _places(self: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Which token stands at each place of all windows, and where each token stands.

    Windows follow each other by picture, row and column. Where there is no token, the number of
    all tokens stands, at which a token of zeros is put.
    """
    count, height, width, _ = x.shape
    side, known = self.window_size, self.places
    key = count, height, width, side
    if key not in known:
        down, across = -(-height // side), -(-width // side)
        tokens = np.full((count, down * side, across * side), count * height * width)
        tokens[:, :height, :width] = np.arange(count * height * width).reshape(key[:3])
        windows = tokens.reshape(count, down, side, across, side).transpose(0, 1, 3, 2, 4)
        into = windows.ravel()
        back = np.argsort(into, kind="stable")[: count * height * width]
        known[key] = tuple(torch.from_numpy(part).to(x.device) for part in (into, back))
    pair: tuple[Tensor, Tensor] = known[key]
    return pair
