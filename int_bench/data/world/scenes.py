"""The drawn world: procedural scenes of hidden animals, polyps and lesions with exact ground truth.

An animal wears the colours of its environment; its silhouette, its eyes and a skin pattern of its
own tell what it is. Each animal is the *favourite* of one environment: training data may correlate
the two, so that a language model acquires a prior; validation and test never show the favourite,
so that the prior misleads, as in Fig. 1 of INT (arXiv 2501.18753).

World 2 adds *decoys*, which look like the environment's favourite and are not alive, makes the
animals smaller, and hides one or two of them (`camoworld_decoys`); world 1 has neither.

A scene depends on (world, seed, split, task, animals, level, index) alone: it has its own generator
and its own transforms, so its bytes are the same in whatever batch it is drawn.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from int_bench.data.world.decoys import LEVELS, Labels, Scene, Wish, compose
from int_bench.data.world.names import (
    ANIMALS,
    ENVIRONMENTS,
    FAVOURITE,
    LOOKALIKE,
    NAMES,
    TASK_PROMPTS,
)
from int_bench.data.world.painting import Backdrop, Place, paint
from int_bench.data.world.textures import Noise, colour, palette_of, surface
from int_bench.errors import UsageError

__all__ = [
    "ANIMALS", "ENVIRONMENTS", "FAVOURITE", "LEVELS", "LOOKALIKE", "NAMES", "TASK_PROMPTS",
    "Scenes", "boxes", "draw",
]  # fmt: skip

SPLITS = ("train", "validation", "test", "demo")
COMPANIES = ("one", "two_same", "two_different", "mixed")
WORLDS = (1, 2)

_MEDICAL = {"polyp": 8, "skin": 9}


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
        decoys: ``(N, 3, S, S)`` bool, disjoint from each other and the animals; world 2 only.
        decoy_names: ``(N, 3)`` int64 index into NAMES, what each looks like; -1 for none.
    """

    images: npt.NDArray[np.uint8]
    clean: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.bool_]
    names: npt.NDArray[np.int64]
    environments: npt.NDArray[np.int64]
    camouflage: npt.NDArray[np.float32]
    decoys: npt.NDArray[np.bool_]
    decoy_names: npt.NDArray[np.int64]


def draw(  # noqa: PLR0913  (the keywords are the world's own vocabulary)
    split: str,
    indices: Iterable[int],
    *,
    task: str = "cod",
    animals: str = "one",
    favourite: float | None = None,
    seed: int = 0,
    size: int = 128,
    world: int = 1,
    level: str = "medium",
) -> Scenes:
    """Draw scenes of one split.

    Args:
        split: "train", "validation", "test" or "demo"; splits share no scene.
        indices: number of each scene within its split.
        task: "cod" (animals), "polyp" or "skin".
        animals: "one", "two_same" (two of one kind), "two_different" (world 1: cod only), or, in
            world 2, "mixed": 70 % one, 15 % two of one kind, 15 % of two kinds.
        favourite: probability that the (first) animal is its environment's favourite, train split
            only; None draws all eight alike. Validation and test never show the favourite.
        seed: seed of the world.
        size: side of the square scenes in pixels.
        world: 1 or 2.
        level: how much a decoy of world 2 looks like the favourite: "easy", "medium" or "hard".

    Raises:
        UsageError: unknown split, task, number of animals, world or level, or a favourite where
            there is none.
    """
    _check(split, task, animals, favourite)
    _check_world(world, level, animals, task)
    scenes = []
    for index in indices:
        version = "" if world == 1 else f"2/{level}"
        key = f"camoworld{version}/{seed}/{split}/{task}/{animals}/{int(index)}"
        digest = hashlib.sha256(key.encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:16], "little"))
        if world == 2:
            scenes.append(compose(rng, Wish(split, task, animals, favourite, level, size)))
            continue
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
    for option, value, valid in (
        ("split", split, SPLITS),
        ("task", task, tuple(TASK_PROMPTS)),
        ("number of animals", animals, COMPANIES),
    ):
        if value not in valid:
            raise UsageError(f"Unknown {option} '{value}' of camoworld: use {', '.join(valid)}.")
    if favourite and (split != "train" or task != "cod"):
        raise UsageError("Only the train split of task 'cod' has a favourite: leave it out.")
    if favourite is not None and not 0.0 <= favourite <= 1.0:
        raise UsageError(f"The favourite's probability is {favourite}: give a number from 0 to 1.")


def _check_world(world: int, level: str, animals: str, task: str) -> None:
    if world not in WORLDS:
        raise UsageError(f"Unknown world {world} of camoworld: use 1 or 2.")
    if level not in LEVELS:
        raise UsageError(f"Unknown level '{level}' of camoworld: use {', '.join(LEVELS)}.")
    if world == 1 and animals == "mixed":
        raise UsageError("World 1 mixes no scenes: use animals one, two_same or two_different.")
    if world == 1 and task != "cod" and animals == "two_different":
        raise UsageError(f"Task '{task}' has one kind of target: use animals one or two_same.")


def _labels(
    rng: np.random.Generator, task: str, animals: str, favourite: float | None
) -> tuple[list[int], int]:
    """Names and environment of a scene."""
    if task != "cod":
        name = _MEDICAL[task]
        return [name] * (1 if animals == "one" else 2), name
    environment = int(rng.integers(8))
    best = FAVOURITE[environment]
    rivals = [animal for animal in range(8) if animal != best]
    first = int(rng.choice(rivals)) if favourite is not None else int(rng.integers(8))
    if favourite is not None and rng.random() < favourite:
        first = best
    if animals == "one":
        return [first], environment
    if animals == "two_same":
        return [first, first], environment
    pool = [a for a in (rivals if favourite is not None else range(8)) if a != first]
    return [first, int(rng.choice(pool))], environment


def _places(rng: np.random.Generator, count: int) -> list[Place]:
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


def _place(rng: np.random.Generator, low: float, high: float) -> Place:
    scale = float(rng.uniform(low, high))
    reach = max(1.0 - 0.95 * scale, 0.1)
    x, y = rng.uniform(-reach, reach, 2)
    return Place(scale, float(x), float(y))


def _scene(rng: np.random.Generator, names: list[int], environment: int, size: int) -> Scene:
    """A scene of world 1."""
    palette, camouflage = palette_of(environment, rng), float(rng.random())
    angle, zoom = float(rng.uniform(-0.35, 0.35)), float(rng.uniform(0.8, 1.25))
    backdrop = Backdrop(environment, palette, angle, zoom, camouflage, size)
    light = surface(environment, Noise(rng, size, angle, zoom))
    light = light + 0.07 * np.clip(Noise(rng, size).cloud(2.0), -2.0, 2.0)
    clean = colour(light.astype(np.float32), palette)
    image, taken = clean, np.zeros((size, size), dtype=bool)
    masks = np.zeros((2, size, size), dtype=bool)
    # The last animal painted lies on top: paint backwards, then the first mask is whole.
    for slot, place in reversed(list(enumerate(_places(rng, len(names))))):
        image, masks[slot] = paint(image, rng, names[slot], place, backdrop)
    for slot in range(2):
        masks[slot] &= ~taken
        taken |= masks[slot]
    grain = 0.015 * rng.standard_normal((size, size, 1), dtype=np.float32)
    nothing = np.zeros((3, size, size), dtype=bool)
    labels = Labels(names, environment, camouflage, [])
    return Scene(image + grain, clean + grain, masks, nothing, labels)


def _stack(scenes: list[Scene], size: int) -> Scenes:
    batch = len(scenes)
    out = Scenes(
        images=np.zeros((batch, size, size, 3), np.uint8),
        clean=np.zeros((batch, size, size, 3), np.uint8),
        masks=np.zeros((batch, 2, size, size), np.bool_),
        names=np.full((batch, 2), -1, np.int64),
        environments=np.zeros(batch, np.int64),
        camouflage=np.zeros(batch, np.float32),
        decoys=np.zeros((batch, 3, size, size), np.bool_),
        decoy_names=np.full((batch, 3), -1, np.int64),
    )
    for i, scene in enumerate(scenes):
        out.images[i] = np.rint(np.clip(scene.image, 0.0, 1.0) * 255.0)
        out.clean[i] = np.rint(np.clip(scene.clean, 0.0, 1.0) * 255.0)
        out.masks[i], out.decoys[i] = scene.masks, scene.decoys
        labels = scene.labels
        out.names[i, : len(labels.names)] = labels.names
        out.decoy_names[i, : len(labels.decoys)] = labels.decoys
        out.environments[i], out.camouflage[i] = labels.environment, labels.camouflage
    return out
