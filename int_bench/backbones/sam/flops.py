"""The operations of SAM's image encoder, as its authors built it, and of its mask decoder.

Counted as they happen the encoder's would be more on CUDA, where ``attention.widen`` adds channels.
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


def decoder_flops(decoder: Any, places: int, tokens: int, kernels: int, masks: int) -> int:
    """Of one prompt through ``decode_masks``; its shapes are too many to count each as it happens.

    Args:
        decoder: a ``MaskDecoder``.
        places: of the embedding.
        tokens: the outputs' and the prompt's.
        kernels: outputs that have one.
        masks: of these, that are made.
    """
    outputs, width = 1 + decoder.num_mask_tokens, decoder.transformer_dim
    total = 0
    for layer in decoder.transformer.layers:
        total += _attention(layer.self_attn, tokens, tokens)
        total += _attention(layer.cross_attn_token_to_image, tokens, places)
        total += _attention(layer.cross_attn_image_to_token, places, tokens)
        total += 2 * tokens * _weights(layer.mlp)
    total += _attention(decoder.transformer.final_attn_token_to_image, outputs, places)
    total += 2 * places * width**2 + places * width**2  # both steps of the up-scaling
    total += 2 * _weights(decoder.iou_prediction_head)
    total += 2 * kernels * _weights(decoder.output_hypernetworks_mlps[0])
    return int(total + 2 * 16 * places * (width // 8) * masks)


def _attention(layer: Any, queries: int, keys: int) -> int:
    """Four projections and two products of places."""
    width, inner = layer.embedding_dim, layer.internal_dim
    return int(4 * (queries + keys) * width * inner + 4 * queries * keys * inner)
