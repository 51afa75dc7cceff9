"""What is done to a loaded pipeline so that a device waits for nothing: graphs, layouts, times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from int_bench.backbones.common.graphs import Replayed


def quick(pipeline: Any, channels_last: bool, compiled: bool) -> Any:
    """The same pipeline, all weights on their device, ready to compute.

    Args:
        pipeline: changed in place.
        channels_last: memory format of UNet and VAE.
        compiled: compile the UNet's repeated blocks.
    """
    _keep_times_on_host(pipeline)
    unet, vae = pipeline.unet, pipeline.vae
    if channels_last:
        unet.to(memory_format=torch.channels_last)
        vae.to(memory_format=torch.channels_last)
    if compiled:
        unet.compile_repeated_blocks()
    if unet.device.type == "cuda":
        for module in (*unet.modules(), *vae.modules()):
            if channels_last and type(module) is nn.GroupNorm:
                module.forward = MethodType(group_norm, module)  # type: ignore[method-assign]
        unet.forward = _Graphed(unet.forward)
        vae.encoder.forward = Replayed(vae.encoder.forward)
        vae.decoder.forward = Replayed(vae.decoder.forward)
    return pipeline


def forget_graphs(pipeline: Any) -> None:
    """Give the memory of all graphs of a pipeline back."""
    for graphs in _graphs(pipeline):
        graphs.clear()


def _graphs(pipeline: Any) -> Iterator[Replayed]:
    for module in (pipeline.unet, pipeline.vae.encoder, pipeline.vae.decoder):
        forward = module.forward
        graphs = forward.steps if isinstance(forward, _Graphed) else forward
        if isinstance(graphs, Replayed):
            yield graphs


def group_norm(self: nn.GroupNorm, x: Tensor) -> Tensor:
    """``nn.GroupNorm`` of (B, C, H, W) where channels are last, without changing that.

    The library's own kernel wants them first, so that each norm copies its input, and the
    convolution behind it copies the answer back: a quarter of the UNet's time.
    """
    if x.ndim != 4 or not x.is_contiguous(memory_format=torch.channels_last):
        plain: Tensor = nn.GroupNorm.forward(self, x)
        return plain
    flat = x.permute(0, 2, 3, 1).flatten(1, 2)  # (B, H * W, C)
    groups = (len(x), self.num_groups, -1)
    count = flat.shape[1] * (x.shape[1] // self.num_groups)
    sums = flat.sum(1, dtype=torch.float32).view(groups).sum(-1)
    squares = torch.linalg.vector_norm(flat, dim=1, dtype=torch.float32).square()
    mean = sums / count
    variance = (squares.view(groups).sum(-1) / count - mean.square()).clamp(min=0)
    gain = self.weight.float().view(1, *groups[1:]) * (variance + self.eps).rsqrt()[..., None]
    shift = self.bias.float().view(1, *groups[1:]) - mean[..., None] * gain
    rows = [term.flatten(1)[:, None] for term in (shift, gain)]
    normed: Tensor = torch.addcmul(rows[0], flat, rows[1], out=torch.empty_like(flat))
    return normed.view(len(x), *x.shape[2:], -1).permute(0, 3, 1, 2)


class _Graphed:
    """The UNet's forward pass as one CUDA graph per batch: some thousand launches a step else."""

    def __init__(self, plain: Callable[..., Any]) -> None:
        self.plain = plain
        self.steps = Replayed(self._noise)

    def __call__(
        self, sample: Tensor, time: Tensor, encoder_hidden_states: Tensor, **others: Any
    ) -> tuple[Tensor]:
        """The noise, valid until the next step; further conditions are none."""
        assert not any(others.values()), sorted(others)
        return (self.steps(sample, time, encoder_hidden_states),)

    def _noise(self, sample: Tensor, time: Tensor, texts: Tensor) -> Tensor:
        answer: Tensor = self.plain(sample, time, texts, return_dict=False)[0]
        return answer


def _keep_times_on_host(pipeline: Any) -> None:
    """Let a pipeline's scheduler reckon on the host, and hand the UNet its times on the device.

    The schedulers keep their tables on the host and look them up by the time of a step; with times
    on the device every look-up waits for it, six times a step.
    """
    scheduler = pipeline.scheduler
    scheduler.set_timesteps = MethodType(_set_timesteps_on_host, scheduler)
    pipeline.unet.register_forward_pre_hook(_TimesOnDevice())


def _set_timesteps_on_host(self: Any, *args: Any, device: Any = None, **named: Any) -> None:
    type(self).set_timesteps(self, *args, **named)


class _TimesOnDevice:
    """Before the UNet: the time of a step on the device of the sample, brought there once."""

    def __init__(self) -> None:
        self._times: dict[tuple[float, torch.device], Tensor] = {}

    def __call__(self, module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        sample, time, *others = inputs
        if time.device == sample.device:
            return inputs
        key = time.item(), sample.device
        if key not in self._times:
            self._times[key] = time.to(sample.device)
        return sample, self._times[key], *others
