"""A tiny random SAM 3 in transformers' own on-disk format."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import Sam3Config, Sam3ImageProcessor, Sam3Model, Sam3Processor

from tests.backbones.stable_diffusion.tiny_stable_diffusion import build_tokenizer

SIDE, PATCH, QUERIES = 56, 14, 6
_LAYER = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32}


def build(folder: Path) -> Path:
    """Save a random checkpoint that is not quite sure that there is nothing."""
    tokenizer = build_tokenizer()
    image = Sam3ImageProcessor(size={"height": SIDE, "width": SIDE})
    Sam3Processor(image_processor=image, tokenizer=tokenizer).save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Sam3Model(_config(tokenizer))
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.data.mul_(3)
    model.save_pretrained(folder)
    return folder


def _config(tokenizer) -> Sam3Config:
    vit = {
        "model_type": "sam3_vit_model", "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": SIDE, "patch_size": PATCH,
        "pretrain_image_size": SIDE, "window_size": 2, "global_attn_indexes": [1],
    }  # fmt: skip
    text = {
        "model_type": "clip_text_model", "vocab_size": len(tokenizer), "hidden_size": 32,
        "intermediate_size": 64, "projection_dim": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 32,
        "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    grid = SIDE // PATCH
    return Sam3Config(
        vision_config={
            "model_type": "sam3_vision_model",
            "backbone_config": vit,
            "fpn_hidden_size": 32,
            "backbone_feature_sizes": [[4 * grid] * 2, [2 * grid] * 2, [grid] * 2],
        },
        text_config=text,
        geometry_encoder_config={**_LAYER, "num_layers": 1},
        detr_encoder_config={**_LAYER, "num_layers": 1},
        detr_decoder_config={**_LAYER, "num_layers": 1, "num_queries": QUERIES},
        mask_decoder_config={"hidden_size": 32, "num_attention_heads": 2},
    )
