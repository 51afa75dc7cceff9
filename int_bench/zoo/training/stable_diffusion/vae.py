"""The autoencoder of the tiny Stable Diffusion: 128 px images to 32 x 32 x 4 latents.

``StableDiffusionInpaintPipeline`` wants 4 latent channels, so the factor is 4. A default start
needs many minutes to get colours right; here the start is a *colour initialisation*: red, green and
blue pass through the network unchanged (2 x 2 means on the way down, smooth enlargement on the way
up) and the residual branches begin at zero. Two constant channels of large, opposite value and a
negative copy of the colours keep the statistics of the group norms (nearly) independent of the
image, so that the identity survives them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import nn

from int_bench.learning.loop import Recipe, fit
from int_bench.zoo.training.pool import Pool, load_pool
from int_bench.zoo.training.stable_diffusion.data import draw_holes, signed

CHANNELS = (16, 32, 64)
CARRIED = 8  # red, green, blue, +constant, -constant, -red, -green, -blue
COLOURS, NEGATIVES = (0, 1, 2), (5, 6, 7)
GAIN = 3.0  # latent = 3 x colour
SLOPE = 1.04  # of SiLU around the offset below, where it is nearly linear
OFFSET = 4.0


def build_vae() -> AutoencoderKL:
    """An autoencoder with random weights (0.65 M parameters)."""
    depth = len(CHANNELS)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * depth,
        up_block_types=("UpDecoderBlock2D",) * depth,
        block_out_channels=CHANNELS,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=2,
        sample_size=128,
        mid_block_add_attention=False,
    )


def _carry(conv: nn.Conv2d, taps: torch.Tensor) -> None:
    """Let the carried channels pass: colours with the kernel ``taps``, constants as they are."""
    assert conv.bias is not None
    conv.weight[:CARRIED] = 0
    conv.bias[:CARRIED] = 0
    for channel in range(CARRIED):
        constant = channel in (3, 4)
        conv.weight[channel, channel] = _tap(conv.kernel_size[0]) if constant else taps


def _enter(conv: nn.Conv2d, gain: float, channels: int) -> None:
    """Fill the carried channels at the entry of an encoder or decoder from three colours."""
    assert conv.bias is not None
    conv.weight[:CARRIED] = 0
    conv.bias[:CARRIED] = 0
    for colour in COLOURS:
        conv.weight[colour, colour] = gain * _tap(3)
        conv.weight[NEGATIVES[colour], colour] = -gain * _tap(3)
    size = 3 * math.sqrt(channels / 4)
    conv.bias[3], conv.bias[4] = size, -size


def _tap(kernel: int) -> torch.Tensor:
    taps = torch.zeros(kernel, kernel)
    taps[kernel // 2, kernel // 2] = 1
    return taps


def _pass_through(half: Any, blocks: Any) -> None:
    """Make all residual blocks of an encoder or decoder the identity on the carried channels."""
    mean, line = torch.zeros(3, 3), torch.tensor([0.25, 0.5, 0.25])
    mean[:2, :2] = 0.25
    for block in [*blocks, half.mid_block]:
        for resnet in block.resnets:
            resnet.conv2.weight.zero_()
            resnet.conv2.bias.zero_()
            if resnet.conv_shortcut is not None:
                _carry(resnet.conv_shortcut, _tap(1))
        for sampler in getattr(block, "downsamplers", None) or []:
            _carry(sampler.conv, mean)
        for sampler in getattr(block, "upsamplers", None) or []:
            _carry(sampler.conv, line[:, None] * line)


def _undo_norm(norm: nn.GroupNorm, features: torch.Tensor) -> None:
    """Set the colour channels of a final norm so that they come out as they were, plus OFFSET."""
    group = features[:, : features.shape[1] // norm.num_groups].flatten(1)
    norm.weight[:3] = group.std(1).mean()
    norm.bias[:3] = OFFSET + group.mean()


def _entry_and_exit(vae: AutoencoderKL) -> None:
    """Colour in and out of both halves; latent = GAIN x colour, small posterior variance."""
    encoder, decoder = vae.encoder, vae.decoder
    at_offset = OFFSET / (1 + math.exp(-OFFSET))
    _enter(encoder.conv_in, 1.0, CHANNELS[-1])
    _enter(decoder.conv_in, 1 / GAIN, CHANNELS[0])
    for conv in (vae.quant_conv, vae.post_quant_conv):
        conv.bias.zero_()
        conv.weight.copy_(torch.eye(len(conv.weight))[:, :, None, None])
    encoder.conv_out.weight[:3], encoder.conv_out.weight[4:] = 0, 0
    encoder.conv_out.bias[4:] = -6.0
    decoder.conv_out.weight.mul_(0.01)
    for colour in COLOURS:
        encoder.conv_out.weight[colour, colour, 1, 1] = GAIN / SLOPE
        encoder.conv_out.bias[colour] = -at_offset * GAIN / SLOPE
        decoder.conv_out.weight[colour, colour, 1, 1] = 1 / SLOPE
        decoder.conv_out.bias[colour] = -at_offset / SLOPE


@torch.no_grad()
def colour_initialisation(vae: AutoencoderKL, images: torch.Tensor) -> None:
    """Make ``vae`` a smoothing identity; ``images`` (N, 3, 128, 128) in -1..1 set the norms."""
    _pass_through(vae.encoder, vae.encoder.down_blocks)
    _pass_through(vae.decoder, vae.decoder.up_blocks)
    _entry_and_exit(vae)
    seen: list[torch.Tensor] = []
    for half in (vae.encoder, vae.decoder):
        hook = half.conv_norm_out.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
        vae.decode(vae.encode(images).latent_dist.mode())
        hook.remove()
        _undo_norm(half.conv_norm_out, seen.pop())


def high_pass(images: torch.Tensor) -> torch.Tensor:
    """What a 3 x 3 mean does not explain."""
    return images - F.avg_pool2d(images, 3, 1, 1)


def vae_loss(vae: AutoencoderKL, images: torch.Tensor) -> torch.Tensor:
    """L1, L2, L1 of 8 x 8 means (colour), L1 of the high pass (texture) and a little KL."""
    posterior = vae.encode(images).latent_dist
    made = vae.decode(posterior.sample()).sample.float()
    error = made - images
    texture = (high_pass(made) - high_pass(images)).abs().mean()
    divergence = posterior.kl().float().mean() / posterior.mean[0].numel()
    colour = F.avg_pool2d(error, 8).abs().mean()
    loss: torch.Tensor = (
        error.abs().mean()
        + 2 * error.square().mean()
        + 2 * colour
        + 0.5 * texture
        + 1e-4 * divergence
    )
    return loss


def reconstruction_figures(vae: AutoencoderKL, images: torch.Tensor) -> dict[str, float]:
    """Quality on (N, 3, 128, 128) images in -1..1: PSNR in dB, colour of 8 x 8 means of 255."""
    made = vae.decode(vae.encode(images).latent_dist.mode()).sample.float().clamp(-1, 1)
    error = made - images
    psnr = 10 * torch.log10(4 / error.square().mean((1, 2, 3))).mean()
    texture = high_pass(made).square().sum() / high_pass(images).square().sum()
    return {
        "psnr": float(psnr),
        "colour": float(127.5 * F.avg_pool2d(error, 8).abs().mean()),
        "texture": float(texture),
    }


def train_vae(pool: Pool, steps: int) -> AutoencoderKL:
    """Train the autoencoder on scenes, clean scenes and scenes with a grey hole."""
    torch.manual_seed(0)
    vae = build_vae().to(memory_format=torch.channels_last)
    colour_initialisation(vae, signed(pool.images[:32]))
    held_out = load_pool("validation")
    images = torch.cat([signed(held_out.images[:48]), signed(held_out.clean[48:96])])

    def loss(rng: np.random.Generator) -> tuple[torch.Tensor, dict[str, float | torch.Tensor]]:
        batch = draw_holes(pool, rng.integers(0, len(pool.kind), 8), rng)
        shown = torch.where(torch.rand(8, 1, 1, 1) < 0.5, batch.clean, batch.images)
        shown = shown * (1 - batch.holes * (torch.rand(8, 1, 1, 1) < 0.2))
        return vae_loss(vae, shown.contiguous(memory_format=torch.channels_last)), {}

    recipe = Recipe(
        "stable_diffusion_vae", steps, learning_rate=4e-4, weight_decay=0.0, report_every=100
    )
    fit(vae, recipe, loss, lambda: reconstruction_figures(vae, images))
    with torch.no_grad():
        spread = vae.encode(signed(pool.clean[:256])).latent_dist.mode().std()
    vae.register_to_config(scaling_factor=round(float(1 / spread), 4))
    return vae.requires_grad_(False)
