"""Spatial CLIP as tensor functions: architecture surgery and feature surgery on an open_clip ViT.

Source: Li et al., "CLIP Surgery for Better Explainability with Enhancement in Open-Vocabulary
Tasks" (arXiv 2304.05653), in the variant of Eq. (9)'s forerunners (k-k attention). A second forward
pass over the model's own modules: nothing is copied, hooked or patched.
"""

from __future__ import annotations

from types import MethodType
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from int_bench.errors import UsageError

Attention: TypeAlias = Literal["kk", "vv"]
Norm: TypeAlias = Literal["channel", "token"]


def check_vision(visual: Any, blocks: int, size: int) -> None:
    """See that a vision tower can be operated on.

    Raises:
        UsageError: it is not a plain ViT with a class token, has fewer than ``blocks`` blocks, or
            ``size`` is not a multiple of its patch size.
    """
    layers: Any = getattr(getattr(visual, "transformer", None), "resblocks", ())
    plain = len(layers) > 0 and isinstance(layers[0].attn, torch.nn.MultiheadAttention)
    if not plain or visual.attn_pool is not None or visual.final_ln_after_pool:
        raise UsageError(
            "Spatial CLIP needs a plain ViT with a class token as aligner; "
            "set backbone.aligner.checkpoint to one, e.g. ViT-B-16-quickgelu."
        )
    if not 1 <= blocks <= len(layers):
        raise UsageError(
            f"backbone.aligner.blocks={blocks} does not fit the model's {len(layers)} blocks."
        )
    patch = visual.patch_size[0]
    if size % patch:
        raise UsageError(
            f"backbone.aligner.size={size} is not a multiple of the patch size {patch}."
        )


def surgery_features(visual: Any, images: Tensor, blocks: int, attention: Attention) -> Tensor:
    """Token features after architecture surgery.

    In the last ``blocks`` blocks a new path branches off. It adds up attention of keys (or values)
    with themselves, ``softmax(k k^T / sqrt(d)) v``, computed from the original path's input, and
    has no feed-forward network; the original path runs on unchanged. The class token is taken from
    the original path, all others from the new one.

    Args:
        visual: an open_clip ``VisionTransformer`` that passed `check_vision`.
        images: (B, 3, H, W), normalised; sides are multiples of the patch size.
        blocks: how many of the last blocks have the new path.
        attention: ``kk`` (GenSAM, ProMaC) or ``vv`` (CLIP Surgery).

    Returns:
        (B, 1 + g_h * g_w, D) projected features, class token first, not normalised.
    """
    original = _embed(visual, images)
    layers = list(visual.transformer.resblocks)
    for block in layers[:-blocks]:
        original = block(original)
    new = original
    for block in layers[-blocks:]:
        attended, attended_itself = _attend(block, original, attention)
        new = new + block.ls_1(attended_itself)
        original = original + block.ls_1(attended)
        original = original + block.ls_2(block.mlp(block.ln_2(original)))
    tokens = torch.cat([original[:, :1], new[:, 1:]], dim=1)
    projected: Tensor = visual.ln_post(tokens) @ visual.proj
    return projected


def _embed(visual: Any, images: Tensor) -> Tensor:
    """(B, 1 + g_h * g_w, width): class token and patches with positions, normalised for block 0."""
    patches = visual.conv1(images)
    position = _positions(visual, patches.shape[-2], patches.shape[-1]).to(patches.dtype)
    token = visual.class_embedding.to(patches.dtype).expand(len(images), 1, -1)
    tokens = torch.cat([token, patches.flatten(2).transpose(1, 2)], dim=1)
    embedded: Tensor = visual.ln_pre(tokens + position)
    return embedded


def _positions(visual: Any, height: int, width: int) -> Tensor:
    """(1 + height * width, width of the model): positions, bilinear where the grid differs.

    Bilinear without antialiasing is the original's way; open_clip's own resizing is bicubic.
    """
    positions: Tensor = visual.positional_embedding
    if (height, width) == tuple(visual.grid_size):
        return positions
    token, grid = positions[:1], positions[1:]
    square = grid.T.reshape(1, -1, *visual.grid_size)
    resized = functional.interpolate(square.float(), (height, width), mode="bilinear")
    return torch.cat([token, resized[0].flatten(1).T.to(token.dtype)])


def _attend(block: Any, tokens: Tensor, attention: Attention) -> tuple[Tensor, Tensor]:
    """The block's attention as trained, and with its keys or values attending to themselves."""
    layer = block.attn
    mixed = functional.linear(block.ln_1(tokens), layer.in_proj_weight, layer.in_proj_bias)
    heads = mixed.reshape(*mixed.shape[:2], 3, layer.num_heads, -1).permute(2, 0, 3, 1, 4)
    query, key, value = heads.unbind()
    itself = key if attention == "kk" else value
    trained = functional.scaled_dot_product_attention(query, key, value)
    self_attended = functional.scaled_dot_product_attention(itself, itself, value)
    outputs = [layer.out_proj(x.transpose(1, 2).flatten(2)) for x in (trained, self_attended)]
    return outputs[0], outputs[1]


def fused_batches(visual: Any) -> None:
    """Let the attention of a vision tower be one kernel for batches on a CPU.

    There the library's fast path keeps a matrix of (tokens x tokens). What is computed alone stays
    what it is, to the bit; elsewhere torch chooses such a kernel by itself.
    """
    for block in getattr(getattr(visual, "transformer", None), "resblocks", ()):
        layer = getattr(block, "attn", None)
        if isinstance(layer, torch.nn.MultiheadAttention) and layer.in_proj_bias is not None:
            layer.forward = MethodType(_mixed, layer)  # type: ignore[method-assign]


def _mixed(self: Any, query: Tensor, *others: Any, **named: Any) -> tuple[Tensor, Tensor | None]:
    """``nn.MultiheadAttention.forward`` of tokens, (B, N, D), that attend to themselves."""
    masked = named.get("attn_mask") is not None or named.get("need_weights", True)
    if query.is_cuda or len(query) == 1 or masked or not self.batch_first:
        answer: tuple[Tensor, Tensor | None] = type(self).forward(self, query, *others, **named)
        return answer
    mixed = functional.linear(query, self.in_proj_weight, self.in_proj_bias)
    heads = mixed.unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
    attended = functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
    return self.out_proj(attended), None


def normalise(features: Tensor, norm: Norm) -> Tensor:
    """Features (..., N, D) of unit length, each token's (``channel``) or channel's (``token``).

    ``token`` runs over the tokens including the class token: a slip of the original's first version
    that its derivatives kept.
    """
    return functional.normalize(features, dim=-1 if norm == "channel" else -2)


def heat_maps(features: Tensor, texts: Tensor, empty: Tensor) -> Tensor:
    """Feature surgery: one map per text, what every text has in common removed.

    Args:
        features: (1 + n, D) normalised, class token first.
        texts: (T, D) unit features of the texts.
        empty: (D,) unit feature of the empty text, the redundant part.

    Returns:
        (T, n), each map scaled to 0..1.
    """
    return min_max(features[1:] @ (texts - empty).T, dim=0).T


def min_max(values: Tensor, dim: int) -> Tensor:
    """Scaled to 0..1 along a dimension; a constant becomes 0."""
    low, high = values.amin(dim, keepdim=True), values.amax(dim, keepdim=True)
    return torch.where(high > low, (values - low) / (high - low), torch.zeros_like(values))
