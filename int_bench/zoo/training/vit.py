"""The small ViT that the zoo's CLIP and SAM share: how it starts, and its passes.

A plain ViT learns textures slowly. Two things help here: the patch embedding starts as the whitened
principal components of real patches, and the first blocks start as a convolution (each head attends
to one neighbour, by rotating sinusoidal positions; Cordonnier et al., "On the Relationship between
Self-Attention and Convolutional Layers", ICLR 2020). All passes run over the modules of
``open_clip``'s ``VisionTransformer``, with explicit attention: on CPUs it trains faster in bfloat16
than the fused one.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

WIDTH, DEPTH, HEADS, PATCH, SIDE = 128, 4, 4, 8, 16
MEAN, STD = 0.5, 0.25
SURGERY_DEPTH = 2
"""Blocks, from the last, that get a second path in CLIP Surgery."""

_POSITION = 32  # channels that carry the position at first
_FREQUENCIES = 2.0 * math.pi * torch.arange(1, 9) / 20.0  # a period of 20 cells: no wrap in 16
_NEIGHBOURS = (
    ((0, 1), (0, -1), (1, 0), (-1, 0)),
    ((1, 1), (-1, -1), (1, -1), (-1, 1)),
    ((0, 2), (0, -2), (2, 0), (-2, 0)),
)
_SHARPNESS = 3.0  # logit of the neighbour above the next cell


@dataclass(frozen=True)
class Features:
    """What one pass yields.

    Attributes:
        whole: ``(B, D)`` class token, projected, not normalised.
        cells: ``(B, N, D)`` patch tokens of the surgery path, projected, not normalised.
    """

    whole: Tensor
    cells: Tensor


def prepare(images: Tensor) -> Tensor:
    """``(B, H, W, 3)`` uint8 or 0..255 float to normalised ``(B, 3, H, W)`` float32."""
    return (images.permute(0, 3, 1, 2).float() / 255.0 - MEAN) / STD


def features(visual: Any, pixels: Tensor, corner: tuple[int, int] | None = None) -> Features:
    """CLIP Surgery's pass (k-k attention, no feed-forward on the new path).

    Args:
        visual: ``open_clip``'s ``VisionTransformer``.
        pixels: ``(B, 3, H, W)`` normalised; a window of the model's square, or all of it.
        corner: row and column, in cells, at which a window lies in the grid; None for all of it.

    Returns:
        Features on the CPU, wherever the model is: batches are drawn and losses taken there.
    """
    plain = embed(visual, pixels.to(visual.conv1.weight.device), corner)
    blocks = visual.transformer.resblocks
    for block in blocks[:-SURGERY_DEPTH]:
        plain = _block(block, plain)
    surgery = plain
    for block in blocks[-SURGERY_DEPTH:]:
        queries, keys, values = _split(block.attn, block.ln_1(plain))
        surgery = surgery + _attend(block.attn, keys, keys, values)
        plain = plain + _attend(block.attn, queries, keys, values)
        plain = plain + block.mlp(block.ln_2(plain))
    tokens = torch.cat([plain[:, :1], surgery[:, 1:]], dim=1)
    projected = visual.ln_post(tokens) @ visual.proj
    return Features(whole=projected[:, 0].float().cpu(), cells=projected[:, 1:].float().cpu())


def embed(visual: Any, pixels: Tensor, corner: tuple[int, int] | None = None) -> Tensor:
    """``(B, 1 + N, width)`` tokens before the first block."""
    grid = visual.conv1(pixels).permute(0, 2, 3, 1)
    rows, columns = grid.shape[1:3]
    top, left = corner or (0, 0)
    position = visual.positional_embedding[1:].view(SIDE, SIDE, -1)
    grid = grid + position[top : top + rows, left : left + columns]
    first = visual.class_embedding + visual.positional_embedding[0]
    tokens = torch.cat([first.to(grid).expand(len(grid), 1, -1), grid.flatten(1, 2)], dim=1)
    return visual.ln_pre(tokens)  # type: ignore[no-any-return]


def _block(block: Any, tokens: Tensor) -> Tensor:
    tokens = tokens + _attend(block.attn, *_split(block.attn, block.ln_1(tokens)))
    return tokens + block.mlp(block.ln_2(tokens))  # type: ignore[no-any-return]


def _split(attention: Any, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, each ``(B, heads, N, width / heads)``."""
    joint = F.linear(tokens, attention.in_proj_weight, attention.in_proj_bias)
    parts = joint.unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    return parts[0], parts[1], parts[2]


def _attend(attention: Any, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    scale = queries.shape[-1] ** -0.5
    weights = ((queries * scale) @ keys.transpose(-1, -2)).softmax(-1)
    mixed = (weights @ values).transpose(1, 2).flatten(2)
    return attention.out_proj(mixed)  # type: ignore[no-any-return]


@torch.no_grad()
def initialise(visual: Any, pixels: Tensor) -> None:
    """Set the patch embedding from patches of ``pixels`` ``(B, 3, H, W)`` and make blocks local."""
    content = WIDTH - _POSITION
    patches = F.unfold(pixels, PATCH, stride=PATCH).permute(0, 2, 1).flatten(0, 1)
    centred = patches - patches.mean(0)
    spread, basis = torch.linalg.eigh(centred.T @ centred / len(centred))
    kernels = (basis[:, -content:] / (spread[-content:] + 0.02).sqrt()).T
    visual.conv1.weight.zero_()
    visual.conv1.weight[:content] = kernels.view(content, 3, PATCH, PATCH)
    visual.positional_embedding.zero_()
    position = visual.positional_embedding[1:].view(SIDE, SIDE, WIDTH)
    waves = torch.arange(SIDE)[:, None] * _FREQUENCIES
    line = 1.4 * torch.stack([waves.cos(), waves.sin()], dim=-1).flatten(1)
    position[..., content : content + 16] = line[:, None]
    position[..., content + 16 :] = line[None]
    position[..., :content] = -(kernels @ patches.mean(0))
    for block in visual.transformer.resblocks:
        layers = ((block.attn.out_proj, 0.5), (block.mlp.c_fc, 1.0), (block.mlp.c_proj, 0.5))
        for layer, gain in layers:
            torch.nn.init.normal_(layer.weight, std=gain * layer.in_features**-0.5)
            torch.nn.init.zeros_(layer.bias)
        torch.nn.init.normal_(block.attn.in_proj_weight, std=WIDTH**-0.5)
    for block, neighbours in zip(visual.transformer.resblocks, _NEIGHBOURS, strict=False):
        _make_local(block.attn, neighbours)


def _make_local(attention: Any, neighbours: tuple[tuple[int, int], ...]) -> None:
    """Queries ask for the position beside their own; the rest of queries and keys is shrunk."""
    size = WIDTH // HEADS
    gain = math.sqrt(_SHARPNESS / 7.0 * math.sqrt(size))
    content = WIDTH - _POSITION
    weight = attention.in_proj_weight
    weight[: 2 * WIDTH] *= 0.1
    for head, (down, right) in enumerate(neighbours):
        rows = slice(head * size, head * size + _POSITION)
        turn = torch.block_diag(*(_rotation(f * step) for step in (down, right)
                                  for f in _FREQUENCIES.tolist()))  # fmt: skip
        weight[:WIDTH][rows, content:] += gain * turn
        weight[WIDTH : 2 * WIDTH][rows, content:] += gain * torch.eye(_POSITION)


def _rotation(angle: float) -> Tensor:
    return torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


@torch.no_grad()
def copy_to_sam(visual: Any, encoder: Any) -> None:
    """Start SAM's ``ImageEncoderViT`` (256 pixels, patch 16) as this tower (128 pixels, patch 8).

    SAM sees the picture enlarged twice, so each weight of a patch kernel is shared by 2 x 2 pixels.
    """
    kernel = visual.conv1.weight.repeat_interleave(2, 2).repeat_interleave(2, 3) / 4.0
    encoder.patch_embed.proj.weight.copy_(kernel)
    encoder.patch_embed.proj.bias.zero_()
    encoder.pos_embed.copy_(visual.positional_embedding[1:].view(1, SIDE, SIDE, WIDTH))
    for source, target in zip(visual.transformer.resblocks, encoder.blocks, strict=True):
        target.norm1.load_state_dict(source.ln_1.state_dict())
        target.norm2.load_state_dict(source.ln_2.state_dict())
        target.attn.qkv.weight.copy_(source.attn.in_proj_weight)
        target.attn.qkv.bias.copy_(source.attn.in_proj_bias)
        target.attn.proj.load_state_dict(source.attn.out_proj.state_dict())
        target.mlp.lin1.load_state_dict(source.mlp.c_fc.state_dict())
        target.mlp.lin2.load_state_dict(source.mlp.c_proj.state_dict())
