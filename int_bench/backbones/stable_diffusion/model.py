"""Erasing with Stable Diffusion: Eq. (4) on ``diffusers.StableDiffusionInpaintPipeline``.

The pipeline is the library's own; here are the square that it sees (``canvas.py``), noise that is
a function of the request alone, prompt embeddings that are computed once per text, and counters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from int_bench.backbones.common.loading import (
    cached_load,
    load_errors,
    memory_guard,
    pick_device,
    pick_dtype,
    resolve,
)
from int_bench.backbones.common.lru import Lru
from int_bench.backbones.stable_diffusion import canvas
from int_bench.core.types import Image, Inpaint
from int_bench.errors import UsageError

if TYPE_CHECKING:
    from int_bench.core.protocols import Inpainter

PROMPTS_KEPT = 512


class StableDiffusion:
    """Fills masks by diffusion, batched over requests.

    Two answers to the same request are bit-identical if each was computed alone; in another batch
    they agree up to rounding. Neither device nor batch nor order decides the noise: each request
    has its own generator on the CPU, and its first draw, in float32, is the initial latents.
    """

    RUNTIME: ClassVar[tuple[str, ...]] = ("device", "max_batch")
    PRECISION: ClassVar[dict[str, str]] = {"E1": "float16", "E2": "float16"}

    def __init__(  # noqa: PLR0913 - a configuration file binds to these
        self,
        checkpoint: str,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        max_batch: int = 8,
        *,
        steps: int = 50,
        guidance_scale: float = 7.5,
        size: int = 512,
        letterbox: bool = True,
        padding: str = "reflect",
        composite: bool = True,
        feather: float = 0.01,
        channels_last: bool = False,
        compile: bool = False,
    ) -> None:
        """Keep the options; the pipeline is loaded at the first request.

        Args:
            checkpoint: Hub id, local folder or ``zoo:NAME`` of a StableDiffusionInpaintPipeline
                (a UNet of 9 input channels, or 4: then the known latents are re-noised).
            revision: Branch, tag or commit on the hub.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
            dtype: ``auto``, ``float32``, ``bfloat16``, ``float16``.
            max_batch: Most images per pipeline call.
            steps: Denoising steps of the checkpoint's own scheduler.
            guidance_scale: Of classifier-free guidance; at most 1 switches it off, and with it
                the negative prompt.
            size: Side of the square that the pipeline works on, in pixels; a multiple of the
                VAE's factor (8 in Stable Diffusion).
            letterbox: Keep the aspect ratio; False squashes to the square.
            padding: What fills the rest of the square: ``reflect`` or ``edge``.
            composite: Paste only the mask back; False returns the whole generated image.
            feather: Length of the composite's ramp inside the mask's rim: below 1 a share of the
                image's short side, from 1 on pixels of the request's image; 0 is a hard edge.
            channels_last: Memory format of UNet and VAE.
            compile: Compile the UNet's repeated blocks with torch.compile.

        Raises:
            UsageError: An option out of its range.
        """
        _check_options(max_batch, steps, size, padding, feather)
        self.checkpoint = checkpoint
        self.revision = revision
        self.device = device
        self.dtype = dtype
        self.max_batch = max_batch
        self.steps = steps
        self.guidance_scale = guidance_scale
        self.size = size
        self.padding = padding if letterbox else None
        self.composite = composite
        self.feather = feather
        self.channels_last = channels_last
        self.compile = compile
        self._counters: Counter[str] = Counter()
        self._embeddings: Lru[str, torch.Tensor] = Lru(PROMPTS_KEPT)

    @property
    def identity(self) -> dict[str, Any]:
        """Checkpoint, precision and the options that decide the pixels."""
        return {
            "backbone": "stable_diffusion",
            "checkpoint": self.checkpoint,
            "revision": self.revision,
            "dtype": str(pick_dtype(self.dtype, pick_device(self.device))).removeprefix("torch."),
            "steps": self.steps,
            "guidance_scale": self.guidance_scale,
            "size": self.size,
            "padding": self.padding,
            "composite": self.composite,
            "feather": self.feather,
            "channels_last": self.channels_last,
            "compile": self.compile,
        }

    @property
    def counters(self) -> Counter[str]:
        """What was computed: ``images``, ``unet_calls``, ``rows``, ``texts_encoded``.

        ``images`` were filled (empty masks are not); ``unet_calls`` are UNet forward passes, and
        ``rows`` their batch rows in sum (guidance doubles them).
        """
        return self._counters

    def inpaint(self, requests: Sequence[Inpaint]) -> list[Image]:
        """One image per request, (H, W, 3) uint8, in the frame of the request's image.

        With ``composite`` the pixels outside the mask are exactly the request's. An empty mask
        gives the image itself, without a call of the model.

        Raises:
            ValueError: A mask that has not the size of its image.
            MissingAsset: The checkpoint cannot be loaded.
            OutOfMemory: The batch is too large for the device.
        """
        for request in requests:
            if request.mask.mask.shape != request.image.size:
                shape = request.mask.mask.shape
                raise ValueError(f"mask {shape} and image {request.image.size} differ in size")
        answers = [request.image.pixels for request in requests]
        todo = [index for index, request in enumerate(requests) if request.mask.mask.any()]
        for start in range(0, len(todo), self.max_batch):
            chunk = todo[start : start + self.max_batch]
            for index, filled in zip(chunk, self._fill([requests[i] for i in chunk]), strict=True):
                answers[index] = filled
        return answers

    def _fill(self, requests: Sequence[Inpaint]) -> Iterator[Image]:
        """The pipeline's images back in their frames."""
        squares = [
            canvas.to_canvas(request.image.pixels, request.mask.mask, self.size, self.padding)
            for request in requests
        ]
        pipeline = self._pipeline  # loaded outside of inference mode
        with torch.inference_mode(), memory_guard():
            filled = self._generate(pipeline, requests, squares)
        for request, square, image in zip(requests, squares, filled, strict=True):
            yield self._back(request, square, image)

    def _back(self, request: Inpaint, square: canvas.Canvas, filled: Image) -> Image:
        """One generated square, (S, S, 3) uint8, to the request's size, composited."""
        image = canvas.from_canvas(filled, square.window, request.image.size)
        if not self.composite:
            return image
        ramp = self.feather if self.feather >= 1 else self.feather * min(request.image.size)
        opacity = canvas.feathered(request.mask.mask, ramp)
        return canvas.composite(request.image.pixels, image, opacity)

    def _generate(
        self, pipeline: Any, requests: Sequence[Inpaint], squares: Sequence[canvas.Canvas]
    ) -> list[Image]:
        """One call of the pipeline: squares in, squares out, (S, S, 3) uint8."""
        cell = pipeline.vae_scale_factor
        masks = np.stack([canvas.cover_cells(square.mask, cell) for square in squares])
        images = np.stack([square.image for square in squares]).astype(np.float32) / 255
        generators = [torch.Generator().manual_seed(request.seed) for request in requests]
        rows = len(requests) * (2 if self.guidance_scale > 1 else 1)
        output = pipeline(
            image=torch.from_numpy(images).permute(0, 3, 1, 2),
            mask_image=torch.from_numpy(masks.astype(np.float32))[:, None],
            height=self.size,
            width=self.size,
            num_inference_steps=self.steps,
            guidance_scale=self.guidance_scale,
            generator=generators,
            latents=self._noise(generators),
            output_type="np",
            callback_on_step_end=partial(self._count_step, rows),
            callback_on_step_end_tensor_inputs=[],
            **self._prompts(requests),
        )
        self._counters["images"] += len(requests)
        return list(np.rint(output.images * 255).astype(np.uint8))

    def _noise(self, generators: Sequence[torch.Generator]) -> torch.Tensor:
        """Initial latents, (B, C, S / f, S / f), one standard normal draw per request."""
        pipeline = self._pipeline
        side = self.size // pipeline.vae_scale_factor
        shape = (1, pipeline.vae.config.latent_channels, side, side)
        draws = [torch.randn(shape, generator=generator) for generator in generators]
        return torch.cat(draws).to(pipeline.unet.device, pipeline.unet.dtype)

    def _prompts(self, requests: Sequence[Inpaint]) -> dict[str, torch.Tensor]:
        """The pipeline's prompt arguments: embeddings, (B, tokens, width), by distinct text."""
        prompts = {"prompt_embeds": torch.cat([self._embed(r.prompt) for r in requests])}
        if self.guidance_scale > 1:
            negatives = [self._embed(request.negative_prompt) for request in requests]
            prompts["negative_prompt_embeds"] = torch.cat(negatives)
        return prompts

    def _embed(self, text: str) -> torch.Tensor:
        """One text through the text encoder alone, (1, tokens, width); computed once."""
        known = self._embeddings.get(text)
        if known is not None:
            return known
        pipeline = self._pipeline
        embedding, _ = pipeline.encode_prompt(text, pipeline.unet.device, 1, False)
        self._counters["texts_encoded"] += 1
        self._embeddings.put(text, embedding)
        return embedding  # type: ignore[no-any-return]

    def _count_step(
        self, rows: int, pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        """The pipeline's callback after each UNet forward pass."""
        self._counters["unet_calls"] += 1
        self._counters["rows"] += rows
        return {}

    @cached_property
    def _pipeline(self) -> Any:
        """The loaded pipeline, shared by all backbones with the same weights and layout."""
        device = pick_device(self.device)
        dtype = pick_dtype(self.dtype, device)
        source = resolve(self.checkpoint)
        layout = (self.channels_last, self.compile)
        key = (type(self).__name__, source, self.revision, str(dtype), str(device), *layout)
        with load_errors("inpainter", self.checkpoint):
            pipeline = cached_load(key, partial(self._load, source, device, dtype))
        if self.size % pipeline.vae_scale_factor:
            raise UsageError(
                f"The inpainter's size {self.size} is not a multiple of "
                f"{pipeline.vae_scale_factor}, the factor of the VAE of {self.checkpoint}."
            )
        return pipeline

    def _load(self, source: str, device: torch.device, dtype: torch.dtype) -> Any:
        """Load without the safety checker: a blacked-out answer would be scored as an erasure."""
        from diffusers import StableDiffusionInpaintPipeline
        from diffusers.utils import logging

        logging.disable_progress_bar()
        pipeline = StableDiffusionInpaintPipeline.from_pretrained(  # type: ignore[no-untyped-call]
            source,
            revision=self.revision,
            dtype=dtype,
            use_safetensors=True,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ).to(device)
        pipeline.set_progress_bar_config(disable=True)
        if self.channels_last:
            pipeline.unet.to(memory_format=torch.channels_last)
            pipeline.vae.to(memory_format=torch.channels_last)
        if self.compile:
            pipeline.unet.compile_repeated_blocks()
        return pipeline


def _check_options(max_batch: int, steps: int, size: int, padding: str, feather: float) -> None:
    """Raise a UsageError for the first option that is out of its range."""
    if padding not in canvas.PADDINGS:
        known = ", ".join(canvas.PADDINGS)
        raise UsageError(f"Unknown padding {padding!r} of the inpainter; choose {known}.")
    for name, value in {"max_batch": max_batch, "steps": steps, "size": size}.items():
        if value < 1:
            raise UsageError(f"The inpainter's {name} is {value}; it must be at least 1.")
    if feather < 0:
        raise UsageError(f"The inpainter's feather is {feather}; it must not be negative.")


if TYPE_CHECKING:
    _check: type[Inpainter] = StableDiffusion
