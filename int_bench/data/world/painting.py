"""How an animal, a decoy or clutter is painted into a scene of the drawn world.

All coordinates are the image's frame, [-1, 1] to the right and downwards, unless said otherwise;
images are float32 RGB in 0..1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from int_bench.data.world.names import ANIMALS, NAMES
from int_bench.data.world.shapes import silhouette, skin_pattern
from int_bench.data.world.textures import Field, Noise, colour, surface

_OWL, _COLON, _SKIN = 3, 8, 9
_POLYP_LIKE = frozenset(NAMES.index(n) for n in ("polyp", "adenoma", "serrated", "villous"))
_FAINT = 0.55  # contrast of a polyp's or lesion's pattern as a share of an animal's
_EDGE = 0.6  # softness of an outline, pixels
_INK = np.array([0.30, 0.22, 0.58], dtype=np.float32)
_GLARE = np.array([1.0, 0.98, 0.95], dtype=np.float32)


@dataclass(frozen=True)
class Place:
    """Where a figure sits: half side and centre in the image's frame of [-1, 1]."""

    scale: float
    x: float
    y: float


@dataclass(frozen=True)
class Backdrop:
    """What all figures of one scene share."""

    environment: int
    palette: Field
    angle: float
    zoom: float
    camouflage: float
    size: int


def paint(
    image: Field,
    rng: np.random.Generator,
    name: int,
    place: Place,
    backdrop: Backdrop,
    skin: Callable[[Field, Field], Field] | None = None,
) -> tuple[Field, npt.NDArray[np.bool_]]:
    """The image with one more animal (polyp, lesion) on it, and its mask ``(S, S)``.

    ``skin`` is its pattern by x and y of its own frame, (S, S, 3) in RGB, instead of the one that
    goes with its name, which is grey.
    """
    size, ease = backdrop.size, 1.0 - backdrop.camouflage
    x, y = _frame(rng, name, place, size)
    figure = silhouette(name, x, y, rng)
    distance = figure.distance
    if name >= len(ANIMALS):
        wobble = (4.0, 0.05) if name in _POLYP_LIKE else (8.0, 0.09)
        distance = distance + Noise(rng, size).band(0.0, wobble[0]) * wobble[1]
    unit = place.scale * size / 2.0
    distance = (distance * unit).astype(np.float32)
    tone = np.zeros_like(distance)
    for part, strength in figure.features:
        cover = _cover(part * unit)
        tone = tone * (1.0 - cover) + strength * cover
    light = 0.06 * ease * (y < 0)
    contrast = 0.11 + 0.11 * ease
    pattern = skin_pattern(name, x, y)[..., None] if skin is None else skin(x, y)
    marked = contrast * (1.0 if name < len(ANIMALS) else _FAINT)
    eyes = (0.13 + 0.17 * ease) * tone * _cover(distance)
    relief = eyes[..., None] + marked * pattern
    # Light environments leave room above the coat, or its pattern would saturate to white.
    coat = np.minimum(_coat(rng, backdrop), 1.0 - 0.6 * contrast)
    return _laid(image, distance, coat, relief, light, backdrop), distance < 0


def paint_decoy(
    image: Field,
    rng: np.random.Generator,
    name: int,
    place: Place,
    backdrop: Backdrop,
    strength: float,
) -> tuple[Field, npt.NDArray[np.bool_]]:
    """The image with a decoy on it, and the decoy's mask ``(S, S)``.

    A decoy has an animal's outline in the environment's coat, no eyes, and that animal's skin
    pattern at ``strength`` times its contrast; clutter of the medical tasks has colours of its own.
    """
    size, ease = backdrop.size, 1.0 - backdrop.camouflage
    x, y = _frame(rng, name, place, size)
    unit = place.scale * size / 2.0
    distance = (silhouette(name, x, y, rng).distance * unit).astype(np.float32)
    contrast = (0.11 + 0.11 * ease) * strength
    coat = np.minimum(_coat(rng, backdrop), 1.0 - 0.6 * contrast)
    if name >= len(ANIMALS):
        return _clutter(image, NAMES[name], distance, (x, y), coat, backdrop, strength)
    relief = contrast * skin_pattern(name, x, y)[..., None]
    return _laid(image, distance, coat, relief, np.zeros_like(x), backdrop), distance < 0


def _laid(
    image: Field,
    distance: Field,
    coat: Field,
    relief: Field,
    light: npt.NDArray[np.floating],
    backdrop: Backdrop,
) -> Field:
    """The image with a coat laid over the inside of an outline, darker at its rim.

    ``relief`` is added to the coat, (S, S, 1) or (S, S, 3).
    """
    ease = 1.0 - backdrop.camouflage
    rim = np.exp(-((distance / (0.02 * backdrop.size)) ** 2))
    shade = 1.0 - (0.20 + 0.16 * ease) * rim * (distance < 0) + light
    figure = coat * shade[..., None] + relief
    shadow = 1.0 - 0.12 * rim * (distance >= 0)
    body = _cover(distance)[..., None]
    laid = image * shadow[..., None] * (1.0 - body) + figure * body
    return np.asarray(laid, dtype=np.float32)


def _clutter(  # noqa: PLR0913  (layers of one figure)
    image: Field,
    kind: str,
    distance: Field,
    frame: tuple[Field, Field],
    coat: Field,
    backdrop: Backdrop,
    strength: float,
) -> tuple[Field, npt.NDArray[np.bool_]]:
    """Folds, bubbles, highlights; moles, hair, ink. ``distance`` is in pixels."""
    x, y = frame
    inside, veil = distance < 0, _cover(distance)[..., None]
    if kind == "fold":
        relief = (0.03 + 0.16 * strength * np.cos(9.0 * x)).astype(np.float32)[..., None]
        return _laid(image, distance, coat, relief, 0.10 * np.sign(-y), backdrop), inside
    if kind == "mole":
        dark = coat * np.float32(0.95 - 0.25 * strength)
        flat = np.zeros_like(x)
        return _laid(image, distance, dark, flat[..., None], flat, backdrop), inside
    if kind == "bubble":
        rim = np.exp(-((distance / (0.02 * backdrop.size)) ** 2)) * inside
        spot = np.exp(-((x + 0.22) ** 2 + (y + 0.22) ** 2) / 0.012) * inside
        glow = 0.05 * inside + (0.18 + 0.20 * strength) * rim + 0.6 * spot
        return (image + glow[..., None]).astype(np.float32), inside
    tint, share = {
        "highlight": (_GLARE, 0.85),
        "ink": (_INK, 0.55),
        "hair": (0.25 * backdrop.palette[0], 0.8),
    }[kind]
    cover = veil * np.float32(share)
    return (image * (1.0 - cover) + tint * cover).astype(np.float32), inside


def _cover(distance: Field) -> Field:
    """Share of each pixel that lies inside an outline given as a signed distance in pixels."""
    return np.asarray(1.0 / (1.0 + np.exp(np.clip(distance / _EDGE, -30, 30))), dtype=np.float32)


def _frame(rng: np.random.Generator, name: int, place: Place, size: int) -> tuple[Field, Field]:
    """Coordinates of each pixel in the animal's frame: turned, mirrored, stretched and warped."""
    turn = rng.uniform(-np.pi, np.pi) * (0.15 if name == _OWL else 1.0)
    mirror, aspect = rng.choice((-1.0, 1.0)), rng.uniform(0.88, 1.14)
    centres = ((np.arange(size) + 0.5) / size * 2.0 - 1.0).astype(np.float32)
    u, v = (centres[None, :] - place.x) / place.scale, (centres[:, None] - place.y) / place.scale
    warp = [0.0175 / place.scale * Noise(rng, size).band(0.0, 3.0) for _ in range(2)]
    x = (u * np.cos(turn) + v * np.sin(turn)) * mirror * aspect + warp[0]
    y = (v * np.cos(turn) - u * np.sin(turn)) / aspect + warp[1]
    return x.astype(np.float32), y.astype(np.float32)


def _coat(rng: np.random.Generator, backdrop: Backdrop) -> Field:
    """The environment's texture at another angle and zoom, with a small shift of colour."""
    ease, side = 1.0 - backdrop.camouflage, rng.choice((-1.0, 1.0))
    zoom = 1.35 + 0.25 * ease if rng.random() < 0.5 else 0.74 - 0.14 * ease
    angle = backdrop.angle + side * (0.5 + 0.5 * ease)
    texture = surface(
        backdrop.environment, Noise(rng, backdrop.size, float(angle), backdrop.zoom * zoom)
    )
    hue = rng.standard_normal(3)
    hue *= (0.05 + 0.09 * ease) / np.linalg.norm(hue)
    if backdrop.environment == _COLON:
        hue = np.array([0.10, -0.05, -0.03]) * (0.5 + ease)
    if backdrop.environment == _SKIN:
        hue = np.array([-0.22, -0.22, -0.18]) * (0.35 + 0.65 * ease)
    shift = side * (0.04 + 0.07 * ease) + hue
    return np.asarray(colour(texture, backdrop.palette) + shift, dtype=np.float32)
