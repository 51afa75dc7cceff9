"""SAPNet's segmenter: the same network on four kinds of labels, on scenes it has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from int_bench.report.sapnet.scores import InstanceScores, instance_scores
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
_TEST = (*_WORLD, "dataset.count=512", "dataset.unit=image", "dataset.split=test")
_GRANULAR = "backbone/segmenter=zoo_sam_granular"
_BAGS = (_GRANULAR, "train.bags={bags}")
LABELS = {
    "truth": (),
    "sam_top1": _BAGS,
    "mil_single": (*_BAGS, "backbone/selector=sapnet", "backbone.selector.checkpoint={mil}"),
    "sapnet": (*_BAGS, "backbone/selector=sapnet", "backbone.selector.checkpoint={full}"),
}
NAMES = {
    "truth": "SOLOv2 on true masks",
    "sam_top1": "SAM-top1-SOLOv2",
    "mil_single": "MIL-SOLOv2",
    "sapnet": "SAPNet, two stages",
}


@cache
def _scores(run: Path) -> InstanceScores:
    return instance_scores(run)


def precision(labels: str, measure: str = "AP50") -> Measure:
    """Average precision on the test scenes, 0..1, of the network that learnt from ``labels``."""

    def measured(known: Outputs) -> Mapping[str, float]:
        return {measure: _scores(known[f"run_{labels}"]).numbers[measure] / 100}

    return measured


def _steps(labels: str) -> tuple[Step, Step]:
    """A training and its run."""
    words = ("train", "method=sapnet", f"train.labels={labels}", "train.dtype=bfloat16", *_TRAINING)
    network = f"backbone.instance_segmenter.adapter={{{labels}}}"
    return (
        Step(labels, (*words, "seed={seed}", *LABELS[labels])),
        Step(f"run_{labels}", ("run", "method=sapnet", *_TEST, network)),
    )


_SELECTORS = (*_TRAINING, _GRANULAR, "seed={seed}", "train.bags={bags}")
SYSTEM = System(
    name="segmentation",
    title="SAPNet's segmenter on 512 test scenes",
    steps=(
        Step("bags", ("propose", *_TRAINING, "dataset.split=train", _GRANULAR), once=True),
        Step("mil", ("train", "method=mil_single", *_SELECTORS)),
        Step("full", ("train", "method=sapnet_select", *_SELECTORS)),
        *(step for labels in LABELS for step in _steps(labels)),
    ),
    rows=(
        Row("SOLOv2 on true masks: AP50", precision("truth"), ">= .70", at_least(0.70)),
        Row(
            "SAPNet - SAM-top1-SOLOv2, AP50",
            difference(precision("sapnet"), precision("sam_top1")),
            ">= .03",
            at_least(0.03),
        ),
        *(
            Row(f"{name}: {measure}", precision(labels, measure))
            for labels, name in NAMES.items()
            for measure in ("AP", "AP50", "AP75")
        ),
    ),
    remarks=(
        "Average precision has no value per object: one number a seed, and no interval.",
        "Boxes of the bags' second half are true boxes, shaken: an oracle in place of P2BNet.",
    ),
)
