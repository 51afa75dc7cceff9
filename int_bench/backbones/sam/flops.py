"""The operations of SAM's image encoder, as its authors built it.

Counted as they happen they would be more on CUDA, where ``attention.widen`` adds channels.
"""

from __future__ import annotations

from typing import Any

from torch import nn


def encoder_flops(encoder: Any) -> int:
    """Of one picture through ``segment_anything.modeling.ImageEncoderViT``.

    Blocks with windows attend within each, over places that fill the last ones up; each place has
    a product with its row's and with its column's relative positions.
    """
    grid = encoder.img_size // encoder.patch_embed.proj.kernel_size[0]
    total = 2 * grid**2 * (_weights(encoder.patch_embed) + _weights(encoder.neck))
    for block in encoder.blocks:
        width, side = block.attn.qkv.in_features, block.window_size or grid
        places = (-(-grid // side) * side) ** 2
        positions = 4 * side * width if block.attn.use_rel_pos else 0
        total += places * (8 * width**2 + 4 * side**2 * width + positions)
        total += 2 * grid**2 * _weights(block.mlp)
    return int(total)


def _weights(module: nn.Module) -> int:
    """Of the layers that multiply by them at every place."""
    layers = (nn.Linear, nn.Conv2d)
    return sum(part.weight.numel() for part in module.modules() if isinstance(part, layers))
