"""Average precision of a run that recorded instances, and what its network learnt from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from int_bench.config.building import build_stored_dataset
from int_bench.core.files import read_plain
from int_bench.core.typed import Malformed, parsed
from int_bench.data.dataset import InstanceDataset, SampleFile
from int_bench.data.instances.rle import mask_of
from int_bench.errors import MissingAsset
from int_bench.metrics.instances import Precision, ScoredMask
from int_bench.metrics.selection import box_iou
from int_bench.report.statistics import Interval, bootstrap_interval
from int_bench.runs.kept.details import checked
from int_bench.runs.reader import Run
from int_bench.runs.records import OK, Record

_SELECTIONS = {
    "sam_top1_point": "sam_top1",
    "mil_single": "mil_single",
    "sapnet_select": "sapnet",
}
"""Methods that select proposals, and the labels that they make."""
GROUPS = 20
"""Of images, each left out once."""
_WIDE = 1.96
_LARGEST = 2**24  # bytes


@dataclass(frozen=True)
class Facts:
    """What a network's own training says of it.

    Attributes:
        labels: what it learnt from; empty where nothing is known.
        trunk: of the network.
        mps: whether further masks taught it, too.
        selector: the options of the selector's training, if that is here.
    """

    labels: str = ""
    trunk: str = ""
    mps: bool = False
    selector: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class InstanceScores:
    """What a run reached.

    Attributes:
        folder: of the run.
        label: as tables call it.
        dataset: its data set's name.
        images: that were scored.
        complete: whether these are all images of the data set.
        percent: AP, AP25, AP50, AP75, APs, APm, APl, in percent.
        intervals: of these, over images.
        facts: what the network learnt from.
    """

    folder: Path
    label: str
    dataset: str
    images: int
    complete: bool
    percent: Mapping[str, float]
    intervals: Mapping[str, Interval]
    facts: Facts = field(default_factory=Facts)


def instance_scores(folder: Path) -> InstanceScores:
    """What a run's first trial reached on the objects of its data set.

    Average precision of a run that recorded instances; of one that selected proposals for training
    objects, the mean IoU of the selected and the true boxes (mIoU_box).

    Raises:
        MissingAsset: it recorded neither, or its data set knows no objects or is not here.
    """
    run = Run(folder)
    manifest = run.manifest
    data: Any = build_stored_dataset(manifest.content, manifest.path)
    if not isinstance(data, InstanceDataset):
        raise MissingAsset(f"{folder}: its data set {manifest.dataset} knows no objects by class.")
    samples = data.samples()
    records = [(s, run.records.get((0, s.id))) for s in samples]
    done = [(sample, record) for sample, record in records if record and record.status == OK]
    if not done:
        raise MissingAsset(f"{folder} has no record of a sample of its data set.")
    if any("instances" in step.details for step in done[0][1].iterations):
        facts = facts_of(run)
        percent, intervals = _average_precision(folder, data, done)
    elif manifest.name in _SELECTIONS:
        facts = Facts(labels=_SELECTIONS[manifest.name])
        percent, intervals = _box_overlap(data, done)
    else:
        raise MissingAsset(
            f"{folder} recorded no instances; average precision is of method=sapnet."
        )
    finite = {key: value for key, value in percent.items() if np.isfinite(value)}
    whole = len(done) == len(samples)
    return InstanceScores(
        folder, manifest.label, manifest.dataset, len(done), whole, finite, intervals, facts
    )


def _average_precision(
    folder: Path, data: InstanceDataset, done: Sequence[tuple[SampleFile, Record]]
) -> tuple[dict[str, float], dict[str, Interval]]:
    """In percent, with intervals."""
    precision = Precision(data.categories)
    for sample, record in done:
        details = checked(record.iterations[-1].details)
        size = data.load_mask(sample).shape
        predicted = [
            ScoredMask(_mask(part["counts"], size, folder), part["category"], part["score"])
            for part in details.get("instances", [])
            if part["category"] in data.categories
        ]
        precision.add(data.objects(sample), predicted)
    percent = {key: 100 * value for key, value in precision.summary().items()}
    return percent, _intervals(precision, percent, len(done))


def _box_overlap(
    data: InstanceDataset, done: Sequence[tuple[SampleFile, Record]]
) -> tuple[dict[str, float], dict[str, Interval]]:
    """mIoU_box in percent, with its interval over objects; an object without a box counts 0."""
    overlaps = np.array(
        [100 * box_iou(record.box, data.objects(sample)[0].box) for sample, record in done]
    )
    interval = bootstrap_interval(overlaps)
    return {"mIoU_box": float(overlaps.mean())}, {"mIoU_box": interval} if interval else {}


def _mask(counts: str, size: tuple[int, ...], folder: Path) -> Any:
    try:
        return mask_of({"size": list(size), "counts": counts}, (size[0], size[1]))
    except Malformed as error:
        raise MissingAsset(f"{folder}: a recorded instance is damaged: {error}.") from error


def _intervals(
    precision: Precision, percent: Mapping[str, float], images: int
) -> dict[str, Interval]:
    """Jackknife over groups of images: twenty times AP without one of them."""
    groups = min(GROUPS, images)
    if groups < 2:
        return {}
    without = [
        precision.summary([index for index in range(images) if index % groups != group])
        for group in range(groups)
    ]
    intervals = {}
    for key, value in percent.items():
        left = 100 * np.array([summary[key] for summary in without])
        if np.isfinite(left).all():
            error = float(np.sqrt((groups - 1) * np.mean((left - left.mean()) ** 2)))
            intervals[key] = Interval(value - _WIDE * error, value + _WIDE * error)
    return intervals


def facts_of(run: Run) -> Facts:
    """What the training of a run's network says, where its folder is still there."""
    options = _trained(run.manifest.config, "instance_segmenter")
    if options is None:
        return Facts()
    method, config = options
    architecture = method.get("architecture") or {}
    selector = _trained(config, "selector")
    return Facts(
        labels=str(method.get("labels", "")),
        trunk=str(architecture.get("trunk", "small")),
        mps=bool(method.get("mps")) and method.get("labels") == "sapnet",
        selector=None if selector is None else selector[0],
    )


def _trained(
    config: Mapping[str, Any], role: str
) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """Options and configuration of the training that made a model."""
    node = (config.get("backbone") or {}).get(role) or {}
    final = node.get("adapter") or node.get("checkpoint")  # a selector has no other weights
    if not isinstance(final, str):
        return None
    try:
        told = parsed(read_plain(Path(final).parent / "run.json", _LARGEST))
        stored = told["config"]
        return stored["method"], stored
    except (OSError, Malformed, KeyError, TypeError):
        return None
