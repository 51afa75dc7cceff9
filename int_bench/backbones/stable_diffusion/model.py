"""Erasing with Stable Diffusion: Eq. (4) on ``diffusers.StableDiffusionInpaintPipeline``.

The pipeline is the library's own; here are the square that it sees (``canvas.py``), noise that is
a function of the request alone, prompt embeddings that are computed once per text, and counters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from int_bench.backbones.common.ahead import Ahead, Submit
from int_bench.backbones.common.loading import resolve
from int_bench.backbones.common.lru import Lru
from int_bench.backbones.common.model import LocalModel
from int_bench.backbones.flops.counting import Flops
from int_bench.backbones.stable_diffusion import canvas
from int_bench.backbones.stable_diffusion.quick import forget_graphs, quick
from int_bench.core.limits import AtLeast, Count, Within
from int_bench.core.requests import Inpaint, Request
from int_bench.core.types import Image, SoftMask
from int_bench.errors import UsageError

if TYPE_CHECKING:
    from int_bench.core.protocols import Inpainter

PROMPTS_KEPT = 512


@dataclass(eq=False)
class StableDiffusion(LocalModel):
    """Fills masks by diffusion, batched over requests.

    Two answers to the same request are bit-identical if each was computed alone; in another batch
    they agree up to rounding. Neither device nor batch nor order decides the noise: each request
    has its own generator on the CPU, and its first draw, in float32, is the initial latents.

    Args:
        checkpoint: hub id, local folder or ``zoo:NAME`` of a StableDiffusionInpaintPipeline
            (a UNet of 9 input channels, or 4: then the known latents are re-noised).
        revision, device, dtype: As of every `LocalModel`.
        max_batch: most images per pipeline call.
        steps: denoising steps of the checkpoint's own scheduler.
        guidance_scale: of classifier-free guidance; at most 1 switches it off, and with it the
            negative prompt.
        size: side of the square that the pipeline works on, in pixels; a multiple of the VAE's
            factor (8 in Stable Diffusion).
        letterbox: keep the aspect ratio; False squashes to the square.
        padding: what fills the rest of the square: ``reflect`` or ``edge``.
        composite: paste only the mask back; False returns the whole generated image.
        feather: length of the composite's ramp inside the mask's rim: below 1 a share of the
            image's short side, from 1 on pixels of the request's image; 0 is a hard edge.
        channels_last: memory format of UNet and VAE.
        compile: compile the UNet's repeated blocks with torch.compile.

    ``counters``: ``images`` that were filled (empty masks are not); ``unet_calls``, forward passes
    of the UNet, and ``rows``, their batch rows in sum (guidance doubles them); ``texts_encoded``.
    """

    ROLE: ClassVar[str] = "inpainter"
    HOLDS: ClassVar[str] = "time_embedding"
    PRECISION: ClassVar[dict[str, str]] = {"E1": "float16", "E2": "float16"}
    WEIGHTS: ClassVar[tuple[str, ...]] = ("checkpoint", "revision", "channels_last", "compile")

    max_batch: Count = field(default=8, kw_only=True)
    steps: Count = 50
    guidance_scale: Annotated[float, Within(0, 100)] = 7.5
    size: Count = 512
    letterbox: bool = True
    padding: canvas.Padding = "reflect"
    composite: bool = True
    feather: Annotated[float, AtLeast(0)] = 0.01
    channels_last: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.flops = Flops(counts=not self.compile)
        self._embeddings: Lru[str, Tensor] = Lru(PROMPTS_KEPT)
        self._frames: Ahead[_Frame] = Ahead()

    def inpaint(self, requests: Sequence[Inpaint]) -> list[Image]:
        """One image per request, (H, W, 3) uint8, in the frame of the request's image.

        With ``composite`` the pixels outside the mask are exactly the request's. An empty mask
        gives the image itself, without a call of the model.

        Raises:
            ValueError: a mask that has not the size of its image.
            MissingAsset: the checkpoint cannot be loaded.
            SampleError: a number is not finite; the stage that gave it is named.
            OutOfMemory: the batch is too large for the device.
        """
        for request in requests:
            if request.mask.mask.shape != request.image.size:
                shape = request.mask.mask.shape
                raise ValueError(f"mask {shape} and image {request.image.size} differ in size")
        masked = [request for request in requests if request.mask.mask.any()]
        filled = iter(self.in_batches(masked, self._fill))
        return [
            next(filled) if request.mask.mask.any() else request.image.pixels
            for request in requests
        ]

    def _fill(self, requests: Sequence[Inpaint]) -> list[Image]:
        """The pipeline's images back in their frames."""
        pipeline = self.loaded
        self._check_size(pipeline.vae_scale_factor)
        frames = [self._frames.take(_seen(r), partial(self._frame, r)) for r in requests]
        squares = [frame.square for frame in frames]
        stages = {
            "encodings of the VAE": pipeline.vae.encoder,
            "outputs of the UNet": pipeline.unet,
            "decodings of the VAE": pipeline.vae.decoder,
        }
        with self.computing(), self.finite.watching(stages), self.flops.watching(stages):
            filled = self._generate(pipeline, requests, squares)
        rows = zip(requests, frames, filled, strict=True)
        return [self._back(request, frame, image) for request, frame, image in rows]

    def begin(self, request: Request[Any], submit: Submit) -> None:
        """The square and the way back."""
        if isinstance(request, Inpaint):
            self._frames.begin(_seen(request), request, partial(self._frame, request), submit)

    def _frame(self, request: Inpaint) -> _Frame:
        """What goes in, and how opaque what comes out is."""
        padding = self.padding if self.letterbox else None
        image, mask = request.image.pixels, request.mask.mask
        square = canvas.to_canvas(image, mask, self.size, padding)
        if not self.composite:
            return _Frame(square, None)
        ramp = self.feather if self.feather >= 1 else self.feather * min(request.image.size)
        return _Frame(square, canvas.feathered(mask, ramp))

    def _check_size(self, factor: int) -> None:
        if self.size % factor:
            raise UsageError(
                f"The inpainter's size {self.size} is not a multiple of {factor}, the factor of "
                f"the VAE of {self.checkpoint}."
            )

    def _back(self, request: Inpaint, frame: _Frame, filled: Image) -> Image:
        """One generated square, (S, S, 3) uint8, to the request's size, composited."""
        image = canvas.from_canvas(filled, frame.square.window, request.image.size)
        if frame.opacity is None:
            return image
        return canvas.composite(request.image.pixels, image, frame.opacity)

    def _generate(
        self, pipeline: Any, requests: Sequence[Inpaint], squares: Sequence[canvas.Canvas]
    ) -> NDArray[np.uint8]:
        """One call of the pipeline: squares in, (B, S, S, 3) out."""
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
            output_type="pt",
            callback_on_step_end=partial(self._count_step, rows),
            callback_on_step_end_tensor_inputs=[],
            **self._prompts(requests),
        )
        self.counters["images"] += len(requests)
        levels = (output.images.float() * 255).round().to(torch.uint8)
        filled: NDArray[np.uint8] = levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return filled

    def _noise(self, generators: Sequence[torch.Generator]) -> Tensor:
        """Initial latents, (B, C, S / f, S / f), one standard normal draw per request."""
        pipeline = self.loaded
        side = self.size // pipeline.vae_scale_factor
        shape = (1, pipeline.vae.config.latent_channels, side, side)
        draws = [torch.randn(shape, generator=generator) for generator in generators]
        return torch.cat(draws).to(self.place, self.precision)

    def _prompts(self, requests: Sequence[Inpaint]) -> dict[str, Tensor]:
        """The pipeline's prompt arguments: embeddings, (B, tokens, width), by distinct text."""
        prompts = {"prompt_embeds": torch.cat([self._embed(r.prompt) for r in requests])}
        if self.guidance_scale > 1:
            negatives = [self._embed(request.negative_prompt) for request in requests]
            prompts["negative_prompt_embeds"] = torch.cat(negatives)
        return prompts

    def _embed(self, text: str) -> Tensor:
        """One text through the text encoder alone, (1, tokens, width); computed once."""
        remembered = self._embeddings.get(text)
        if remembered is not None:
            return remembered
        pipeline = self.loaded
        encode = partial(pipeline.encode_prompt, text, pipeline.unet.device, 1, False)
        embedding, _ = self.flops.of("text", 1, encode)
        self.finite.see("text embeddings", embedding)
        self.counters["texts_encoded"] += 1
        self._embeddings.put(text, embedding)
        return embedding  # type: ignore[no-any-return]

    def _count_step(
        self, rows: int, pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        """The pipeline's callback after each UNet forward pass."""
        self.counters["unet_calls"] += 1
        self.counters["rows"] += rows
        return {}

    def load(self) -> Any:
        """The pipeline without the safety checker: its black is no erasure."""
        from diffusers import StableDiffusionInpaintPipeline
        from diffusers.utils import logging

        logging.disable_progress_bar()
        pipeline = StableDiffusionInpaintPipeline.from_pretrained(  # type: ignore[no-untyped-call]
            resolve(self.checkpoint),
            revision=self.revision,
            dtype=self.precision,
            use_safetensors=True,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ).to(self.place)
        pipeline.set_progress_bar_config(disable=True)
        return quick(pipeline, self.channels_last, self.compile)

    def forget(self) -> None:
        """Drop texts, frames, and on CUDA all graphs."""
        super().forget()
        if "loaded" in vars(self):
            forget_graphs(self.loaded)


@dataclass(frozen=True)
class _Frame:
    """A request on the model's square, and the opacity, (H, W), of its composite or None."""

    square: canvas.Canvas
    opacity: SoftMask | None


def _seen(request: Inpaint) -> tuple[str, str]:
    """What a frame depends on."""
    return request.image.digest, request.mask.digest


if TYPE_CHECKING:
    _check: type[Inpainter] = StableDiffusion
