"""Spatial CLIP as tensor functions: architecture surgery and feature surgery on an open_clip ViT.

Source: Li et al., "CLIP Surgery for Better Explainability with Enhancement in Open-Vocabulary
Tasks" (arXiv 2304.05653), in the variant of Eq. (9)'s forerunners (k-k attention). A second forward
pass over the model's own modules: nothing is copied, hooked or patched. What nobody reads is not
computed: of the last block as trained, at most the class token.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from int_bench.backbones.common.kernels import perceptron
from int_bench.errors import UsageError

Attention: TypeAlias = Literal["kk", "vv"]
Norm: TypeAlias = Literal["channel", "token"]


def check_vision(visual: Any, blocks: int, size: int) -> None:
    """See that a vision tower can be operated on.

    Raises:
        UsageError: it is not a plain ViT with a class token, has fewer than ``blocks`` blocks, or
            ``size`` is not a multiple of its patch size.
    """
    if not _is_plain(visual) or visual.attn_pool is not None or visual.final_ln_after_pool:
        raise UsageError(
            "Spatial CLIP needs a plain ViT with a class token as aligner; "
            "set backbone.aligner.checkpoint to one, e.g. ViT-B-16-quickgelu."
        )
    depth = len(visual.transformer.resblocks)
    if not 1 <= blocks <= depth:
        raise UsageError(
            f"backbone.aligner.blocks={blocks} does not fit the model's {depth} blocks."
        )
    patch = visual.patch_size[0]
    if size % patch:
        raise UsageError(
            f"backbone.aligner.size={size} is not a multiple of the patch size {patch}."
        )


def reads_class_token(visual: Any) -> bool:
    """Whether a vision tower's answer is the class token of a plain ViT (see `class_features`)."""
    return _is_plain(visual) and visual.attn_pool is None and visual.pool_type == "tok"


def _is_plain(visual: Any) -> bool:
    """Whether a vision tower has blocks of a ViT, with torch's own attention."""
    layers: Any = getattr(getattr(visual, "transformer", None), "resblocks", ())
    return len(layers) > 0 and isinstance(layers[0].attn, torch.nn.MultiheadAttention)


def class_features(visual: Any, images: Tensor) -> Tensor:
    """What ``VisionTransformer.forward`` gives, of the last block the class token alone.

    Args:
        visual: an open_clip ``VisionTransformer`` that passed `reads_class_token`.
        images: (B, 3, S, S), normalised, of the model's own size.

    Returns:
        (B, D) projected features, not normalised.
    """
    tokens = _embed(visual, images)
    *earlier, last = visual.transformer.resblocks
    for block in earlier:
        tokens = _block(block, tokens)
    projected: Tensor = visual.ln_post(_class_token(last, tokens)[:, 0]) @ visual.proj
    return projected


def surgery_features(
    visual: Any, images: Tensor, blocks: int, attention: Attention, class_token: bool = True
) -> Tensor:
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
        class_token: whether it is wanted.

    Returns:
        (B, 1 + g_h * g_w, D) projected features, class token first, not normalised; one token
        less without it.
    """
    original = _embed(visual, images)
    layers = list(visual.transformer.resblocks)
    for block in layers[:-blocks]:
        original = _block(block, original)
    new = original[:, 1:]
    for block in layers[-blocks:-1]:
        query, key, value = _heads(block.attn, block.ln_1(original))
        new = new + _attended_itself(block, key, value, attention)
        original = _behind(block, original + _attended(block, query, key, value))
    last = layers[-1]
    key, value = _heads(last.attn, last.ln_1(original), 1)
    new = new + _attended_itself(last, key, value, attention)
    if class_token:
        new = torch.cat([_class_token(last, original), new], dim=1)
    projected: Tensor = visual.ln_post(new) @ visual.proj
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


def _block(block: Any, tokens: Tensor) -> Tensor:
    """A block as trained: (B, N, C) to the same."""
    return _behind(block, tokens + _attended(block, *_heads(block.attn, block.ln_1(tokens))))


def _class_token(block: Any, tokens: Tensor) -> Tensor:
    """(B, 1, C): the first token behind a block as trained."""
    normed = block.ln_1(tokens)
    (query,) = _heads(block.attn, normed[:, :1].contiguous(), 0, 1)
    key, value = _heads(block.attn, normed, 1)
    return _behind(block, tokens[:, :1] + _attended(block, query, key, value))


def _heads(layer: Any, tokens: Tensor, first: int = 0, end: int = 3) -> tuple[Tensor, ...]:
    """Queries, keys and values, or some of the three: each (B, heads, N, C / heads)."""
    rows = slice(first * layer.embed_dim, end * layer.embed_dim)
    bias = layer.in_proj_bias if layer.in_proj_bias is None else layer.in_proj_bias[rows]
    mixed = functional.linear(tokens, layer.in_proj_weight[rows], bias)
    heads: Tensor = mixed.unflatten(-1, (end - first, layer.num_heads, -1))
    return heads.permute(2, 0, 3, 1, 4).unbind()


def _attended(block: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """What attention adds to the tokens of the queries, (B, N, C)."""
    mixed = functional.scaled_dot_product_attention(query, key, value)
    added: Tensor = block.ls_1(block.attn.out_proj(mixed.transpose(1, 2).flatten(2)))
    return added


def _attended_itself(block: Any, key: Tensor, value: Tensor, attention: Attention) -> Tensor:
    """What attention of keys or values with themselves adds to all tokens but the first."""
    itself = key if attention == "kk" else value
    return _attended(block, itself[:, :, 1:], itself, value)


def _behind(block: Any, tokens: Tensor) -> Tensor:
    """The block's perceptron and what it is added to."""
    added: Tensor = block.ls_2(perceptron(block.ln_2(tokens), *block.mlp))
    return tokens + added


def normalise(features: Tensor, norm: Norm) -> Tensor:
    """Features (..., N, D) of unit length, each token's (``channel``) or channel's (``token``).

    ``token`` runs over the tokens including the class token: a slip of the original's first version
    that its derivatives kept.
    """
    return functional.normalize(features, dim=-1 if norm == "channel" else -2)


def heat_maps(features: Tensor, texts: Tensor, empty: Tensor) -> Tensor:
    """Feature surgery: one map per text, what every text has in common removed.

    Args:
        features: (..., n, D) normalised, without the class token.
        texts: (..., T, D) unit features of the texts.
        empty: (D,) unit feature of the empty text, the redundant part.

    Returns:
        (..., T, n), each map scaled to 0..1.
    """
    return min_max((texts - empty) @ features.mT)


def min_max(values: Tensor) -> Tensor:
    """Scaled to 0..1 along the last dimension; a constant becomes 0."""
    low, high = torch.aminmax(values, dim=-1, keepdim=True)
    return (values - low) / torch.where(high > low, high - low, 1.0)
