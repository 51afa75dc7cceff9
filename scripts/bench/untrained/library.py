"""Inpainter, detector, segmenter and aligner with random weights, full-size or reduced, no files.

The full sizes are those of Stable Diffusion 2 inpainting, GroundingDINO Swin-T, SAM ViT-H and CLIP
ViT-B/16; the classes are the libraries' own. Each is put where its backbone looks for loaded
weights, so backbones with other options (batch, caches) share it.
"""

from __future__ import annotations

from typing import Any

import open_clip
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionInpaintPipeline,
    UNet2DConditionModel,
)
from transformers import (
    BertConfig,
    BertTokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessorPil,
    GroundingDinoProcessor,
    SwinConfig,
)

from int_bench.backbones.clip.loading import Clip
from int_bench.backbones.clip.surgery import ClipSurgery
from int_bench.backbones.common.dtypes import Dtype
from int_bench.backbones.common.loading import cached_load
from int_bench.backbones.grounding_dino.finishing import finished
from int_bench.backbones.grounding_dino.model import GroundingDino
from int_bench.backbones.sam.attention import fuse_attention, lower
from int_bench.backbones.sam.loading import SamConfig, build_sam
from int_bench.backbones.sam.model import Sam
from int_bench.backbones.sam.windows import moved_less
from int_bench.backbones.stable_diffusion.model import StableDiffusion
from int_bench.backbones.stable_diffusion.quick import quick
from scripts.bench.untrained.weights import randomise

NAME = "random weights"


def stable_diffusion(full: bool, device: str, dtype: Dtype, **options: Any) -> StableDiffusion:
    """SD-2-inpainting: 512 pixels and 50 steps; reduced: 32 pixels and 3 steps."""
    place, precision = torch.device(device), getattr(torch, dtype)
    size, steps = (512, 50) if full else (32, 3)
    backbone = StableDiffusion(NAME, device=device, dtype=dtype, size=size, steps=steps, **options)
    cached_load(backbone.weights_key, lambda: _pipeline(full, place, precision, backbone))
    return backbone


def _pipeline(full: bool, device: Any, dtype: torch.dtype, options: StableDiffusion) -> Any:
    letters = [chr(code) for code in range(33, 127)]
    ends = ["<|startoftext|>", "<|endoftext|>"]
    known = [*letters, *(f"{letter}</w>" for letter in letters), *ends]
    vocabulary = {token: index for index, token in enumerate(known)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77 if full else 24)
    width = 1024 if full else 32
    text = CLIPTextConfig(
        vocab_size=49408 if full else len(known), hidden_size=width, intermediate_size=4 * width,
        num_hidden_layers=23 if full else 1, num_attention_heads=16 if full else 2,
        max_position_embeddings=tokenizer.model_max_length, hidden_act="gelu",
        bos_token_id=len(known) - 2, eos_token_id=len(known) - 1, pad_token_id=len(known) - 1,
    )  # fmt: skip
    channels = (128, 256, 512, 512) if full else (8, 8, 16)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels), block_out_channels=channels,
        layers_per_block=2 if full else 1, latent_channels=4, norm_num_groups=32 if full else 4,
        sample_size=512 if full else 32,
    )  # fmt: skip
    unet = _unet(full, width)
    pipeline = StableDiffusionInpaintPipeline(
        vae=randomise(vae), unet=randomise(unet), text_encoder=randomise(CLIPTextModel(text)),
        tokenizer=tokenizer, scheduler=DDIMScheduler(clip_sample=False, steps_offset=1),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).to(device, dtype)  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    return quick(pipeline, options.channels_last, options.compile)


def _unet(full: bool, width: int) -> Any:
    blocks = 3 if full else 1
    return UNet2DConditionModel(
        sample_size=64 if full else 8, in_channels=9, out_channels=4,
        layers_per_block=2 if full else 1, use_linear_projection=True,
        down_block_types=("CrossAttnDownBlock2D",) * blocks + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * blocks,
        block_out_channels=(320, 640, 1280, 1280) if full else (16, 32),
        attention_head_dim=(5, 10, 20, 20) if full else 2, norm_num_groups=32 if full else 8,
        cross_attention_dim=width,
    )  # fmt: skip


def grounding_dino(full: bool, device: str, dtype: Dtype, **options: Any) -> GroundingDino:
    """Swin-T at 800 pixels and 900 queries; reduced: 80 pixels and 30 queries."""
    place, precision = torch.device(device), getattr(torch, dtype)
    backbone = GroundingDino(NAME, device=device, dtype=dtype, **options)
    cached_load(backbone.weights_key, lambda: _detector(full, place, precision))
    return backbone


def _detector(full: bool, device: Any, dtype: torch.dtype) -> tuple[Any, Any]:
    special = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012}
    filler = {f"[unused{i}]": i for i in range(1030) if i not in special.values()}
    vocabulary = dict(sorted((special | filler).items(), key=lambda item: item[1]))
    edges = {"shortest_edge": 800, "longest_edge": 1333} if full else {
        "shortest_edge": 80, "longest_edge": 96}  # fmt: skip
    processor = GroundingDinoProcessor(
        GroundingDinoImageProcessorPil(size=edges), BertTokenizer(vocab=vocabulary)
    )
    swin = SwinConfig(
        embed_dim=96 if full else 16, depths=[2, 2, 6, 2] if full else [1] * 4,
        num_heads=[3, 6, 12, 24] if full else [1, 2, 2, 2], window_size=7 if full else 4,
        out_indices=[2, 3, 4],  # type: ignore[call-arg]  # a keyword of the base class
    )  # fmt: skip
    text: dict[str, Any] = {} if full else {
        "vocab_size": 1030, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 64}  # fmt: skip
    sizes: dict[str, Any] = {} if full else {
        "d_model": 32, "encoder_layers": 1, "decoder_layers": 2, "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64, "num_queries": 30, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4}  # fmt: skip
    config = GroundingDinoConfig(backbone_config=swin, text_config=BertConfig(**text), **sizes)
    model = finished(randomise(GroundingDinoForObjectDetection(config)))
    return processor, model.to(device, dtype)


def sam(full: bool, device: str, dtype: Dtype, **options: Any) -> Sam:
    """ViT-H at 1024 pixels; reduced: two layers at 64 pixels."""
    backbone = Sam(NAME, device=device, dtype=dtype, **options)
    place, precision = torch.device(device), getattr(torch, dtype)
    cached_load(backbone.weights_key, lambda: _segmenter(full, place, precision))
    return backbone


def _segmenter(full: bool, device: Any, dtype: torch.dtype) -> Any:
    huge = SamConfig(1024, 1280, 32, 16, global_attn_indexes=(7, 15, 23, 31))
    tiny = SamConfig(
        64, 32, 2, 2, out_chans=32, window_size=3, global_attn_indexes=(1,), decoder_mlp_dim=64,
        decoder_num_heads=2, iou_head_hidden_dim=32,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # the prompt encoder draws its frequencies when it is made
        model = moved_less(fuse_attention(randomise(build_sam(huge if full else tiny))))
        model = model.to(device)
    return lower(model, dtype)


def clip(full: bool, device: str, dtype: Dtype, **options: Any) -> ClipSurgery:
    """ViT-B/16 at 224 pixels; reduced: three layers at 32 pixels."""
    place, precision = torch.device(device), getattr(torch, dtype)
    backbone = ClipSurgery(NAME, device=device, dtype=dtype, blocks=6 if full else 2, **options)
    cached_load(backbone.weights_key, lambda: _aligner(full, place, precision))
    return backbone


def _aligner(full: bool, device: Any, dtype: torch.dtype) -> Clip:
    vision = {"image_size": 224, "layers": 12, "width": 768, "patch_size": 16} if full else {
        "image_size": 32, "layers": 3, "width": 64, "head_width": 32, "patch_size": 8}  # fmt: skip
    size = {"width": 512, "heads": 8, "layers": 12} if full else {
        "width": 32, "heads": 2, "layers": 1}  # fmt: skip
    text = {"context_length": 77, "vocab_size": 49408, **size}
    model = open_clip.CLIP(512 if full else 24, vision, text, quick_gelu=True)
    mean, deviation = (0.481, 0.458, 0.408), (0.269, 0.261, 0.276)
    model.visual.preprocess_cfg = {"mean": mean, "std": deviation, "interpolation": "bicubic"}
    tokenizer = open_clip.SimpleTokenizer(context_length=77)
    return Clip(randomise(model).to(device, dtype), tokenizer, device, dtype)
