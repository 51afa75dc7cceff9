"""The tiny SAM as its training and its checks run it: the model's square, the masks, the overlap.

``MaskDecoder.forward`` decodes many prompts of one image; here many images have one prompt each.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from int_bench.backbones.sam.loading import SamConfig
from int_bench.zoo.training import views, vit
from int_bench.zoo.training.pool import Rectangle
from int_bench.zoo.training.sam.prompts import CELL, Prompt

CONFIG = SamConfig(
    image_size=256, patch_size=16, embed_dim=vit.WIDTH, depth=vit.DEPTH, num_heads=vit.HEADS,
    mlp_ratio=4.0, out_chans=96, window_size=0, global_attn_indexes=(), use_rel_pos=False,
    mask_in_chans=8, num_multimask_outputs=3, decoder_depth=2, decoder_mlp_dim=256,
    decoder_num_heads=4, iou_head_depth=2, iou_head_hidden_dim=64,
    pixel_mean=(255.0 * vit.MEAN,) * 3, pixel_std=(255.0 * vit.STD,) * 3,
)  # fmt: skip


def square(batch: views.Batch, rectangle: Rectangle) -> tuple[Tensor, Tensor]:
    """One rectangle of every scene as SAM sees it: longest side 256, zeros right and below.

    Returns:
        Normalised pixels ``(B, 3, 256, 256)`` and masks ``(B, 5, 128, 128)`` in 0..1.
    """
    x0, y0, x1, y1 = rectangle
    side = CONFIG.image_size
    factor = side // max(x1 - x0, y1 - y0)
    height, width = (y1 - y0) * factor, (x1 - x0) * factor
    pixels = vit.prepare(batch.images[:, y0:y1, x0:x1])
    large = F.interpolate(pixels, (height, width), mode="bilinear")
    masks = F.interpolate(batch.masks[:, :, y0:y1, x0:x1], (height // CELL, width // CELL),
                          mode="bilinear", antialias=True)  # fmt: skip
    right, below = side - width, side - height
    return F.pad(large, (0, right, 0, below)), F.pad(masks, (0, right // CELL, 0, below // CELL))


def decode(sam: Any, embedding: Tensor, prompt: Prompt) -> tuple[Tensor, Tensor]:
    """Mask logits ``(B, 4, 64, 64)`` and predicted IoUs ``(B, 4)`` on the CPU.

    There is one prompt per embedding, where ``MaskDecoder.forward`` wants one embedding for all.
    """
    sparse, dense = sam.prompt_encoder(**prompt.arguments(embedding.device))
    decoder, count = sam.mask_decoder, len(embedding)
    first = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([first.expand(count, -1, -1), sparse], dim=1)
    position = sam.prompt_encoder.get_dense_pe().expand(count, -1, -1, -1)
    hidden, source = decoder.transformer(embedding + dense, position, tokens)
    grid = source.transpose(1, 2).reshape(embedding.shape)
    upscaled = decoder.output_upscaling(grid)
    heads = decoder.output_hypernetworks_mlps
    kernels = torch.stack([head(hidden[:, 1 + i]) for i, head in enumerate(heads)], dim=1)
    masks = torch.einsum("bmc,bchw->bmhw", kernels, upscaled)
    return masks.float().cpu(), decoder.iou_prediction_head(hidden[:, 0]).float().cpu()


def overlaps(logits: Tensor, masks: Tensor) -> Tensor:
    """IoU of thresholded masks, ``(B, M)``."""
    predicted, true = logits > 0, masks[:, None] > 0.5
    common, either = (predicted & true).sum((2, 3)), (predicted | true).sum((2, 3))
    return common / either.clamp(min=1)
