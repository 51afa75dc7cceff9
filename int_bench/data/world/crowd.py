"""Crowds of the drawn world: two to five animals that touch, and skins that no part gives away.

Two things that SAPNet (arXiv 2312.15895) repairs need a world of their own. Neighbours lie at .72
to .95 of the sum of their half sides, three quarters of them of one kind, so that a segmenter may
take a group for an animal. And an animal is a *chimera*: its front half carries one of three
patterns, its rear half another, and its class is the ordered pair, so that no part of it tells the
class, which in worlds 1 and 2 every patch of skin does. A pattern is a hue; a front half wears it
in light checks, a rear half in dark stripes, so that small networks learn the order in minutes
whatever the outline, which says nothing of the class either.

A crowd depends on (seed, split, index) alone, and who is where not even on its size in pixels.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from itertools import permutations

import numpy as np
import numpy.typing as npt

from int_bench.data.world.names import ANIMALS
from int_bench.data.world.painting import Backdrop, Place, paint
from int_bench.data.world.textures import Field, Noise, colour, palette_of, surface

PATTERNS = ("red", "green", "blue")
CATEGORIES = tuple(f"{front} {rear}" for front, rear in permutations(PATTERNS, 2))
"""The classes: the pattern of the front half, then that of the rear half."""
_SIDES = {2: (0.34, 0.50), 3: (0.31, 0.44), 4: (0.28, 0.38), 5: (0.26, 0.34)}
"""Half sides of the animals of a scene, by their number."""
_SHARES = (0.4, 0.3, 0.2, 0.1)
"""Of the scenes with so many."""

_LYING = frozenset(ANIMALS.index(name) for name in ("snake", "fish", "lizard"))
"""Whose heads lie at x = 1 of their own frames; the other heads lie at y = -1."""
_NEAREST, _FARTHEST = 0.72, 0.95
"""Between the centres of neighbours, as a share of the sum of their half sides."""
_SAME_KIND = 0.75
_TRIES, _SHRINK = 48, 0.97
"""Places that are tried for an animal; what all sides are scaled by where a crowd has no room."""
_HUE, _LIGHT, _TEXTURE = 1.8, 0.7, 0.4
"""Of a skin, in contrasts of the scene: how far its hue is from grey, how much lighter a front half
is than the coat and a rear half darker, and its checks or stripes."""
_HUES = _HUE * (np.eye(3, dtype=np.float32) - np.float32(1.0 / 3.0))


@dataclass(frozen=True)
class Animal:
    """One animal: indices into ANIMALS (its outline) and CATEGORIES (its skin), and its place."""

    outline: int
    category: int
    place: Place


@dataclass(frozen=True)
class Crowd:
    """Who is where; nothing is painted yet.

    Attributes:
        animals: the first lies on top.
        environment: index into ENVIRONMENTS, 0 to 7.
        key: what the painting's own randomness is drawn from.
    """

    animals: tuple[Animal, ...]
    environment: int
    key: str


def crowd(split: str, index: int, seed: int = 0) -> Crowd:
    """The crowd of this number in its split."""
    key = f"camoworld_crowd/{seed}/{split}/{index}"
    rng = _generator(key)
    environment, count = int(rng.integers(8)), int(rng.choice(list(_SIDES), p=_SHARES))
    animals = _settled(rng, count)
    return Crowd(tuple(animals), environment, f"{key}/painting")


def paint_crowd(scene: Crowd, size: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """The scene, and what of each animal is visible.

    Args:
        scene: who is where.
        size: side of the square picture in pixels.

    Returns:
        (S, S, 3) uint8 RGB, and (N, S, S) bool, disjoint, in the order of ``scene.animals``.
    """
    rng = _generator(scene.key)
    palette, camouflage = palette_of(scene.environment, rng), float(rng.random())
    angle, zoom = float(rng.uniform(-0.35, 0.35)), float(rng.uniform(0.8, 1.25))
    backdrop = Backdrop(scene.environment, palette, angle, zoom, camouflage, size)
    light = surface(scene.environment, Noise(rng, size, angle, zoom))
    light = light + 0.07 * np.clip(Noise(rng, size).cloud(2.0), -2.0, 2.0)
    image = colour(light.astype(np.float32), palette)
    masks = np.zeros((len(scene.animals), size, size), dtype=np.bool_)
    for slot, animal in reversed(list(enumerate(scene.animals))):
        skin = partial(chimera_skin, animal)
        image, masks[slot] = paint(image, rng, animal.outline, animal.place, backdrop, skin)
    for slot in range(1, len(masks)):
        masks[slot] &= ~masks[:slot].any(axis=0)
    image = image + 0.015 * rng.standard_normal((size, size, 1), dtype=np.float32)
    return np.rint(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8), masks


def chimera_skin(animal: Animal, x: Field, y: Field) -> Field:
    """The colours of a skin beside its coat's, in the animal's own frame.

    Args:
        animal: whose.
        x: horizontal coordinate of each pixel in the animal's frame, (S, S).
        y: vertical coordinate, downwards.

    Returns:
        (S, S, 3) float32 RGB within [-2, 2.4], in contrasts of the scene.
    """
    along, across = (x, y) if animal.outline in _LYING else (-y, x)
    front, rear = list(permutations(range(len(PATTERNS)), 2))[animal.category]
    is_front = along > 0
    checks = np.sign(np.cos(9.0 * along) * np.cos(9.0 * across))
    grey = np.where(is_front, _LIGHT + _TEXTURE * checks, _TEXTURE * np.cos(20.0 * along) - _LIGHT)
    hue = np.where(is_front[..., None], _HUES[front], _HUES[rear])
    return np.asarray(grey[..., None] + hue, dtype=np.float32)


def _generator(key: str) -> np.random.Generator:
    digest = hashlib.sha256(key.encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def _settled(rng: np.random.Generator, count: int) -> list[Animal]:
    """So many animals, each the neighbour of an earlier one; smaller ones where they need room."""
    low, high = _SIDES[count]
    animals: list[Animal] = []
    while len(animals) < count:
        scale = float(rng.uniform(low, high))
        neighbour = _beside(rng, animals, scale) if animals else _alone(rng, scale)
        if neighbour is not None:
            animals.append(neighbour)
        else:
            animals, low, high = [], low * _SHRINK, high * _SHRINK
    return animals


def _alone(rng: np.random.Generator, scale: float) -> Animal:
    x, y = rng.uniform(-_reach(scale), _reach(scale), 2)
    outline, category = rng.integers(len(ANIMALS)), rng.integers(len(CATEGORIES))
    return Animal(int(outline), int(category), Place(scale, float(x), float(y)))


def _beside(rng: np.random.Generator, animals: list[Animal], scale: float) -> Animal | None:
    """A neighbour of one of the animals that crowds no other; None where there is no room."""
    beside = animals[int(rng.integers(len(animals)))]
    if rng.random() < _SAME_KIND:
        outline, category = beside.outline, beside.category
    else:
        others = [kind for kind in range(len(CATEGORIES)) if kind != beside.category]
        outline, category = int(rng.integers(len(ANIMALS))), int(rng.choice(others))
    for _ in range(_TRIES):
        turn, share = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(_NEAREST, _FARTHEST)
        distance = share * (beside.place.scale + scale)
        x = float(beside.place.x + distance * np.cos(turn))
        y = float(beside.place.y + distance * np.sin(turn))
        place = Place(scale, x, y)
        apart = all(_share_apart(place, other.place) >= _NEAREST for other in animals)
        if apart and max(abs(x), abs(y)) <= _reach(scale):
            return Animal(outline, category, place)
    return None


def _share_apart(first: Place, second: Place) -> float:
    """The distance of two centres as a share of the sum of the half sides."""
    distance = np.hypot(first.x - second.x, first.y - second.y)
    return float(distance / (first.scale + second.scale)) + 1e-9  # of a share that was drawn


def _reach(scale: float) -> float:
    return max(1.0 - 0.95 * scale, 0.1)
