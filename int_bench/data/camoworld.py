"""The drawn world: procedural scenes of hidden animals, polyps and lesions with exact ground truth.

An animal wears the colours of its environment; its silhouette, its eyes and a skin pattern of its
own tell what it is. Each animal is the *favourite* of one environment: training data may correlate
the two, so that a language model acquires a prior; validation and test never show the favourite,
so that the prior misleads, as in Fig. 1 of INT (arXiv 2501.18753).

A scene depends on (seed, split, task, animals, index) alone: it has its own generator and its own
transforms, so its bytes are the same in whatever batch it is drawn.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from int_bench.data.camoworld_shapes import silhouette, skin_pattern
from int_bench.data.camoworld_textures import Field, Noise, colour, palette_of, surface
from int_bench.errors import UsageError

ANIMALS = ("frog", "snake", "fish", "owl", "crab", "moth", "lizard", "spider")
NAMES = (*ANIMALS, "polyp", "lesion")
ENVIRONMENTS = (
    "leaves", "bark", "coral", "snow", "sand", "grass", "rock", "water", "colon", "skin",
)  # fmt: skip
FAVOURITE = (0, 1, 2, 3, 4, 5, 6, 7)
"""``FAVOURITE[i]`` is the index of the animal that goes with environment ``i``, for ``i < 8``."""
TASK_PROMPTS = {"cod": "camouflaged animal", "polyp": "polyp", "skin": "skin lesion"}
SPLITS = ("train", "validation", "test")
COMPANIES = ("one", "two_same", "two_different")

_MEDICAL = {"polyp": 8, "skin": 9}
_OWL, _COLON, _SKIN = 3, 8, 9
_EDGE = 0.6  # softness of an outline, pixels


@dataclass(frozen=True)
class Scenes:
    """A batch of scenes with ground truth; S is the side in pixels.

    Attributes:
        images: ``(N, S, S, 3)`` uint8 RGB.
        clean: ``(N, S, S, 3)`` uint8 RGB, the same scenes without any animal or shadow.
        masks: ``(N, 2, S, S)`` bool, disjoint; the second is empty in a scene with one animal.
        names: ``(N, 2)`` int64 index into NAMES, -1 where there is no second animal.
        environments: ``(N,)`` int64 index into ENVIRONMENTS.
        camouflage: ``(N,)`` float32, 0 easy to 1 hard.
    """

    images: npt.NDArray[np.uint8]
    clean: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.bool_]
    names: npt.NDArray[np.int64]
    environments: npt.NDArray[np.int64]
    camouflage: npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Place:
    """Where an animal sits: half side and centre in the image's frame of [-1, 1]."""

    scale: float
    x: float
    y: float


@dataclass(frozen=True)
class _Backdrop:
    """What all animals of one scene share."""

    environment: int
    palette: Field
    angle: float
    zoom: float
    camouflage: float
    size: int


def draw(  # noqa: PLR0913  (the keywords are the world's own vocabulary)
    split: str,
    indices: Iterable[int],
    *,
    task: str = "cod",
    animals: str = "one",
    favourite: float | None = None,
    seed: int = 0,
    size: int = 128,
) -> Scenes:
    """Draw scenes of one split.

    Args:
        split: "train", "validation" or "test"; splits share no scene.
        indices: Number of each scene within its split.
        task: "cod" (animals), "polyp" or "skin".
        animals: "one", "two_same" (two of one kind) or "two_different" (cod only).
        favourite: Probability that the (first) animal is its environment's favourite, train split
            only; None draws all eight alike. Validation and test never show the favourite.
        seed: Seed of the world.
        size: Side of the square scenes in pixels.

    Raises:
        UsageError: Unknown split, task or number of animals, or a favourite where there is none.
    """
    _check(split, task, animals, favourite)
    scenes = []
    for index in indices:
        key = f"camoworld/{seed}/{split}/{task}/{animals}/{int(index)}"
        digest = hashlib.sha256(key.encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:16], "little"))
        chance = favourite if split == "train" else 0.0
        names, environment = _labels(rng, task, animals, chance)
        scenes.append(_scene(rng, names, environment, size))
    return _stack(scenes, size)


def boxes(masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Bounding boxes of masks.

    Args:
        masks: ``(..., H, W)`` bool.

    Returns:
        ``(..., 4)`` float32 x0, y0, x1, y1 in pixels of the image, half open; zeros where empty.
    """
    columns, rows = masks.any(-2), masks.any(-1)
    x0, y0 = np.argmax(columns, -1), np.argmax(rows, -1)
    x1 = masks.shape[-1] - np.argmax(np.flip(columns, -1), -1)
    y1 = masks.shape[-2] - np.argmax(np.flip(rows, -1), -1)
    box = np.stack([x0, y0, x1, y1], -1)
    return np.where(np.any(columns, -1)[..., None], box, 0).astype(np.float32)


def _check(split: str, task: str, animals: str, favourite: float | None) -> None:
    for what, given, valid in (
        ("split", split, SPLITS),
        ("task", task, tuple(TASK_PROMPTS)),
        ("number of animals", animals, COMPANIES),
    ):
        if given not in valid:
            raise UsageError(f"Unknown {what} '{given}' of camoworld: use {', '.join(valid)}.")
    if task != "cod" and animals == "two_different":
        raise UsageError(f"Task '{task}' has one kind of target: use animals one or two_same.")
    if favourite and (split != "train" or task != "cod"):
        raise UsageError("Only the train split of task 'cod' has a favourite: leave it out.")
    if favourite is not None and not 0.0 <= favourite <= 1.0:
        raise UsageError(f"The favourite's probability is {favourite}: give a number from 0 to 1.")


def _labels(
    rng: np.random.Generator, task: str, animals: str, favourite: float | None
) -> tuple[list[int], int]:
    """Names and environment of a scene."""
    if task != "cod":
        name = _MEDICAL[task]
        return [name] * (1 if animals == "one" else 2), name
    environment = int(rng.integers(8))
    best = FAVOURITE[environment]
    others = [animal for animal in range(8) if animal != best]
    first = int(rng.choice(others)) if favourite is not None else int(rng.integers(8))
    if favourite is not None and rng.random() < favourite:
        first = best
    if animals == "one":
        return [first], environment
    if animals == "two_same":
        return [first, first], environment
    pool = [a for a in (others if favourite is not None else range(8)) if a != first]
    return [first, int(rng.choice(pool))], environment


def _places(rng: np.random.Generator, count: int) -> list[_Place]:
    """Places of the animals; two are smaller and keep their nominal squares apart."""
    low, high = (0.40, 0.70) if count == 1 else (0.30, 0.46)
    places = [_place(rng, low, high)]
    if count == 2:
        rivals = [_place(rng, low, high) for _ in range(16)]
        first = places[0]
        gaps = [
            max(abs(p.x - first.x), abs(p.y - first.y)) - 1.05 * (p.scale + first.scale)
            for p in rivals
        ]
        apart = [p for p, gap in zip(rivals, gaps, strict=True) if gap >= 0.0]
        places.append(apart[0] if apart else rivals[int(np.argmax(gaps))])
    return places


def _place(rng: np.random.Generator, low: float, high: float) -> _Place:
    scale = float(rng.uniform(low, high))
    reach = max(1.0 - 0.95 * scale, 0.1)
    x, y = rng.uniform(-reach, reach, 2)
    return _Place(scale, float(x), float(y))


def _scene(
    rng: np.random.Generator, names: list[int], environment: int, size: int
) -> tuple[Field, Field, npt.NDArray[np.bool_], list[int], int, float]:
    """Image, clean image (both float in 0..1), masks, names, environment and camouflage."""
    palette, camouflage = palette_of(environment, rng), float(rng.random())
    angle, zoom = float(rng.uniform(-0.35, 0.35)), float(rng.uniform(0.8, 1.25))
    backdrop = _Backdrop(environment, palette, angle, zoom, camouflage, size)
    light = surface(environment, Noise(rng, size, angle, zoom))
    light = light + 0.07 * np.clip(Noise(rng, size).cloud(2.0), -2.0, 2.0)
    clean = colour(light.astype(np.float32), palette)
    image, taken = clean, np.zeros((size, size), dtype=bool)
    masks = np.zeros((2, size, size), dtype=bool)
    # The last animal painted lies on top: paint backwards, then the first mask is whole.
    for slot, place in reversed(list(enumerate(_places(rng, len(names))))):
        image, masks[slot] = _paint(image, rng, names[slot], place, backdrop)
    for slot in range(2):
        masks[slot] &= ~taken
        taken |= masks[slot]
    grain = 0.015 * rng.standard_normal((size, size, 1), dtype=np.float32)
    return image + grain, clean + grain, masks, names, environment, camouflage


def _paint(
    image: Field, rng: np.random.Generator, name: int, place: _Place, backdrop: _Backdrop
) -> tuple[Field, npt.NDArray[np.bool_]]:
    """The image with one more animal on it, and the animal's mask."""
    size, ease = backdrop.size, 1.0 - backdrop.camouflage
    x, y = _frame(rng, name, place, size)
    figure = silhouette(name, x, y, rng)
    distance = figure.distance
    if name >= len(ANIMALS):
        wobble = (4.0, 0.05) if name == _COLON else (8.0, 0.09)
        distance = distance + Noise(rng, size).band(0.0, wobble[0]) * wobble[1]
    unit = place.scale * size / 2.0
    distance = (distance * unit).astype(np.float32)
    body = _cover(distance)
    tone = np.zeros_like(distance)
    for part, strength in figure.features:
        cover = _cover(part * unit)
        tone = tone * (1.0 - cover) + strength * cover
    rim = np.exp(-((distance / (0.02 * size)) ** 2))
    shade = 1.0 - (0.20 + 0.16 * ease) * rim * (distance < 0) + 0.06 * ease * (y < 0)
    contrast = 0.11 + 0.11 * ease
    relief = (0.13 + 0.17 * ease) * tone * body + contrast * skin_pattern(name, x, y)
    # Light environments leave room above the coat, or its pattern would saturate to white.
    coat = np.minimum(_coat(rng, backdrop), 1.0 - 0.6 * contrast)
    figure_colour = coat * shade[..., None] + relief[..., None]
    shadow = 1.0 - 0.12 * rim * (distance >= 0)
    body = body[..., None]
    painted = image * shadow[..., None] * (1.0 - body) + figure_colour * body
    return painted.astype(np.float32), distance < 0


def _cover(distance: Field) -> Field:
    """Share of each pixel that lies inside an outline given as a signed distance in pixels."""
    return np.asarray(1.0 / (1.0 + np.exp(np.clip(distance / _EDGE, -30, 30))), dtype=np.float32)


def _frame(rng: np.random.Generator, name: int, place: _Place, size: int) -> tuple[Field, Field]:
    """Coordinates of each pixel in the animal's frame: turned, mirrored, stretched and warped."""
    turn = rng.uniform(-np.pi, np.pi) * (0.15 if name == _OWL else 1.0)
    mirror, aspect = rng.choice((-1.0, 1.0)), rng.uniform(0.88, 1.14)
    centres = ((np.arange(size) + 0.5) / size * 2.0 - 1.0).astype(np.float32)
    u, v = (centres[None, :] - place.x) / place.scale, (centres[:, None] - place.y) / place.scale
    warp = [0.0175 / place.scale * Noise(rng, size).band(0.0, 3.0) for _ in range(2)]
    x = (u * np.cos(turn) + v * np.sin(turn)) * mirror * aspect + warp[0]
    y = (v * np.cos(turn) - u * np.sin(turn)) / aspect + warp[1]
    return x.astype(np.float32), y.astype(np.float32)


def _coat(rng: np.random.Generator, backdrop: _Backdrop) -> Field:
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


def _stack(
    scenes: list[tuple[Field, Field, npt.NDArray[np.bool_], list[int], int, float]], size: int
) -> Scenes:
    batch = len(scenes)
    out = Scenes(
        images=np.zeros((batch, size, size, 3), np.uint8),
        clean=np.zeros((batch, size, size, 3), np.uint8),
        masks=np.zeros((batch, 2, size, size), np.bool_),
        names=np.full((batch, 2), -1, np.int64),
        environments=np.zeros(batch, np.int64),
        camouflage=np.zeros(batch, np.float32),
    )
    for i, (image, clean, masks, names, environment, camouflage) in enumerate(scenes):
        out.images[i] = np.rint(np.clip(image, 0.0, 1.0) * 255.0)
        out.clean[i] = np.rint(np.clip(clean, 0.0, 1.0) * 255.0)
        out.masks[i], out.names[i, : len(names)] = masks, names
        out.environments[i], out.camouflage[i] = environment, camouflage
    return out
