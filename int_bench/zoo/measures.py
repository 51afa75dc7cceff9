"""What the zoo's card measures, through the ordinary backbones.

All scenes come from the split that is asked for (the card uses the test split, where an animal
never stands in front of its favourite environment). Each measure is an array with one value per
case, so that its mean has an interval. Printed by ``int_bench.zoo.report``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from int_bench.core import geometry
from int_bench.core.equations import name_probabilities
from int_bench.core.geometry import Grid
from int_bench.core.parsing import canonical, parse_box
from int_bench.core.requests import Answer, Inpaint, Score
from int_bench.core.templates import BOX, INPAINT_NEGATIVE, INPAINT_POSITIVE, NAME
from int_bench.core.types import Box, Picture, Stencil
from int_bench.data.world.scenes import (
    ANIMALS,
    ENVIRONMENTS,
    FAVOURITE,
    NAMES,
    TASK_PROMPTS,
    Scenes,
    boxes,
    draw,
)

TASK = TASK_PROMPTS["cod"]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """One row of the card: what, one value per case, and the bars (None: reported only)."""

    role: str
    name: str
    values: Values
    must: str = ""
    aim: str = ""

    @property
    def mean(self) -> float:
        """The measured value."""
        return float(self.values.mean())

    @property
    def half_width(self) -> float:
        """Half of the 95 % interval of the mean (normal approximation over cases)."""
        return float(1.96 * self.values.std(ddof=1) / np.sqrt(len(self.values)))


@dataclass(frozen=True)
class Cases:
    """Single- and two-animal scenes of one split, as pictures."""

    single: Scenes
    pair: Scenes

    @classmethod
    def of(cls, split: str, n: int) -> Cases:
        """N scenes of world 2 with one animal and half as many with two different ones."""
        pair = draw(split, range(n // 2), animals="two_different", world=2)
        return cls(draw(split, range(n), animals="one", world=2), pair)


def chunks(n: int, size: int = 32) -> Iterator[slice]:
    """Slices that keep a batch small."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def ask(verb: Any, requests: Sequence[Any]) -> list[Any]:
    """All answers, in small batches."""
    return [answer for part in chunks(len(requests)) for answer in verb(requests[part])]


def pictures(images: NDArray[np.uint8]) -> list[Picture]:
    """The scenes as pictures."""
    return [Picture(image) for image in images]


def names_of(scenes: Scenes, slot: int = 0) -> list[str]:
    """The name of the animal in a slot of each scene."""
    return [NAMES[index] for index in scenes.names[:, slot]]


def favourites_of(scenes: Scenes) -> list[str]:
    """Each scene's environment's favourite."""
    return [ANIMALS[FAVOURITE[index]] for index in scenes.environments]


def says(vlm: Any, images: Sequence[Picture]) -> list[str]:
    """The canonical name that the VLM gives each image."""
    question = NAME.format(task=TASK)
    return [canonical(text) for text in ask(vlm.answer, [Answer(p, question) for p in images])]


def equal(said: Sequence[str], wanted: Sequence[str]) -> Values:
    """1 where the answer is the wanted one."""
    return np.array([a == b for a, b in zip(said, wanted, strict=True)], dtype=np.float64)


def overlap(first: Box, second: Box) -> float:
    """IoU of two boxes in the same frame."""
    common = geometry.area(
        (
            max(first[0], second[0]),
            max(first[1], second[1]),
            min(first[2], second[2]),
            min(first[3], second[3]),
        )
    )
    union = geometry.area(first) + geometry.area(second) - common
    return common / union if union > 0 else 0.0


def answered_boxes(vlm: Any, images: Sequence[Picture]) -> list[Box | None]:
    """The VLM's box of each (square) image in pixels; None where it gave none."""
    side = images[0].size[0]
    texts = ask(vlm.answer, [Answer(p, BOX.format(task=TASK)) for p in images])
    parsed = [parse_box(text, side) for text in texts]
    return [box and (box[0] * side, box[1] * side, box[2] * side, box[3] * side) for box in parsed]


def measure_vlm(models: Mapping[str, Any], cases: Cases) -> list[Measure]:
    """Names, hallucination and boxes of the tiny LLaVA."""
    vlm, scenes = models["vlm"], cases.single
    truth, favourite = names_of(scenes), favourites_of(scenes)
    images, clean = pictures(scenes.images), pictures(scenes.clean)
    said, said_clean = says(vlm, images), says(vlm, clean)
    grid = Grid().cut(images[0].size)
    by_patch = [
        says(vlm, [Picture(geometry.crop(image.pixels, patch)) for image in images])
        for patch in grid
    ]
    best = np.array([any(p[i] == truth[i] for p in by_patch) for i in range(len(truth))])
    true_boxes = boxes(scenes.masks[:, 0])
    answered = answered_boxes(vlm, images)
    ious = np.array(
        [overlap(f, t) if f else 0.0 for f, t in zip(answered, true_boxes, strict=True)]
    )
    side = images[0].size[0]
    centre = (side / 4, side / 4, side * 3 / 4, side * 3 / 4)
    floor = np.array([overlap(centre, t) for t in true_boxes])
    return [
        Measure("LLaVA", "right name, full image", equal(said, truth), ">= .65", ">= .85"),
        Measure("LLaVA", "right name, best of 9 patches", best.astype(float), ">= .75", ">= .92"),
        Measure("LLaVA", "favourite, animal erased", equal(said_clean, favourite), ">= .90"),
        Measure("LLaVA", "favourite, animal visible", equal(said, favourite), ".15 to .30"),
        Measure("LLaVA", "IoU of the answered box", ious, ">= .65", ">= .80"),
        Measure("LLaVA", "(control) IoU of a centre box", floor),
    ]


def fill(
    models: Mapping[str, Any], scenes: Scenes, masks: Sequence[NDArray[np.bool_]]
) -> list[Picture]:
    """Each scene with its mask (grown as the method grows it) filled by the zoo's inpainter."""
    requests = []
    for index, mask in enumerate(masks):
        grown = geometry.dilate(mask, 0.03 * mask.shape[0])
        texts = (
            INPAINT_POSITIVE.format(environment=ENVIRONMENTS[scenes.environments[index]]),
            INPAINT_NEGATIVE.format(name=names_of(scenes)[index], task=TASK),
        )
        requests.append(Inpaint(Picture(scenes.images[index]), Stencil(grown), *texts, index))
    return pictures(np.stack(ask(models["inpainter"].inpaint, requests)))


def probabilities(vlm: Any, images: Sequence[Picture]) -> Values:
    """p(name | image) of the eight animals, (N, 8)."""
    question = NAME.format(task=TASK)
    answers = ask(vlm.score, [Score(p, question, ANIMALS) for p in images])
    return np.stack([name_probabilities(answer) for answer in answers])


def box_masks(answered: Sequence[Box | None], side: int) -> list[NDArray[np.bool_]]:
    """The boxes as masks; no box: nothing is erased."""
    nothing = np.zeros((side, side), dtype=np.bool_)
    return [nothing if box is None else geometry.fill_box(box, (side, side)) for box in answered]


def measure_mining(models: Mapping[str, Any], cases: Cases) -> list[Measure]:
    """Negative mining on the full image over the eight animals, with own and with random boxes."""
    vlm, scenes = models["vlm"], cases.single
    images = pictures(scenes.images)
    side = images[0].size[0]
    truth = np.array([ANIMALS.index(name) for name in names_of(scenes)])
    before = probabilities(vlm, images)
    own = answered_boxes(vlm, images)
    shuffled = np.random.default_rng(0).permutation(len(own))
    plain = before.argmax(axis=1) == truth

    def mined(answered: Sequence[Box | None]) -> NDArray[np.bool_]:
        after = probabilities(vlm, fill(models, scenes, box_masks(answered, side)))
        right: NDArray[np.bool_] = np.argmax(before - after, axis=1) == truth
        return right

    right, control = mined(own), mined([own[i] for i in shuffled])
    broken = plain & ~right
    return [
        Measure("mining", "right name, plain answer over 8 names", plain * 1.0),
        Measure(
            "mining", "gain of mining, own boxes", 1.0 * right - 1.0 * plain, ">= .05", ">= .10"
        ),
        Measure(
            "mining",
            "gain over erasing a random box",
            1.0 * right - 1.0 * control,
            ">= .08",
            ">= .12",
        ),
        Measure("mining", "right answers broken", broken[plain] * 1.0, "<= .02", "<= .01"),
    ]


def measure_inpainter(models: Mapping[str, Any], cases: Cases) -> list[Measure]:
    """Colour of the fill, and what the VLM still sees in it."""
    scenes, vlm = cases.single, models["vlm"]
    masks = list(scenes.masks[:, 0])
    filled = fill(models, scenes, masks)
    errors = []
    for picture, clean, mask in zip(filled, scenes.clean, masks, strict=True):
        hole = geometry.dilate(mask, 0.03 * mask.shape[0])
        difference = picture.pixels[hole].astype(float) - clean[hole].astype(float)
        errors.append(np.abs(difference.mean(axis=0)).mean())
    truth = [ANIMALS.index(name) for name in names_of(scenes)]
    rows = np.arange(len(truth))
    after_fill = probabilities(vlm, filled)[rows, truth]
    after_clean = probabilities(vlm, pictures(scenes.clean))[rows, truth]
    before = probabilities(vlm, pictures(scenes.images))[rows, truth]
    return [
        Measure(
            "Stable Diffusion", "mean-colour error in the hole", np.array(errors), "<= 8", "<= 4"
        ),
        Measure("Stable Diffusion", "p(true name) before", before),
        Measure("Stable Diffusion", "p(true name) after the fill", after_fill),
        Measure(
            "Stable Diffusion",
            "p(true name): fill minus true clean scene",
            after_fill - after_clean,
            "within .10",
            "within .05",
        ),
    ]
