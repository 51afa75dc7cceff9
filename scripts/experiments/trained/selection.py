"""SAPNet's selection: bags, one MIL, the whole of it and its parts, on training objects (Table 7).

All rows select from the same bags, which are made once; none is run through the engine, so that
some thousand objects are measured in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from int_bench.backbones.selector import Selector
from int_bench.core.geometry import tight_box
from int_bench.core.instances import Instance
from int_bench.core.requests import ObjectBag, SelectProposal
from int_bench.core.types import Box, HardMask, Picture, Values
from int_bench.data.instances.bags import ImageBags, StoredBag, read_bags
from int_bench.data.world.crowd_dataset import CrowdScenes
from int_bench.metrics import selection
from scripts.experiments.trained.frame import (
    Measure,
    Outputs,
    Row,
    Step,
    System,
    at_least,
    difference,
)

SCENES = CrowdScenes(name="crowd_unseen", split="train", count=900, seed=1)
"""Of another seed, and so of another name, than those that SAM's decoder was trained on."""
_DATA = (
    "dataset=camoworld_crowd",
    f"dataset.name={SCENES.name}",
    f"dataset.seed={SCENES.seed}",
    f"dataset.count={SCENES.count}",
)
_GRANULAR = "backbone/segmenter=zoo_sam_granular"
_TRAIN = ("train", *_DATA, _GRANULAR, "seed={seed}", "train.bags={bags}")


class Judged(NamedTuple):
    """What a selection made of an object."""

    iou: float
    box_iou: float
    group: float | None
    local: float
    filling: float
    true_filling: float


Instances = Mapping[str, Instance]
"""The objects of an image by their ids."""
Choose = Callable[[ImageBags, Instances], Sequence[tuple[int, Box | None]]]
"""For each bag of an image the index of a proposal and the selected box, if it is another."""


def judged(bags: Path, choose: Choose) -> dict[str, Judged]:
    """Every object of the training scenes, by its id; each scene is drawn once."""
    samples = {sample.id: sample for sample in SCENES.samples()}
    results = {}
    for image in read_bags(bags):
        instances = {known.id: known for known in SCENES.objects(samples[image.sample])}
        for bag, choice in zip(image.bags, choose(image, instances), strict=True):
            results[bag.id] = _judged(bag, image.size, choice, instances)
    return results


def _judged(
    bag: StoredBag, size: tuple[int, int], choice: tuple[int, Box | None], instances: Instances
) -> Judged:
    index, box = choice
    own, mask = instances[bag.id], bag.masks(size)[index]
    others = [
        known.mask
        for known in instances.values()
        if known.id != bag.id and known.category == bag.category
    ]
    iou = _iou(mask, own.mask)
    return Judged(
        iou,
        selection.box_iou(box or tight_box(mask), own.box),
        selection.takes_a_group(mask, others),
        selection.is_local(iou),
        selection.filling(mask),
        selection.filling(own.mask),
    )


@cache
def top_1(bags: Path) -> dict[str, Judged]:
    """SAM's surest mask of the point: the first of a bag."""
    return judged(bags, lambda image, instances: [(0, None)] * len(image.bags))


@cache
def oracle(bags: Path) -> dict[str, Judged]:
    """The best proposal of each bag."""

    def choose(image: ImageBags, instances: Instances) -> list[tuple[int, None]]:
        overlaps = [
            [_iou(mask, instances[bag.id].mask) for mask in bag.masks(image.size)]
            for bag in image.bags
        ]
        return [(int(np.argmax(row)), None) for row in overlaps]

    return judged(bags, choose)


@cache
def selected(bags: Path, adapter: Path) -> dict[str, Judged]:
    """What a trained selector takes."""
    selector = Selector(str(adapter))
    samples = {sample.id: sample for sample in SCENES.samples()}

    def choose(image: ImageBags, instances: Instances) -> list[tuple[int, Box]]:
        picture = Picture(SCENES.load_image(samples[image.sample]))
        objects = tuple(_bag(bag, image) for bag in image.bags)
        (answers,) = selector.select([SelectProposal(picture, objects)])
        return [(answer.index, answer.box) for answer in answers]

    return judged(bags, choose)


def _bag(bag: StoredBag, image: ImageBags) -> ObjectBag:
    return ObjectBag(bag.category, bag.point, tuple(bag.boxes(image.size[0])))


def _iou(first: HardMask, second: HardMask) -> float:
    union = int(np.count_nonzero(first | second))
    return int(np.count_nonzero(first & second)) / max(union, 1)


def of(step: str, figure: str) -> Measure:
    """A figure of each object, of a step's selector or of ``top_1`` or ``oracle``."""

    def measure(known: Outputs) -> Mapping[str, float]:
        kinds = {"top_1": top_1, "oracle": oracle}
        bags = known["bags"]
        rows = kinds[step](bags) if step in kinds else selected(bags, known[step])
        values = {name: getattr(row, figure) for name, row in rows.items()}
        return {name: float(value) for name, value in values.items() if value is not None}

    return measure


def gap_of(step: str) -> Measure:
    """Eq. (10) of a step's selection."""

    def measure(known: Outputs) -> Mapping[str, float]:
        own, true = (of(step, name)(known) for name in ("filling", "true_filling"))
        gaps = selection.gaps(_values(own), _values(true), _fullest(known["bags"]))
        return {"gap": float(gaps.mean()) if gaps.size else float("nan")}

    return measure


@cache
def _fullest(bags: Path) -> Values:
    return np.array(
        [
            max(selection.filling(mask) for mask in bag.masks(image.size))
            for image in read_bags(bags)
            for bag in image.bags
        ]
    )


def _values(by_name: Mapping[str, float]) -> Values:
    return np.array(list(by_name.values()))


VARIANTS = {
    "mil": ("method=mil_single",),
    "mil_pdg": ("method=mil_single", "train.psm.pdg=paper"),
    "mil_pdg1": ("method=mil_single", "train.psm.pdg=paper", "train.psm.exponent=1"),
    "full": ("method=sapnet_select",),
    "full1": ("method=sapnet_select", "train.psm.exponent=1"),
    "no_ppg": ("method=sapnet_select", "train.pnpg.ppg='off'"),
    "no_npg": ("method=sapnet_select", "train.pnpg.npg=none"),
    "no_bms": ("method=sapnet_select", "train.bms.after='off'"),
    "released": ("method=sapnet_released",),
}
NAMES = {
    "top_1": "SAM top-1 of the point",
    "oracle": "oracle of the bag",
    "mil": "one MIL",
    "mil_pdg": "one MIL + PDG, d = .015",
    "mil_pdg1": "one MIL + PDG, d = 1",
    "full": "SAPNet",
    "full1": "SAPNet, d = 1",
    "no_ppg": "SAPNet without PPG",
    "no_npg": "SAPNet without NPG",
    "no_bms": "SAPNet without BMS",
    "released": "SAPNet as released",
}
_FIGURES = {"box_iou": "mIoU_box", "iou": "mIoU", "group": "group rate", "local": "local rate"}
SYSTEM = System(
    name="selection",
    title="SAPNet's selection on training objects",
    steps=(
        Step("bags", ("propose", *_DATA, "dataset.split=train", _GRANULAR), once=True),
        *(Step(name, (*_TRAIN, *words)) for name, words in VARIANTS.items()),
    ),
    rows=(
        Row(
            "oracle of the bag - SAM top-1, mIoU",
            difference(of("oracle", "iou"), of("top_1", "iou")),
            ">= .15",
            at_least(0.15),
        ),
        Row(
            "SAPNet - one MIL, mIoU_box",
            difference(of("full", "box_iou"), of("mil", "box_iou")),
            ">= .05",
            at_least(0.05),
        ),
        Row(
            "SAPNet - SAM top-1, mIoU_box",
            difference(of("full", "box_iou"), of("top_1", "box_iou")),
            ">= .05",
            at_least(0.05),
        ),
        *(
            Row(f"{words}: {title}", of(name, figure))
            for name, words in NAMES.items()
            for figure, title in _FIGURES.items()
        ),
        *(Row(f"{words}: gap", gap_of(name)) for name, words in NAMES.items()),
    ),
    remarks=(
        "Boxes of the bags' second half are true boxes, shaken: an oracle in place of P2BNet.",
        "A group is counted over objects with a neighbour of their class.",
    ),
)
