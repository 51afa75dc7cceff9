"""SAM's prompt encoder and mask decoder, one picture per prompt: what inference and training share.

The library decodes many prompts of one picture. Here each prompt has its own embedding.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from int_bench.backbones.sam.two_way import in_rows, products, two_way, upscaled


class Prompts(NamedTuple):
    """Embedded prompts.

    Attributes:
        sparse: (B, N, C) points, box corners and padding.
        dense: (B, C, g, g) mask prompts (here: the learned "no mask").
        points: how many of the N are points; they are the first.
        real: (B, N), False where a row has fewer points than others; None: all are there.
    """

    sparse: Tensor
    dense: Tensor
    points: int
    real: Tensor | None = None


class Decoded(NamedTuple):
    """What the decoder makes of each prompt: M of its outputs.

    Attributes:
        masks: (B, M, 4g, 4g) logits.
        ious: (B, M) predicted IoUs, not clipped.
        embeddings: (B, C, g, g), what was decoded.
        places: (B, g * g, 4, 4, C / 8) features, whose products with a kernel are the masks.
    """

    masks: Tensor
    ious: Tensor
    embeddings: Tensor
    places: Tensor

    @property
    def upscaled(self) -> Tensor:
        """The features, (B, C / 8, 4g, 4g)."""
        return in_rows(self.places, self.embeddings.shape[-1])


def embed_prompts(
    sam: Any,
    points: tuple[Tensor, Tensor] | None,
    boxes: Tensor | None,
    padded: bool = False,
) -> Prompts:
    """``PromptEncoder.forward`` without a mask, and without asking which labels there are.

    The library writes each kind of point where its label is, and to know where it waits for the
    device; here each point takes its kind's embedding.

    Args:
        sam: the model whose prompt encoder is run.
        points: coordinates (B, N, 2) in pixels of the model's square, and labels (B, N), 1
            positive, 0 negative, -1 no point.
        boxes: (B, 4), in the same frame.
        padded: whether some labels are -1.
    """
    encoder = sam.prompt_encoder
    kinds = torch.cat([kind.weight for kind in encoder.point_embeddings])
    given = [] if points is None else [points]
    if boxes is not None:
        corners = torch.arange(2, 4, device=boxes.device).expand(len(boxes), 2)
        given.append((boxes.reshape(-1, 2, 2), corners))
    places, labels = (torch.cat(parts, dim=1) for parts in zip(*given, strict=True))
    count = len(places)
    sparse = encoder.pe_layer.forward_with_coords(places + 0.5, encoder.input_image_size)
    sparse = sparse + F.embedding(labels.clamp(min=0), kinds)
    if boxes is None:  # the library's padding: a point that is none
        nothing = encoder.not_a_point_embed.weight.expand(count, 1, -1)
        sparse = torch.cat([sparse, nothing], dim=1)
    dense = encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
    dense = dense.expand(count, -1, *encoder.image_embedding_size)
    number = 0 if points is None else points[1].shape[1]
    if points is None or not padded:
        return Prompts(sparse, dense, number)
    behind = sparse.shape[1] - number
    return Prompts(sparse, dense, number, F.pad(points[1] >= 0, (0, behind), value=True))


def position_of(sam: Any, count: int) -> Tensor:
    """SAM's encoding of the places of the embedding, (count, C, g, g); it is computed once."""
    encoder = sam.prompt_encoder
    known: dict[torch.device, Tensor] = vars(encoder).setdefault("position_by_device", {})
    device = encoder.no_mask_embed.weight.device
    if device not in known:
        with torch.inference_mode(False), torch.no_grad():
            known[device] = encoder.get_dense_pe().clone()
    return known[device].expand(count, -1, -1, -1)


def decode_masks(
    sam: Any,
    embeddings: Tensor,
    prompts: Prompts,
    choices: slice = slice(None),
    best: int | None = None,
) -> Decoded:
    """``MaskDecoder.predict_masks`` with one embedding per prompt instead of one for all.

    Args:
        sam: the model whose decoder modules are run.
        embeddings: (B, C, g, g) of the picture of each prompt.
        prompts: B embedded prompts.
        choices: which outputs are wanted; the first is the single mask.
        best: of these, only so many of the highest predicted IoU, best first.
    """
    decoder, count = sam.mask_decoder, len(prompts.sparse)
    learned = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([learned.expand(count, -1, -1), prompts.sparse], dim=1)
    number = len(learned)
    seen = None if prompts.real is None else F.pad(prompts.real, (number, 0), value=True)
    placed = embeddings + prompts.dense, position_of(sam, 1)
    picture, position = (x.flatten(2).transpose(1, 2).contiguous() for x in placed)
    hidden, picture = two_way(decoder.transformer, picture, position, tokens, number, seen)
    ious = decoder.iou_prediction_head(hidden[:, 0])[:, choices]
    kernels = products(decoder.output_hypernetworks_mlps[choices], hidden[:, 1:][:, choices])
    if best is not None:
        order = ious.argsort(dim=1, descending=True, stable=True)[:, :best]
        ious = ious.gather(1, order)
        kernels = kernels.gather(1, order[..., None].expand(-1, -1, kernels.shape[2]))
    places = upscaled(decoder.output_upscaling, picture)
    masks = (places.flatten(1, 3) @ kernels.mT).unflatten(1, places.shape[1:4])
    return Decoded(in_rows(masks, embeddings.shape[-1]), ious, embeddings, places)
