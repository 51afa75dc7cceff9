"""SAPNet's segmenter: the same network on five kinds of labels, on scenes it has not seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from int_bench.backbones.solov2 import SoloV2
from int_bench.core.requests import Instances
from int_bench.core.types import Picture
from int_bench.data.world.crowd_dataset import CrowdScenes
from int_bench.metrics.instances import Precision, ScoredMask
from scripts.experiments.trained.frame import (
    Measure,
    Outputs,
    Row,
    Step,
    System,
    at_least,
    difference,
)
from scripts.experiments.trained.selection import SCENES

_WORLD = ("dataset=camoworld_crowd", f"dataset.name={SCENES.name}", f"dataset.seed={SCENES.seed}")
_TRAINING = (*_WORLD, f"dataset.count={SCENES.count}")
TEST = CrowdScenes(name=SCENES.name, split="test", count=512, seed=SCENES.seed, unit="image")
_GRANULAR = "backbone/segmenter=zoo_sam_granular"
_BAGS = (_GRANULAR, "train.bags={bags}")
LABELS = {
    "truth": (),
    "sam_top1": _BAGS,
    "mil_single": (*_BAGS, "backbone/selector=sapnet", "backbone.selector.checkpoint={mil}"),
    "sapnet": (*_BAGS, "backbone/selector=sapnet", "backbone.selector.checkpoint={full}"),
    "end_to_end": _BAGS,
}
NAMES = {
    "truth": "SOLOv2 on true masks",
    "sam_top1": "SAM-top1-SOLOv2",
    "mil_single": "MIL-SOLOv2",
    "sapnet": "SAPNet, two stages",
    "end_to_end": "SAPNet, end to end",
}


@cache
def _reached(adapter: Path) -> Mapping[str, float]:
    """What the AP of a network on the test scenes is, 0..1: its run's, without all other scores."""
    network = SoloV2(adapter=str(adapter), device="cpu")
    precision = Precision(TEST.categories)
    for sample in TEST.samples():
        (instances,) = network.instances([Instances(Picture(TEST.load_image(sample)))])
        precision.add(
            TEST.objects(sample), [ScoredMask(i.mask, i.category, i.score) for i in instances]
        )
    return precision.summary()


def precision_of(labels: str, measure: str = "AP50") -> Measure:
    """Average precision on the test scenes, 0..1, of the network that learnt from ``labels``."""

    def measured(known: Outputs) -> Mapping[str, float]:
        return {measure: _reached(known[labels])[measure]}

    return measured


def _training(labels: str) -> Step:
    method: tuple[str, ...] = ("method=sapnet", f"train.labels={labels}")
    if labels == "end_to_end":
        method = ("method=sapnet_e2e",)
    words = ("train", *method, "train.dtype=bfloat16", *_TRAINING, "seed={seed}", *LABELS[labels])
    return Step(labels, words)


_SELECTORS = (*_TRAINING, _GRANULAR, "seed={seed}", "train.bags={bags}")
_STEPS = {
    "bags": Step("bags", ("propose", *_TRAINING, "dataset.split=train", _GRANULAR), once=True),
    "mil": Step("mil", ("train", "method=mil_single", *_SELECTORS)),
    "full": Step("full", ("train", "method=sapnet_select", *_SELECTORS)),
    **{labels: _training(labels) for labels in LABELS},
}


def _steps(*names: str) -> tuple[Step, ...]:
    return tuple(_STEPS[name] for name in names)


def _rows(*labels: str) -> Iterator[Row]:
    for name in labels:
        for measure in ("AP", "AP50", "AP75"):
            yield Row(f"{NAMES[name]}: {measure}", precision_of(name, measure))


_REMARKS = (
    "Average precision has no value per object: one number a seed, and no interval.",
    "Boxes of the bags' second half are true boxes, shaken: an oracle in place of P2BNet.",
)
SYSTEM = System(
    name="segmentation",
    title="SAPNet's segmenter on 512 test scenes",
    steps=_steps("bags", "full", "truth", "sam_top1", "sapnet"),
    rows=(
        Row("SOLOv2 on true masks: AP50", precision_of("truth"), ">= .70", at_least(0.70)),
        Row(
            "SAPNet - SAM-top1-SOLOv2, AP50",
            difference(precision_of("sapnet"), precision_of("sam_top1")),
            ">= .03",
            at_least(0.03),
        ),
        *_rows("truth", "sam_top1", "sapnet"),
    ),
    remarks=_REMARKS,
)
FURTHER = System(
    name="segmentation_further",
    title="SAPNet's segmenter: one MIL's labels, and end to end",
    steps=_steps("bags", "mil", "full", "mil_single", "sapnet", "end_to_end"),
    rows=(
        Row(
            "SAPNet end to end - two stages, AP50",
            difference(precision_of("end_to_end"), precision_of("sapnet")),
        ),
        *_rows("mil_single", "end_to_end"),
    ),
    remarks=_REMARKS,
)
"""Twenty minutes of one core a seed."""
