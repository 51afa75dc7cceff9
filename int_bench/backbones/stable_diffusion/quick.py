"""What is done to a loaded pipeline so that a device waits for nothing: graphs, layouts, times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import MethodType
from typing import Any

import torch
from torch import Tensor

from int_bench.backbones.common.graphs import Replayed
from int_bench.backbones.stable_diffusion.channels_last import keep_channels_last


def quick(pipeline: Any, channels_last: bool, compiled: bool) -> Any:
    """The same pipeline, all weights on their device, ready to compute.

    Args:
        pipeline: changed in place.
        channels_last: memory format of UNet and VAE.
        compiled: compile the UNet's repeated blocks.
    """
    _keep_times_on_host(pipeline)
    _know_place(pipeline)
    unet, vae = pipeline.unet, pipeline.vae
    if channels_last:
        unet.to(memory_format=torch.channels_last)
        vae.to(memory_format=torch.channels_last)
    if compiled:
        unet.compile_repeated_blocks()
    for model in (unet, vae) if channels_last else ():
        keep_channels_last(model)
    if unet.device.type == "cuda":
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


def _know_place(pipeline: Any) -> None:
    """Let a pipeline know where it computes, and on a CPU encode a batch of pictures together.

    The library's own looks through all its modules for its device, several times a call, and
    encodes pictures one by one where each has a generator: on CUDA one graph, replayed.
    """
    kind = type(pipeline)
    own: dict[str, Any] = {"_execution_device": pipeline.unet.device}
    if pipeline.unet.device.type == "cpu":
        own["_encode_vae_image"] = _encoded
    pipeline.__class__ = type(kind.__name__, (kind,), own)


def _encoded(self: Any, image: Tensor, generator: Any) -> Tensor:
    """Latents, (B, C, S / f, S / f), of pictures (B, 3, S, S): drawn by each one's generator."""
    latents: Tensor = self.vae.encode(image).latent_dist.sample(generator)
    return latents.mul_(self.vae.config.scaling_factor)


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
