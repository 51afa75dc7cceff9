"""Erasing without weights: OpenCV's Telea inpainting, a black hole, or a blur."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cv2
import numpy as np

from int_bench.backbones.common.model import Model
from int_bench.backbones.common.square import shrunk
from int_bench.core.limits import Above
from int_bench.core.requests import Inpaint
from int_bench.core.types import HardMask, Image

if TYPE_CHECKING:
    from int_bench.core.protocols import Inpainter

_WIDEST = 64.0
"""Standard deviation in pixels from which a blur is computed on a shrunken image: its time grows
with its width, and what is this smooth needs no more pixels."""

Fill = Literal["telea", "blackout", "blur"]


@dataclass(eq=False)
class ClassicInpainter(Model):
    """Fills the mask from the image alone; prompts and seed of the request have no effect.

    * ``telea``: fast marching from the rim inwards, ``cv2.inpaint`` (Telea 2004).
    * ``blackout``: zeros.
    * ``blur``: the image under a Gaussian; colours stay, detail goes (Fong and Vedaldi 2017).

    Pixels outside the mask stay exactly as they are, for each of the three.

    Args:
        fill: ``telea``, ``blackout`` or ``blur``.
        radius: neighbourhood that ``telea`` averages over, in pixels of the request's image.
        blur: standard deviation of ``blur`` as a share of the image's short side.

    ``counters``: ``images``, how many were filled (empty masks are not).
    """

    fill: Fill = "telea"
    radius: Annotated[float, Above(0)] = 3.0
    blur: Annotated[float, Above(0)] = 0.05

    @property
    def identity(self) -> dict[str, Any]:
        """As of every model; OpenCV's version decides the last bits of ``telea``."""
        return {**super().identity, "version": cv2.__version__}

    def inpaint(self, requests: Sequence[Inpaint]) -> list[Image]:
        """One image per request, (H, W, 3) uint8; an empty mask gives the image itself.

        Raises:
            ValueError: a mask that has not the size of its image.
        """
        return [self._inpaint(request) for request in requests]

    def _inpaint(self, request: Inpaint) -> Image:
        image, mask = request.image.pixels, request.mask.mask
        if mask.shape != image.shape[:2]:
            raise ValueError(f"mask {mask.shape} and image {image.shape[:2]} differ in size")
        if not mask.any():
            return image
        self.counters["images"] += 1
        return np.where(mask[..., None], self._filled(image, mask), image)

    def _filled(self, image: Image, mask: HardMask) -> Image:
        """An image whose pixels under the mask are the fill; the others are not looked at."""
        # With a full mask there is no rim to start from; OpenCV would return the image itself.
        if self.fill == "blackout" or (self.fill == "telea" and mask.all()):
            return np.zeros_like(image)
        if self.fill == "telea":
            hole = mask.astype(np.uint8)
            return np.asarray(cv2.inpaint(image, hole, self.radius, cv2.INPAINT_TELEA), np.uint8)
        return _blurred(image, self.blur * min(mask.shape))


def _blurred(image: Image, sigma: float) -> Image:
    """An image, (H, W, 3) uint8, under a Gaussian; a wide one is computed on a smaller image."""
    height, width = image.shape[:2]
    scale = min(1.0, _WIDEST / sigma)
    small = shrunk(image, math.ceil(max(height, width) * scale))
    blurred = cv2.GaussianBlur(small, (0, 0), max(sigma * scale, 0.5))
    if small is not image:
        blurred = cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(blurred, np.uint8)


if TYPE_CHECKING:
    _check: type[Inpainter] = ClassicInpainter
