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
from scipy.stats import rankdata

from int_bench.core import geometry
from int_bench.core.equations import keep_inside, name_probabilities
from int_bench.core.geometry import Grid
from int_bench.core.parsing import canonical, parse_box
from int_bench.core.templates import BOX, DETECT, INPAINT_NEGATIVE, INPAINT_POSITIVE, NAME
from int_bench.core.types import (
    Answer,
    Box,
    Detect,
    Heatmap,
    Inpaint,
    Picture,
    Point,
    Score,
    Segment,
    Similarity,
    Stencil,
)
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
        """N scenes with one animal and half as many with two different ones."""
        return cls(draw(split, range(n)), draw(split, range(n // 2), animals="two_different"))


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


def overlap(one: Box, other: Box) -> float:
    """IoU of two boxes in the same frame."""
    common = geometry.area(
        (max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3]))
    )
    union = geometry.area(one) + geometry.area(other) - common
    return common / union if union > 0 else 0.0


def answered_boxes(vlm: Any, images: Sequence[Picture]) -> list[Box | None]:
    """The VLM's box of each (square) image in pixels; None where it gave none."""
    side = images[0].size[0]
    texts = ask(vlm.answer, [Answer(p, BOX.format(task=TASK)) for p in images])
    parsed = [parse_box(text, side) for text in texts]
    return [box and tuple(v * side for v in box) for box in parsed]


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
    found = answered_boxes(vlm, images)
    ious = np.array([overlap(f, t) if f else 0.0 for f, t in zip(found, true_boxes, strict=True)])
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


def box_masks(found: Sequence[Box | None], side: int) -> list[NDArray[np.bool_]]:
    """The boxes as masks; no box: nothing is erased."""
    nothing = np.zeros((side, side), dtype=np.bool_)
    return [nothing if box is None else geometry.fill_box(box, (side, side)) for box in found]


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

    def mined(found: Sequence[Box | None]) -> NDArray[np.bool_]:
        after = probabilities(vlm, fill(models, scenes, box_masks(found, side)))
        return np.argmax(before - after, axis=1) == truth

    right, control = mined(own), mined([own[i] for i in shuffled])
    broken = plain & ~right
    return [
        Measure("mining", "right name, plain answer over 8 names", plain.astype(float)),
        Measure("mining", "gain of mining, own boxes", right * 1.0 - plain, ">= .05", ">= .10"),
        Measure(
            "mining", "gain over erasing a random box", right * 1.0 - control, ">= .08", ">= .12"
        ),
        Measure("mining", "right answers broken", broken[plain] * 1.0, "<= .02", "<= .01"),
    ]


def measure_sam(models: Mapping[str, Any], cases: Cases) -> list[Measure]:
    """Masks from true boxes and true centre points; selection between two animals."""
    segment = models["segmenter"].segment
    images, masks = pictures(cases.single.images), cases.single.masks[:, 0]
    true_boxes = boxes(masks)
    by_box = ask(segment, [Segment(p, tuple(b)) for p, b in zip(images, true_boxes, strict=True)])
    by_point = ask(
        segment, [Segment(p, None, (_inner(m),)) for p, m in zip(images, masks, strict=True)]
    )
    pair = cases.pair
    selected = []
    for slot in range(2):
        requests = [
            Segment(Picture(image), tuple(box))
            for image, box in zip(pair.images, boxes(pair.masks[:, slot]), strict=True)
        ]
        for found, both in zip(ask(segment, requests), pair.masks, strict=True):
            hard = found.logits > 0
            selected.append(_iou(hard, both[slot]) > _iou(hard, both[1 - slot]))
    return [
        Measure("SAM", "IoU, true box", _ious(by_box, masks), ">= .75", ">= .85"),
        Measure("SAM", "IoU, true centre point", _ious(by_point, masks), ">= .68", ">= .78"),
        Measure(
            "SAM", "two animals: the box selects", np.array(selected) * 1.0, ">= .90", ">= .95"
        ),
    ]


def _inner(mask: NDArray[np.bool_]) -> Point:
    """The mask's pixel that is nearest to its centre of mass."""
    rows, columns = np.nonzero(mask)
    nearest = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    return Point(float(columns[nearest]) + 0.5, float(rows[nearest]) + 0.5, True)


def _iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def _ious(found: Sequence[Any], masks: NDArray[np.bool_]) -> Values:
    return np.array([_iou(f.logits > 0, m) for f, m in zip(found, masks, strict=True)])


def measure_clip(models: Mapping[str, Any], cases: Cases) -> list[Measure]:
    """Names of cut-outs, the heat map's peak, and whether the word selects."""
    aligner, scenes = models["aligner"], cases.single
    truth = names_of(scenes)
    cuts = [
        Picture(keep_inside(image, mask))
        for image, mask in zip(scenes.images, scenes.masks[:, 0], strict=True)
    ]
    cosines = ask(aligner.similarity, [Similarity(p, name) for p in cuts for name in ANIMALS])
    guesses = np.array(cosines).reshape(len(cuts), len(ANIMALS)).argmax(axis=1)
    named = equal([ANIMALS[g] for g in guesses], truth)
    heats = ask(aligner.heatmap, _heat_requests(scenes, 0))
    inside = [_peak(h, m) for h, m in zip(heats, scenes.masks[:, 0], strict=True)]
    selected = []
    for slot in range(2):
        for heat, both in zip(
            ask(aligner.heatmap, _heat_requests(cases.pair, slot)), cases.pair.masks, strict=True
        ):
            selected.append(_highest(heat, both[slot]) > _highest(heat, both[1 - slot]))
    return [
        Measure("CLIP", "right name of the cut-out", named, ">= .60", ">= .85"),
        Measure("CLIP", "heat-map peak inside", np.array(inside) * 1.0, ">= .75", ">= .90"),
        Measure(
            "CLIP", "two animals: the word selects", np.array(selected) * 1.0, ">= .70", ">= .85"
        ),
    ]


def _heat_requests(scenes: Scenes, slot: int) -> list[Heatmap]:
    return [
        Heatmap(Picture(image), (name,), (ENVIRONMENTS[environment],))
        for image, name, environment in zip(
            scenes.images, names_of(scenes, slot), scenes.environments, strict=True
        )
    ]


def _enlarged(heat: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    return np.kron(heat, np.ones((side // heat.shape[0],) * 2, dtype=np.float32))


def _peak(heat: NDArray[np.float32], mask: NDArray[np.bool_]) -> bool:
    """Whether the hottest cell touches the animal."""
    large = _enlarged(heat, mask.shape[0])
    return bool(mask[large >= large.max()].any())


def _highest(heat: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    return float(_enlarged(heat, mask.shape[0])[mask].max())


def measure_detector(models: Mapping[str, Any], cases: Cases) -> list[Measure]:
    """Recall of the best box, right against wrong name, and whether the word selects."""
    detect, scenes = models["detector"].detect, cases.single
    truth = names_of(scenes)
    shift = np.random.default_rng(5).integers(1, len(ANIMALS), len(truth))
    wrong = [ANIMALS[(ANIMALS.index(n) + s) % 8] for n, s in zip(truth, shift, strict=True)]
    right_found = _best(detect, scenes, truth)
    wrong_found = _best(detect, scenes, wrong)
    true_boxes = boxes(scenes.masks[:, 0])
    hits = [overlap(f[0], t) >= 0.5 for f, t in zip(right_found, true_boxes, strict=True)]
    selected = []
    both = [boxes(cases.pair.masks[:, slot]) for slot in range(2)]
    for slot in range(2):
        for i, found in enumerate(_best(detect, cases.pair, names_of(cases.pair, slot))):
            near, far = overlap(found[0], both[slot][i]), overlap(found[0], both[1 - slot][i])
            selected.append(near > far)
    scores = [np.array([f[1] for f in found]) for found in (right_found, wrong_found)]
    return [
        Measure("GroundingDINO", "recall at IoU .5", np.array(hits) * 1.0, ">= .85", ">= .95"),
        Measure("GroundingDINO", "right against wrong, AUC", _auc(*scores), ">= .87", ">= .96"),
        Measure("GroundingDINO", "right name above .30", (scores[0] >= 0.3) * 1.0),
        Measure("GroundingDINO", "wrong name above .30", (scores[1] >= 0.3) * 1.0),
        Measure(
            "GroundingDINO",
            "two animals: the word selects",
            np.array(selected) * 1.0,
            ">= .83",
            ">= .94",
        ),
    ]


def _best(detect: Any, scenes: Scenes, names: Sequence[str]) -> list[tuple[Any, float]]:
    """The best box and its score for each scene; an empty box where there is none."""
    requests = [
        Detect(Picture(image), DETECT.format(name=name), 0.0, 0.0)
        for image, name in zip(scenes.images, names, strict=True)
    ]
    found = ask(detect, requests)
    return [(d[0].box, d[0].score) if d else ((0.0, 0.0, 0.0, 0.0), 0.0) for d in found]


def _auc(right: Values, wrong: Values) -> Values:
    """Per right case the share of wrong cases that score lower; its mean is the AUC."""
    ranks = rankdata(np.concatenate([right, wrong]))[: len(right)] - rankdata(right)
    return ranks / len(wrong)


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
