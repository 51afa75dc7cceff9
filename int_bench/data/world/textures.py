"""Textures of the drawn world: filtered noise in the colours of ten environments.

Every frequency is in cycles per image side, so a scene looks the same at every size. All arrays are
float32 of shape ``(size, size)`` unless said otherwise; nothing here knows about animals.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]

# Dark, middle and light colour (RGB, 0..1) of each environment, in the order of ENVIRONMENTS.
PALETTES = np.array(
    [
        [[0.10, 0.20, 0.06], [0.22, 0.42, 0.12], [0.48, 0.62, 0.24]],  # leaves
        [[0.18, 0.12, 0.08], [0.38, 0.27, 0.18], [0.60, 0.48, 0.34]],  # bark
        [[0.45, 0.16, 0.22], [0.80, 0.40, 0.36], [0.96, 0.72, 0.58]],  # coral
        [[0.68, 0.74, 0.82], [0.84, 0.88, 0.93], [0.97, 0.98, 1.00]],  # snow
        [[0.58, 0.46, 0.30], [0.76, 0.64, 0.45], [0.92, 0.83, 0.64]],  # sand
        [[0.24, 0.28, 0.06], [0.50, 0.55, 0.16], [0.80, 0.78, 0.40]],  # grass
        [[0.20, 0.20, 0.22], [0.44, 0.44, 0.45], [0.70, 0.69, 0.67]],  # rock
        [[0.04, 0.20, 0.34], [0.12, 0.42, 0.56], [0.50, 0.76, 0.82]],  # water
        [[0.45, 0.12, 0.12], [0.76, 0.36, 0.33], [0.95, 0.64, 0.58]],  # colon
        [[0.66, 0.46, 0.36], [0.84, 0.65, 0.53], [0.95, 0.82, 0.72]],  # skin
    ],
    dtype=np.float32,
)


@lru_cache(maxsize=4)
def _frequencies(size: int) -> tuple[Field, Field]:
    """Horizontal and vertical frequency of each cell of ``rfft2`` of a square image."""
    vertical = (np.fft.fftfreq(size) * size).astype(np.float32)
    horizontal = (np.fft.rfftfreq(size) * size).astype(np.float32)
    grid = np.meshgrid(vertical, horizontal, indexing="ij")
    return grid[1], grid[0]


@dataclass(frozen=True)
class Noise:
    """Source of filtered white noise with mean 0 and standard deviation 1.

    Attributes:
        rng: the scene's own generator; each call draws ``size * size`` normal numbers from it.
        size: side of the square in pixels.
        angle: rotation of stretched noise in radians.
        zoom: factor on every frequency.
    """

    rng: np.random.Generator
    size: int
    angle: float = 0.0
    zoom: float = 1.0

    def filtered(self, response: Field) -> Field:
        """White noise through a filter given as the gain of each cell of ``rfft2``."""
        white = self.rng.standard_normal((self.size, self.size), dtype=np.float32)
        field = np.fft.irfft2(np.fft.rfft2(white) * response, s=white.shape)
        field -= field.mean()
        return np.asarray(field / (field.std() + 1e-6), dtype=np.float32)

    def band(self, centre: float, width: float) -> Field:
        """Noise of all directions around one frequency."""
        kx, ky = _frequencies(self.size)
        radius = np.sqrt(kx * kx + ky * ky)
        gain = np.exp(-(((radius - centre * self.zoom) / (width * self.zoom)) ** 2))
        return self.filtered(gain.astype(np.float32))

    def stretched(self, across: float, along: float, turn: float = 0.0) -> Field:
        """Noise with its own band along two perpendicular axes, turned by ``angle + turn``."""
        kx, ky = _frequencies(self.size)
        cos, sin = np.cos(self.angle + turn), np.sin(self.angle + turn)
        u = (kx * cos + ky * sin) / (across * self.zoom)
        v = (ky * cos - kx * sin) / (along * self.zoom)
        return self.filtered(np.exp(-(u * u + v * v)).astype(np.float32))

    def cloud(self, power: float, limit: float = np.inf) -> Field:
        """Noise whose gain falls with the given power of the frequency, with a soft upper limit."""
        kx, ky = _frequencies(self.size)
        radius = np.maximum(np.sqrt(kx * kx + ky * ky), 1.0)
        gain = radius**-power * np.exp(-((radius / (limit * self.zoom)) ** 2))
        return self.filtered(gain.astype(np.float32))

    def fine(self, centre: float = 40.0) -> Field:
        """Grain of the surface."""
        return self.band(centre, 14.0)


def _as_field(values: npt.NDArray[np.floating]) -> Field:
    return values.astype(np.float32, copy=False)


def _leaves(noise: Noise) -> Field:
    blobs = np.tanh(2.2 * noise.band(7.0, 2.5))
    return _as_field(0.5 + 0.33 * blobs + 0.12 * noise.stretched(16.0, 3.0, 0.6))


def _bark(noise: Noise) -> Field:
    return _as_field(0.85 - 0.55 * np.abs(noise.stretched(11.0, 2.2)) + 0.07 * noise.fine())


def _coral(noise: Noise) -> Field:
    return _as_field(0.5 + 0.36 * np.tanh(2.0 * noise.band(9.0, 1.6)) + 0.06 * noise.fine())


def _snow(noise: Noise) -> Field:
    return _as_field(0.55 + 0.20 * noise.stretched(4.0, 3.0) + 0.09 * noise.fine())


def _sand(noise: Noise) -> Field:
    return _as_field(0.5 + 0.17 * noise.stretched(2.0, 9.0) + 0.16 * noise.fine())


def _grass(noise: Noise) -> Field:
    blades = np.maximum(noise.stretched(24.0, 3.0, 0.25), noise.stretched(24.0, 3.0, -0.3))
    return _as_field(0.38 + 0.26 * blades)


def _rock(noise: Noise) -> Field:
    cracks = np.exp(-((noise.band(4.0, 2.0) / 0.12) ** 2))
    return _as_field(0.55 + 0.18 * noise.cloud(1.5, 30.0) - 0.35 * cracks + 0.05 * noise.fine())


def _water(noise: Noise) -> Field:
    return _as_field(0.42 + 0.30 * np.sin(2.4 * noise.stretched(3.0, 8.0)) + 0.05 * noise.fine())


def _colon(noise: Noise) -> Field:
    vessels = np.exp(-((noise.band(4.0, 2.0) / 0.1) ** 2))
    return _as_field(0.55 + 0.16 * noise.cloud(2.0) - 0.16 * vessels)


def _skin(noise: Noise) -> Field:
    return _as_field(
        0.55 + 0.10 * noise.cloud(1.8) + 0.12 * noise.fine(30.0) - 0.03 * noise.fine(50.0)
    )


_FIELDS: tuple[Callable[[Noise], Field], ...] = (
    _leaves, _bark, _coral, _snow, _sand, _grass, _rock, _water, _colon, _skin,
)  # fmt: skip


def surface(environment: int, noise: Noise) -> Field:
    """Lightness of an environment's surface.

    Args:
        environment: index into ENVIRONMENTS.
        noise: the source of noise; its angle and zoom vary the texture.

    Returns:
        Float32 ``(size, size)``, about 0 (dark) to 1 (light), clipped to [-0.2, 1.2].
    """
    return _as_field(np.clip(_FIELDS[environment](noise), -0.2, 1.2))


def colour(lightness: Field, palette: Field) -> Field:
    """Colour of each pixel, linear between the three colours of a palette.

    Args:
        lightness: ``(H, W)``; 0 is the dark, 0.5 the middle and 1 the light colour.
        palette: ``(3, 3)``: dark, middle and light RGB.

    Returns:
        ``(H, W, 3)`` RGB; beyond 0..1 the last segment is continued.
    """
    value = lightness[..., None]
    dark, middle, light = palette
    lower = dark + (middle - dark) * (2.0 * value)
    upper = middle + (light - middle) * (2.0 * value - 1.0)
    return _as_field(np.where(value < 0.5, lower, upper))


def palette_of(environment: int, rng: np.random.Generator) -> Field:
    """The environment's three colours with a shift of all and of each, ``(3, 3)`` RGB."""
    shift = 0.05 * rng.standard_normal((1, 3)) + 0.03 * rng.standard_normal((3, 3))
    return _as_field(PALETTES[environment] + shift)
