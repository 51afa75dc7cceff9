"""World 2 of the drawn world: hidden animals among decoys, so that names decide.

A *decoy* has the outline of what its environment suggests (the favourite), in the environment's
own coat, without eyes and with that animal's skin pattern at a share of its contrast. It is not an
animal and never truth. Polyps hide among folds, bubbles and highlights, lesions among moles, hair
and ink. A prompt that the environment alone suggests leads to a decoy, as in Fig. 1 of INT (arXiv
2501.18753). Validation, test and demo show 1 to 3 decoys; training also scenes without any, other
names' decoys, and larger animals.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from int_bench.data.world.names import CLUTTER, FAVOURITE, LOOKALIKE, TARGETS
from int_bench.data.world.painting import Backdrop, Place, paint, paint_decoy
from int_bench.data.world.textures import Field, Noise, colour, palette_of, surface

LEVELS = {"easy": 0.3, "medium": 0.5, "hard": 0.8}
"""Contrast of a decoy's skin pattern as a share of an animal's."""
_ENVIRONMENT = {"polyp": 8, "skin": 9}
_ANIMAL, _PAIR, _LARGE, _DECOY = (0.25, 0.49), (0.24, 0.40), (0.45, 0.70), (0.24, 0.42)
_APART = 0.95  # of the sum of two half sides
_OVERLAP = 0.12  # a decoy that would reach further into another figure is left out


@dataclass(frozen=True)
class Wish:
    """What a scene should be; the fields are those of `camoworld.draw`."""

    split: str
    task: str
    animals: str
    favourite: float | None
    level: str
    size: int

    @property
    def training(self) -> bool:
        """Training scenes vary more, and the favourite may hide at home."""
        return self.split == "train"


@dataclass(frozen=True)
class Labels:
    """What a scene shows: indices into NAMES and ENVIRONMENTS, and camouflage in 0..1."""

    names: list[int]
    environment: int
    camouflage: float
    decoys: list[int]


@dataclass(frozen=True)
class Scene:
    """One scene: float32 RGB about 0..1, with and without animals; bool masks; labels."""

    image: Field
    clean: Field
    masks: npt.NDArray[np.bool_]
    decoys: npt.NDArray[np.bool_]
    labels: Labels


def compose(rng: np.random.Generator, wish: Wish) -> Scene:
    """Draw one scene of world 2."""
    names, environment = _hidden(rng, wish)
    suggested = _suggested(rng, wish, environment, names)
    size, palette, camouflage = wish.size, palette_of(environment, rng), float(rng.random())
    angle, zoom = float(rng.uniform(-0.35, 0.35)), float(rng.uniform(0.8, 1.25))
    backdrop = Backdrop(environment, palette, angle, zoom, camouflage, size)
    light = surface(environment, Noise(rng, size, angle, zoom))
    light = light + 0.07 * np.clip(Noise(rng, size).cloud(2.0), -2.0, 2.0)
    clean = colour(light.astype(np.float32), palette)
    places = _animals(rng, len(names), wish.training)
    decoys, shown = np.zeros((3, size, size), dtype=bool), list[int]()
    strength = LEVELS[wish.level] if not wish.training else float(rng.uniform(0.3, 0.8))
    taken = list(places)
    for name in suggested:
        place = _apart(rng, _DECOY, taken)
        if place is not None:
            clean, decoys[len(shown)] = paint_decoy(clean, rng, name, place, backdrop, strength)
            shown.append(name)
            taken.append(place)
    image, masks = clean, np.zeros((2, size, size), dtype=bool)
    # The last figure painted lies on top: paint backwards, then the first mask is whole.
    for slot in reversed(range(len(names))):
        image, masks[slot] = paint(image, rng, names[slot], places[slot], backdrop)
    _part(masks, decoys)
    grain = 0.015 * rng.standard_normal((size, size, 1), dtype=np.float32)
    labels = Labels(names, environment, camouflage, shown)
    return Scene(image + grain, clean + grain, masks, decoys, labels)


def _hidden(rng: np.random.Generator, wish: Wish) -> tuple[list[int], int]:
    """Names of what hides, and the environment."""
    animals = wish.animals
    if animals == "mixed":
        chance = rng.random()
        animals = "one" if chance < 0.7 else "two_same" if chance < 0.85 else "two_different"
    kinds = list(TARGETS[wish.task])
    environment, first = _ENVIRONMENT.get(wish.task, 0), int(rng.choice(kinds))
    if wish.task == "cod":
        environment = int(rng.integers(8))
        best, prior = FAVOURITE[environment], wish.favourite if wish.training else 0.0
        rivals = [kind for kind in kinds if kind != best]
        if prior is not None:
            first = best if rng.random() < prior else int(rng.choice(rivals))
        kinds = kinds if wish.training and wish.favourite is None else rivals
    if animals == "one":
        return [first], environment
    if animals == "two_same":
        return [first, first], environment
    return [first, int(rng.choice([kind for kind in kinds if kind != first]))], environment


def _suggested(
    rng: np.random.Generator, wish: Wish, environment: int, names: list[int]
) -> list[int]:
    """What the decoys look like: the favourite; in training for two scenes in five another name."""
    if not wish.training:
        count = int(rng.integers(1, 4))
    else:
        count = int(rng.choice(4, p=(0.2, 0.3, 0.3, 0.2)))
    best = LOOKALIKE[environment]
    if wish.task != "cod":
        clutter = CLUTTER[wish.task]
        return [best if i == 0 else int(rng.choice(clutter)) for i in range(count)]
    if wish.training and (best in names or rng.random() < 0.4):
        best = int(rng.choice([name for name in TARGETS["cod"] if name not in names]))
    return [best] * count


def _animals(rng: np.random.Generator, count: int, training: bool) -> list[Place]:
    """Places of what hides, apart from each other; one in five alone in training is large."""
    span = _ANIMAL if count == 1 else _PAIR
    if training:
        span = _LARGE if count == 1 and rng.random() < 0.2 else (span[0] - 0.04, span[1])
    places = [_anywhere(rng, span)]
    while len(places) < count:
        place = _apart(rng, span, places)
        if place is not None:
            places.append(place)
    return places


def _anywhere(rng: np.random.Generator, span: tuple[float, float]) -> Place:
    scale = float(rng.uniform(*span))
    reach = max(1.0 - 0.95 * scale, 0.1)
    x, y = rng.uniform(-reach, reach, 2)
    return Place(scale, float(x), float(y))


def _apart(
    rng: np.random.Generator, span: tuple[float, float], taken: list[Place], tries: int = 32
) -> Place | None:
    """A place apart from the others; None where there is hardly any room."""
    best, widest = None, -_OVERLAP
    for _ in range(tries):
        place = _anywhere(rng, span)
        gap = min(
            max(abs(place.x - neighbour.x), abs(place.y - neighbour.y))
            - _APART * (place.scale + neighbour.scale)
            for neighbour in taken
        )
        if gap >= 0.0:
            return place
        if gap > widest:
            best, widest = place, gap
    return best


def _part(masks: npt.NDArray[np.bool_], decoys: npt.NDArray[np.bool_]) -> None:
    """Make masks disjoint in place: a pixel belongs to the figure that is painted last."""
    taken = np.zeros_like(masks[0])
    for layer in (masks[0], masks[1], decoys[2], decoys[1], decoys[0]):
        layer &= ~taken
        taken |= layer
