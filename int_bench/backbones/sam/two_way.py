"""The transformer of SAM's mask decoder, and its up-scaling, with fewer passes.

The library's modules in the library's order; left out is what nobody reads (the last attention of
the prompts' own tokens), and pictures stay place by place, (B, places, channels), as attention
wants them: a transposed convolution whose kernel is its stride is one product.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def two_way(
    transformer: Any,
    picture: Tensor,
    position: Tensor,
    tokens: Tensor,
    outputs: int,
    seen: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """``TwoWayTransformer.forward`` of pictures that lie token by token.

    Args:
        transformer: of the mask decoder.
        picture: (B, P, C) embeddings of its places.
        position: (1, P, C) where they are.
        tokens: (B, N, C) outputs and embedded prompts.
        outputs: how many of the tokens are read; they are the first.
        seen: (B, N), False where a token is none, so that nothing attends to it; None: all are.

    Returns:
        The outputs (B, outputs, C) and the picture (B, P, C).
    """
    real = None if seen is None else seen[:, None, None]
    queries, keys = tokens, picture
    for layer in transformer.layers:
        placed = keys + position
        if layer.skip_first_layer_pe:
            queries = _attend(layer.self_attn, queries, queries, queries, real)
        else:
            asked = queries + tokens
            queries = queries + _attend(layer.self_attn, asked, asked, queries, real)
        queries = layer.norm1(queries)
        across = layer.cross_attn_token_to_image
        queries = layer.norm2(queries + _attend(across, queries + tokens, placed, keys))
        queries = layer.norm3(queries + layer.mlp(queries))
        across = layer.cross_attn_image_to_token
        keys = layer.norm4(keys + _attend(across, placed, queries + tokens, queries, real))
    queries, tokens = queries[:, :outputs], tokens[:, :outputs]
    across = transformer.final_attn_token_to_image
    queries = queries + _attend(across, queries + tokens, keys + position, keys)
    return transformer.norm_final_attn(queries), keys


def _attend(layer: Any, q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None = None) -> Tensor:
    """``Attention.forward``: (B, N, C) attends to (B, M, C), as one kernel."""
    queries, keys, values = (
        F.linear(x, project.weight, project.bias)
        .unflatten(2, (layer.num_heads, -1))
        .transpose(1, 2)
        for project, x in ((layer.q_proj, q), (layer.k_proj, k), (layer.v_proj, v))
    )
    mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=seen)
    mixed = mixed.transpose(1, 2).flatten(2)
    return F.linear(mixed, layer.out_proj.weight, layer.out_proj.bias)


def upscaled(upscaling: Any, picture: Tensor) -> Tensor:
    """``MaskDecoder.output_upscaling`` of (B, P, C), place by place: (B, P, 4, 4, C / 8).

    A place becomes two by two, and each of them two by two again (see `in_rows`).
    """
    first, norm, activation, second, _ = upscaling
    finer = _split(first, picture)
    finer = F.layer_norm(finer, finer.shape[-1:], norm.weight, norm.bias, norm.eps)
    finest: Tensor = activation(_split(second, activation(finer)))
    return finest


def in_rows(places: Tensor, side: int) -> Tensor:
    """What `upscaled` has place by place, (B, side * side, 4, 4, D), as (B, D, 4 side, 4 side)."""
    split: Tensor = places.unflatten(1, (side, side)).unflatten(3, (2, 2)).unflatten(5, (2, 2))
    return split.permute(0, 7, 1, 3, 5, 2, 4, 6).reshape(len(places), -1, 4 * side, 4 * side)


def _split(layer: Any, picture: Tensor) -> Tensor:
    """A transposed convolution of kernel and stride 2: (..., C) becomes (..., 4, D)."""
    weight = layer.weight.permute(0, 2, 3, 1).flatten(1)  # (C, 4 D): row, column, channel
    flat = torch.addmm(layer.bias.repeat(4), picture.flatten(0, -2), weight)
    return flat.view(*picture.shape[:-1], 4, layer.out_channels)


def products(perceptrons: Any, tokens: Tensor) -> Tensor:
    """``output_hypernetworks_mlps`` of the masks' tokens, (B, M, C): one for each, (B, M, D)."""
    outputs = []
    for number, perceptron in enumerate(perceptrons):
        x = tokens[:, number]
        *inner, last = perceptron.layers
        for layer in inner:
            x = F.linear(x, layer.weight, layer.bias).relu_()
        outputs.append(F.linear(x, last.weight, last.bias))
    return torch.stack(outputs, dim=1)
