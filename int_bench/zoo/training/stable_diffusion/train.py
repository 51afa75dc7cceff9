"""Train the tiny inpainter of the zoo: ``python -m int_bench.zoo.training stable_diffusion``.

``diffusers.StableDiffusionInpaintPipeline`` with a 4-channel autoencoder (factor 4), a one-layer
CLIP text encoder and a UNet of 9 input channels on 32 x 32 latents. It learns one thing: to fill a
hole with the *environment*, so that a hidden animal is gone. The target is therefore always the
scene without its animal, also where the hole is shown in the scene with it.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionInpaintPipeline,
    UNet2DConditionModel,
)
from diffusers.models.attention_processor import AttnProcessor
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from int_bench.core.templates import INPAINT_NEGATIVE, INPAINT_POSITIVE
from int_bench.data.world.scenes import ENVIRONMENTS, NAMES, TASK_PROMPTS
from int_bench.learning.loop import Recipe, fit
from int_bench.zoo.training.pool import Pool, load_pool
from int_bench.zoo.training.stable_diffusion.data import (
    Holes,
    draw_holes,
    fill,
    fill_figures,
    validation_holes,
)
from int_bench.zoo.training.stable_diffusion.vae import train_vae

MAX_TEXT = 40
TEXT_WIDTH = 64
VAE_STEPS, UNET_STEPS = 400, 900
STEPS, GUIDANCE = 3, 1.0  # of the tiny preset: no guidance, so no negative prompt
OUTSIDE = 0.1  # weight of the loss outside of the hole, where the answer is given
DECAY = 0.995  # of the moving average of the weights
BEGIN, END = "<|startoftext|>", "<|endoftext|>"


def build_tokenizer() -> CLIPTokenizer:
    """A byte-level BPE in which every word of the world and of the templates is one token.

    Byte-pair training on the word list runs until nothing is left to merge; other text falls apart
    into shorter pieces and never fails.
    """
    texts = [*NAMES, *ENVIRONMENTS, *TASK_PROMPTS.values(), INPAINT_POSITIVE, INPAINT_NEGATIVE]
    plain = "".join(c if c.isalpha() else " " for c in " ".join(texts).lower())
    words = sorted(set(plain.split()))
    trained = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=10**6, min_frequency=1, end_of_word_suffix="</w>", show_progress=False
    )
    trained.train_from_iterator(words, trainer)
    merges: Any = [tuple(pair) for pair in json.loads(trained.to_str())["model"]["merges"]]
    tokens = alphabet + [letter + "</w>" for letter in alphabet]
    tokens += ["".join(pair) for pair in merges]
    vocabulary = {token: index for index, token in enumerate([*tokens, BEGIN, END])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TEXT)


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """One layer of 64 channels."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=MAX_TEXT,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def build_unet() -> UNet2DConditionModel:
    """9 channels in (noisy latents, hole, latents of the masked image), 4 out; text at 16 and 8."""
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=9,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(32, 64, 96),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=(2, 2, 3),
    )


def build_scheduler() -> DDIMScheduler:
    """DDIM whose first step is pure noise (zero terminal SNR): a few steps then get colours right.

    Source: Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed", 2024.
    """
    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        rescale_betas_zero_snr=True,
        clip_sample=False,
        steps_offset=1,
    )


def assemble(
    vae: AutoencoderKL,
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
) -> StableDiffusionInpaintPipeline:
    """Put the parts together as the library does, without a safety checker."""
    return StableDiffusionInpaintPipeline(
        vae=vae,
        unet=unet,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


class Denoiser(nn.Module):
    """What phase 2 trains: text encoder and UNet, and the moving average of their weights.

    Attributes:
        live: the modules under training; averages: what is saved.
    """

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.tokenizer = build_tokenizer()
        self.live = nn.ModuleDict(
            {"text": build_text_encoder(self.tokenizer), "unet": build_unet()}
        )
        unet: Any = self.live["unet"]
        unet.set_attn_processor(AttnProcessor())  # backward twice as fast on a CPU
        self.averages = copy.deepcopy(self.live).requires_grad_(False)
        self.count: Tensor
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.vae = [vae]  # in a list: no part of the state that is checkpointed
        self.signal = build_scheduler().alphas_cumprod

    @torch.no_grad()
    def average(self) -> None:
        """Move the averages one step towards the live weights, faster in the beginning."""
        self.count += 1
        decay = min(DECAY, float((1 + self.count) / (10 + self.count)))
        for slow, fast in zip(self.averages.parameters(), self.live.parameters(), strict=True):
            slow.lerp_(fast, 1 - decay)

    @torch.no_grad()
    def latents(self, images: Tensor) -> Tensor:
        """Scaled latents (B, 4, 32, 32) of images (B, 3, 128, 128) in -1..1."""
        vae = self.vae[0]
        posterior = vae.encode(images.contiguous(memory_format=torch.channels_last)).latent_dist
        latents: Tensor = posterior.sample().float() * vae.config.scaling_factor
        return latents

    def loss(self, batch: Holes) -> tuple[Tensor, Tensor]:
        """Velocity error, mostly inside the hole, and the error of 4 x 4 means of the latents."""
        pixels = torch.cat([batch.clean, batch.images * (batch.holes < 0.5)])
        clean, masked = self.latents(pixels).chunk(2)
        hole = batch.holes[:, :, ::4, ::4]
        time = torch.randint(0, 1000, (len(clean),))
        time = torch.where(torch.rand(len(clean)) < 0.2, 999, time)
        share = self.signal[time][:, None, None, None]
        noise = torch.randn_like(clean)
        noisy = share.sqrt() * clean + (1 - share).sqrt() * noise
        tokens = self.tokenizer(
            batch.prompts, padding="max_length", max_length=MAX_TEXT, return_tensors="pt"
        )
        text = self.live["text"](tokens["input_ids"])[0]
        velocity = self.live["unet"](torch.cat([noisy, hole, masked], 1), time, text).sample.float()
        wanted = share.sqrt() * noise - (1 - share).sqrt() * clean
        weight = OUTSIDE + (1 - OUTSIDE) * nn.functional.max_pool2d(hole, 3, 1, 1)
        detail = ((velocity - wanted).square() * weight).sum() / (4 * weight.sum())
        guess = share.sqrt() * noisy - (1 - share).sqrt() * velocity
        means = nn.functional.avg_pool2d((guess - clean) * hole, 4)
        colour = means.square().sum() / (4 * nn.functional.avg_pool2d(hole, 4).sum().clamp(min=1))
        return detail, colour

    def pipeline(self) -> StableDiffusionInpaintPipeline:
        """The pipeline with the averaged weights."""
        parts: Any = self.averages
        made = assemble(self.vae[0], parts["unet"], parts["text"], self.tokenizer)
        made.set_progress_bar_config(disable=True)
        return made


def train_denoiser(pool: Pool, vae: AutoencoderKL, steps: int) -> Denoiser:
    """Phase 2: text encoder and UNet on frozen latents."""
    torch.manual_seed(1)
    model, held_out = Denoiser(vae), validation_holes(48)

    def loss(rng: np.random.Generator) -> tuple[Tensor, dict[str, float | Tensor]]:
        model.average()
        batch = draw_holes(pool, rng.integers(0, len(pool.kind), 24), rng)
        detail, colour = model.loss(batch)
        return detail + colour, {"detail": detail.detach(), "colour": colour.detach()}

    def validate() -> dict[str, float]:
        return fill_figures(fill(model.pipeline(), held_out, STEPS, GUIDANCE), held_out)

    recipe = Recipe(
        "stable_diffusion_unet",
        steps,
        learning_rate=1e-3,
        warm_up=100,
        weight_decay=0.01,
        report_every=100,
    )
    fit(model, recipe, loss, validate)
    return model


def save(pipeline: StableDiffusionInpaintPipeline, out: Path) -> None:
    """Write the pipeline as fp16 in the library's folder format."""
    pipeline.to(dtype=torch.float16)
    pipeline.save_pretrained(out)


def train(out: Path, steps: int | None = None) -> None:
    """Train autoencoder and denoiser and save into ``out``.

    Args:
        out: folder of the checkpoint.
        steps: steps of the last phase; None takes those of the shipped checkpoint.
    """
    pool = load_pool("train")
    vae = train_vae(pool, VAE_STEPS)
    save(train_denoiser(pool, vae, steps or UNET_STEPS).pipeline(), out)
