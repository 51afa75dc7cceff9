"""Crowds of the drawn world: two to five animals that touch, and skins that no part gives away.

Two things that SAPNet (arXiv 2312.15895) repairs need a world of their own. Neighbours lie at .72
to .95 of the sum of their half sides, three quarters of them of one kind, so that a segmenter may
take a group for an animal. And an animal is a *chimera*: its front half carries one of three
patterns, its rear half another, and its class is the ordered pair, so that no part of it tells the
class, which in worlds 1 and 2 every patch of skin does. The front is a little lighter, so that the
order can be seen whatever the outline, which says nothing of the class either.

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

PATTERNS = ("checks", "stripes", "bars")
CATEGORIES = tuple(f"{front} {rear}" for front, rear in permutations(PATTERNS, 2))
"""The classes: the pattern of the front half, then that of the rear half."""
FEWEST, MOST = 2, 5
"""Animals in a scene."""

_LYING = frozenset(ANIMALS.index(name) for name in ("snake", "fish", "lizard"))
"""Whose heads lie at x = 1 of their own frames; the other heads lie at y = -1."""
_NEAREST, _FARTHEST = 0.72, 0.95
"""Between the centres of neighbours, as a share of the sum of their half sides."""
_SAME_KIND = 0.75
_TRIES, _SHRINK = 48, 0.97
"""Places that are tried for an animal; what all sides are scaled by where a crowd has no room."""
_FRONT = 0.35
"""How much lighter the front half is, and darker the rear half, as a share of the contrast."""


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
    environment, count = int(rng.integers(8)), int(rng.integers(FEWEST, MOST + 1))
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
    """The pattern of a skin, in the animal's own frame; float32 like ``x``, within [-1.5, 1.5]."""
    along, across = (x, y) if animal.outline in _LYING else (-y, x)
    front, rear = list(permutations(range(len(PATTERNS)), 2))[animal.category]
    tone = np.where(along > 0, _FRONT, -_FRONT)
    pattern = np.where(along > 0, _pattern(front, along, across), _pattern(rear, along, across))
    return np.asarray(pattern + tone, dtype=np.float32)


def _pattern(index: int, along: Field, across: Field) -> Field:
    """Checks, stripes around the body, or bars around it, which are wider; within [-1, 1]."""
    if index == 0:
        return np.asarray(np.sign(np.cos(12.0 * along) * np.cos(12.0 * across)), dtype=np.float32)
    frequency = 24.0 if index == 1 else 9.0
    return np.asarray(np.cos(frequency * along), dtype=np.float32)


def _generator(key: str) -> np.random.Generator:
    digest = hashlib.sha256(key.encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def _settled(rng: np.random.Generator, count: int) -> list[Animal]:
    """So many animals, each the neighbour of an earlier one; smaller ones where they need room."""
    spare = count - FEWEST
    low, high = 0.28 - 0.03 * spare, 0.44 - 0.05 * spare
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
