"""GroundingDINO's pass over pictures of one size and padding, on the library's weights.

The library's own forward pass makes masks, proposals and tables of positions anew for each picture,
reckons boxes of every position to keep a few, answers for every layer of the decoder, and keeps all
of it. Here pictures that go through it together are padded alike, if at all, so that tables and
masks depend on sizes alone; what a caption says comes in ready (``captions``); and only the last
layer answers. Where a picture fills its frame, as with all checkpoints that set no ``pad_size``,
nothing is masked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from operator import truediv
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad, scaled_dot_product_attention

from int_bench.backbones.grounding_dino import swin
from int_bench.backbones.grounding_dino.captions import Words
from int_bench.backbones.grounding_dino.pixels import Padding
from int_bench.backbones.grounding_dino.sampling import Levels, Sizes, attended
from int_bench.backbones.grounding_dino.swin import Known


@dataclass(frozen=True)
class Tables:
    """What depends on the sizes of the levels and on padding alone, S positions in all.

    Attributes:
        positions: (1, S, d), added to what is asked about a position.
        centres: (1, S, 2, 1, L * P) float32, the position's place in pixels of each level.
        proposals: (S, 4) float32, logits of a box around each position; infinite at the border
            of the picture and in its padding.
        inside: (1, S, 1), 0 there, elsewhere 1.
        padded: (S, 1, 1) bool, True in the padding; None where there is none.
        visible: (1, 1, 1, S), its opposite.
        waves: (2, d / 2) float32, factors and shifts of sines; a cosine is a shifted one. With
            padding (2, 4, d / 2), of y, x, width and height.
        encoder, decoder: how their layers sample the levels.
    """

    positions: Tensor
    centres: Tensor
    proposals: Tensor
    inside: Tensor
    padded: Tensor | None
    visible: Tensor | None
    waves: Tensor
    encoder: Levels
    decoder: Levels

    @property
    def nbytes(self) -> int:
        """Of all tensors but the smallest."""
        return sum(x.nbytes for x in (self.positions, self.centres, self.proposals, self.inside))


@dataclass(frozen=True)
class Encoded:
    """What the encoder makes of a picture and a caption.

    Attributes:
        vision: (B, S, d).
        text: (B, N, d).
        words: what it was made of, and
        table: with what.
    """

    vision: Tensor
    text: Tensor
    words: Words
    table: Tables


def tables(
    model: Any, sizes: Sizes, device: torch.device, padding: Padding | None = None
) -> Tables:
    """For levels of these sizes.

    Args:
        model: a ``GroundingDinoForObjectDetection``.
        sizes: height and width of each level.
        device: where they are used.
        padding: of the picture, if any.
    """
    core, config = model.model, model.config
    filled = _filled(sizes, padding)
    positions, boxes = [], []
    for level, (size, (high, wide)) in enumerate(zip(sizes, filled, strict=True)):
        seen = torch.ones((1, high, wide), dtype=torch.bool, device=device)
        if padding:
            seen = pad(seen, (0, size[1] - wide, 0, size[0] - high))
        sines = core.backbone.position_embedding(seen[:, None], seen)
        positions.append(sines.flatten(2).transpose(1, 2) + core.level_embed[level])
        places = (torch.arange(side, device=device) + 0.5 for side in size)
        y, x = torch.meshgrid(*map(truediv, places, (high, wide)), indexing="ij")
        side = torch.full_like(x, 0.05 * 2.0**level)
        boxes.append(torch.stack([x, y, side, side], dim=-1).flatten(0, 1))
    box = torch.cat(boxes)
    inside = ((box > 0.01) & (box < 0.99)).all(-1, keepdim=True)
    padded = (box[:, :2] > 1).any(-1)[:, None, None] if padding else None
    encoder, decoder = (
        Levels.of(sizes, heads, points, device, filled if padding else None)
        for heads, points in (
            (config.encoder_attention_heads, config.encoder_n_points),
            (config.decoder_attention_heads, config.decoder_n_points),
        )
    )
    return Tables(
        torch.cat(positions, 1).to(core.level_embed.dtype),
        box[None, :, :2, None, None] * encoder.spans - 0.5,
        box.logit().masked_fill(~inside, torch.inf),
        inside[None].to(core.level_embed.dtype),
        padded,
        None if padded is None else ~padded.view(1, 1, 1, -1),
        _waves(config.d_model // 2, device, padding and tuple(map(truediv, filled[0], sizes[0]))),
        encoder,
        decoder,
    )


def _waves(width: int, device: torch.device, shares: Sequence[float] | None) -> Tensor:
    """Factors and shifts by which `captions.sines_of` is one sine, as of `Tables`.

    Where the picture fills but these shares of the first level's height and width, boxes are
    multiplied by them before, as in the library.
    """
    channel = torch.arange(width, device=device)
    factors = 2 * math.pi / 10000 ** (2 * (channel // 2) / width)
    shifts = channel % 2 * (math.pi / 2)
    if shares is None:
        return torch.stack([factors, shifts])
    y, x = (factors * share for share in shares)
    return torch.stack([torch.stack([y, x, x, y]), shifts.expand(4, -1)])


def _filled(sizes: Sizes, padding: Padding | None) -> Sizes:
    """Height and width of what the picture fills of each level, by nearest pixels."""
    if padding is None:
        return sizes

    def nearest(axis: int, size: int) -> int:
        seen = (torch.arange(padding.frame[axis]) < padding.picture[axis]).float()
        return int(interpolate(seen[None, None], size).sum())

    return tuple((nearest(0, height), nearest(1, width)) for height, width in sizes)


def detected(
    model: Any, pixels: Tensor, words: Words, known: Known[Any], padding: Padding | None = None
) -> Tensor:
    """Boxes relative to the frame, then a logit for each of N tokens, (B, Q, 4 + N) float32.

    Args:
        model: a ``GroundingDinoForObjectDetection``, after ``finishing.finished``.
        pixels: (B, 3, H, W).
        words: what the captions say.
        known: what depends on sizes alone, unless it has to be computed.
        padding: of all pictures, if any.
    """
    core = model.model
    vision, sizes = _seen(core, pixels, known)
    make = partial(tables, model, sizes, pixels.device, padding)
    table: Tables = known((sizes, padding), make)
    text = words.features
    for layer in core.encoder.layers:
        vision, text = _fused(layer.fusion_layer, vision, text, words, table.visible)
        text = _enhanced(layer.text_enhancer_layer, text, words)
        vision = _moved(layer.deformable_layer, vision, table)
    encoded = Encoded(vision, text, words, table)
    reference = _proposed(model, encoded)
    hidden = core.query_position_embeddings.weight.expand(len(pixels), -1, -1)
    for number, layer in enumerate(core.decoder.layers):
        last = number + 1 == len(core.decoder.layers)
        place = core.decoder.reference_points_head(_placed(reference, table.waves).to(text.dtype))
        hidden = _decoded(layer, hidden, place, reference, encoded)
        answer = core.decoder.layer_norm(hidden)
        head = model.bbox_embed[number](answer) if last else core.decoder.bbox_embed[number](hidden)
        reference = (head.float() + reference.logit(eps=1e-5)).sigmoid()
    return torch.cat([reference, _fit(answer, encoded).float()], dim=-1)


def _seen(core: Any, pixels: Tensor, known: Known[Any]) -> tuple[Tensor, Sizes]:
    """Features of all positions of all levels, (B, S, d), and the levels' sizes."""
    maps = swin.features(core.backbone.conv_encoder.model, pixels, known)
    levels: list[Tensor] = []
    for number, project in enumerate(core.input_proj_vision):
        # Coarser levels than the backbone's come each from the one before.
        beyond = number > len(maps)
        narrow, norm = project
        narrowed = narrow(levels[-1] if beyond else maps[min(number, len(maps) - 1)])
        levels.append(norm(narrowed.contiguous()))  # several times faster than channels last
    sizes = tuple((level.shape[2], level.shape[3]) for level in levels)
    return torch.cat([level.flatten(2).transpose(1, 2) for level in levels], 1), sizes


def _fused(
    layer: Any, vision: Tensor, text: Tensor, words: Words, visible: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Both with what they say to each other, in the shapes in which they came."""
    vision, text = layer.layer_norm_vision(vision), layer.layer_norm_text(text)
    both, heads = layer.attn, layer.attn.num_heads
    query, seen = (_heads(x(vision), heads) for x in (both.vision_proj, both.values_vision_proj))
    key, said = (_heads(x(text), heads) for x in (both.text_proj, both.values_text_proj))
    told = scaled_dot_product_attention(query, key, said, words.unsaid)
    shown = scaled_dot_product_attention(key, query, seen, visible)
    vision = torch.addcmul(vision, layer.vision_param, both.out_vision_proj(_side_by_side(told)))
    text = torch.addcmul(text, layer.text_param, both.out_text_proj(_side_by_side(shown)))
    return vision, text


def _enhanced(layer: Any, text: Tensor, words: Words) -> Tensor:
    """The text after its own layer, (B, N, d)."""
    placed = text + words.sines
    heard = _attention(layer.self_attn, placed, placed, text, words.apart)
    text = layer.layer_norm_before(heard.add_(text))
    return layer.layer_norm_after(layer.fc2(layer.activation(layer.fc1(text))).add_(text))  # type: ignore[no-any-return]


def _moved(layer: Any, vision: Tensor, table: Tables) -> Tensor:
    """The features after each position has looked around, (B, S, d)."""
    attention = layer.self_attn
    asking = vision + table.positions
    places = _offsets(attention, asking).add_(table.centres)
    seen = _sampled(attention, asking, vision, places, table.encoder, table.padded)
    return _fed(layer, layer.self_attn_layer_norm(seen.add_(vision)))


def _decoded(
    layer: Any, hidden: Tensor, place: Tensor, reference: Tensor, encoded: Encoded
) -> Tensor:
    """The queries, (B, Q, d), after one layer; ``place`` says where their boxes are."""
    text, levels = encoded.text, encoded.table.decoder
    asking = hidden + place
    heard = _attention(layer.self_attn, asking, asking, hidden)
    hidden = layer.self_attn_layer_norm(heard.add_(hidden))
    told = _attention(layer.encoder_attn_text, hidden + place, text, text, encoded.words.unsaid)
    hidden = layer.encoder_attn_text_layer_norm(told.add_(hidden))
    attention, asking = layer.encoder_attn, hidden + place
    centre, side = reference[..., None, None].split(2, dim=2)
    places = torch.addcmul(
        centre * levels.spans - 0.5,
        _offsets(attention, asking),
        side * levels.spans * (0.5 / attention.n_points),
    )
    padded = encoded.table.padded
    seen = _sampled(attention, asking, encoded.vision, places, levels, padded)
    return _fed(layer, layer.encoder_attn_layer_norm(seen.add_(hidden)))


def _proposed(model: Any, encoded: Encoded) -> Tensor:
    """Boxes to begin with, where the words fit best, (B, Q, 4) float32, relative."""
    core, table = model.model, encoded.table
    objects = core.enc_output_norm(core.enc_output(encoded.vision * table.inside))
    scores = _fit(objects, encoded).amax(-1)
    best = scores.topk(core.config.num_queries, dim=1).indices
    chosen = objects.gather(1, best[..., None].expand(-1, -1, objects.shape[-1]))
    boxes: Tensor = core.encoder_output_bbox_embed(chosen).float() + table.proposals[best]
    return boxes.sigmoid()


def _fit(objects: Tensor, encoded: Encoded) -> Tensor:
    """How well words fit, (B, M, N), of objects, (B, M, d)."""
    fit, unsaid = objects @ encoded.text.transpose(1, 2), encoded.words.unsaid
    return fit if unsaid is None else fit + unsaid[:, 0]


def _fed(layer: Any, hidden: Tensor) -> Tensor:
    """A layer's last part."""
    inner = layer.activation_fn(layer.fc1(hidden))
    return layer.final_layer_norm(layer.fc2(inner).add_(hidden))  # type: ignore[no-any-return]


def _offsets(attention: Any, asking: Tensor) -> Tensor:
    """Of the samples, in pixels, (B, Q, 2, heads, L * P) float32."""
    offsets: Tensor = attention.sampling_offsets(asking).float()
    return offsets.view(*asking.shape[:2], 2, attention.n_heads, -1)


def _sampled(
    attention: Any,
    asking: Tensor,
    vision: Tensor,
    places: Tensor,
    levels: Levels,
    padded: Tensor | None,
) -> Tensor:
    """What deformable attention answers, (B, Q, d); padding counts as 0."""
    weights = attention.attention_weights(asking).unflatten(-1, (attention.n_heads, -1))
    value = attention.value_proj(vision).unflatten(-1, (attention.n_heads, -1))
    if padded is not None:
        value.masked_fill_(padded, 0)
    answer: Tensor = attention.output_proj(attended(value, levels, places, _shares(weights)))
    return answer


def _shares(weights: Tensor) -> Tensor:
    """The softmax of the last dimension, which on a CPU is slow where that is short."""
    if weights.is_cuda:
        return weights.softmax(-1)
    shares = (weights - weights.amax(-1, keepdim=True)).exp_()
    return shares.div_(shares.sum(-1, keepdim=True))


def _attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Of the library's ``GroundingDinoMultiheadAttention``, (B, Q, d)."""
    projected = ((module.query, query), (module.key, key), (module.value, value))
    asked, keys, values = (_heads(part(x), module.num_attention_heads) for part, x in projected)
    heard = scaled_dot_product_attention(asked, keys, values, mask)
    answer: Tensor = module.out_proj(_side_by_side(heard))
    return answer


def _heads(values: Tensor, heads: int) -> Tensor:
    """From (B, N, heads * D) to (B, heads, N, D)."""
    return values.view(*values.shape[:2], heads, -1).transpose(1, 2)


def _side_by_side(values: Tensor) -> Tensor:
    """From (B, heads, N, D) to (B, N, heads * D)."""
    return values.transpose(1, 2).flatten(2)


def _placed(boxes: Tensor, waves: Tensor) -> Tensor:
    """Sines of y, x, width and height, (B, Q, 4 * w), of relative boxes, (B, Q, 4)."""
    turned = torch.cat([boxes[..., 1:2], boxes[..., :1], boxes[..., 2:]], dim=-1)
    return torch.addcmul(waves[1], turned[..., None], waves[0]).sin().flatten(2)
