"""What a run reached in the measures of SAPNet's tables, and what its network learnt from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from int_bench.config.building import build_stored_dataset
from int_bench.core.details import Details
from int_bench.core.files import read_plain
from int_bench.core.geometry import area
from int_bench.core.typed import Malformed, parsed
from int_bench.core.types import Values
from int_bench.data.dataset import InstanceDataset, SampleFile
from int_bench.data.images import read_mask
from int_bench.data.instances.rle import mask_of
from int_bench.errors import MissingAsset
from int_bench.metrics.instances import Precision, ScoredMask
from int_bench.metrics.selection import box_iou, filling, gaps
from int_bench.report.statistics import Interval, bootstrap_interval
from int_bench.runs.kept.details import checked
from int_bench.runs.reader import Run
from int_bench.runs.records import OK, Record

Measure = Literal["masks", "boxes", "selection"]
"""AP of masks, AP of their boxes, or gap and mIoU_box of what was selected from bags."""
_SELECTIONS = {
    "sam_top1_point": "sam_top1",
    "mil_single": "mil_single",
    "sapnet_select": "sapnet",
    "oracle_of_bag": "oracle",
}
"""Methods that select proposals, and the labels that they make."""
PAIRED = ("mIoU_box", "gap")
"""Means over objects; the others are of all images together."""
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
        shared: whether selection and segmenter shared a trunk, end to end.
    """

    labels: str = ""
    trunk: str = ""
    mps: bool = False
    selector: Mapping[str, Any] | None = None
    shared: bool = False


@dataclass(frozen=True)
class InstanceScores:
    """What a run reached.

    Attributes:
        folder: of the run.
        label: as tables call it.
        dataset: its data set's name.
        images: that were scored.
        complete: whether these are all images of the data set.
        numbers: AP, AP25, AP50, AP75, APs, APm, APl; or box_AP, box_AP50; or mIoU_box, all of these
            in percent, and gap, a difference of shares.
        intervals: of these, over images or objects.
        facts: what the network learnt from.
        parts: what intervals are made of: by object what is a mean, else without each group of
            images.
    """

    folder: Path
    label: str
    dataset: str
    images: int
    complete: bool
    numbers: Mapping[str, float]
    intervals: Mapping[str, Interval]
    facts: Facts = field(default_factory=Facts)
    parts: Mapping[str, Values] = field(default_factory=dict)

    def gain(self, base: InstanceScores, key: str) -> Interval | None:
        """The interval of the difference from a run on the same samples; None without one."""
        own, others = self.parts.get(key), base.parts.get(key)
        if own is None or others is None or own.shape != others.shape:
            return None
        return _interval(key, self.numbers[key] - base.numbers[key], own - others)


def instance_scores(folder: Path, measure: Measure = "masks") -> InstanceScores:
    """What a run's first trial reached on the objects of its data set.

    Raises:
        MissingAsset: it recorded nothing that the measure is of, or its data set knows no objects
            or is not here.
    """
    run = Run(folder)
    manifest = run.manifest
    selects = manifest.name in _SELECTIONS
    if selects != (measure == "selection"):
        wanted = f"method={', '.join(_SELECTIONS)}" if measure == "selection" else "method=sapnet"
        raise MissingAsset(f"{folder} is a run of {manifest.name}; this table is of {wanted}.")
    data: Any = build_stored_dataset(manifest.content, manifest.path)
    if not isinstance(data, InstanceDataset):
        raise MissingAsset(f"{folder}: its data set {manifest.dataset} knows no objects by class.")
    samples = data.samples()
    records = [(s, run.records.get((0, s.id))) for s in samples]
    done = [(sample, record) for sample, record in records if record and record.status == OK]
    if not done:
        raise MissingAsset(f"{folder} has no record of a sample of its data set.")
    if selects:
        facts, scores = Facts(labels=_SELECTIONS[manifest.name]), _selection(run, data, done)
    else:
        facts, scores = facts_of(run), _average_precision(folder, data, done, measure)
    finite = {key: value for key, value in scores[0].items() if np.isfinite(value)}
    parts = {key: part for key, part in scores[1].items() if np.isfinite(part).all()}
    known = {key: _interval(key, finite[key], parts[key]) for key in finite if key in parts}
    intervals = {key: interval for key, interval in known.items() if interval}
    whole, of_set = len(done) == len(samples), (manifest.label, manifest.dataset)
    return InstanceScores(folder, *of_set, len(done), whole, finite, intervals, facts, parts)


_Scores = tuple[dict[str, float], dict[str, Values]]
"""Numbers by name, and what their intervals are made of."""


def _average_precision(
    folder: Path,
    data: InstanceDataset,
    done: Sequence[tuple[SampleFile, Record]],
    measure: Measure,
) -> _Scores:
    """In percent."""
    if "instances" not in done[0][1].iterations[-1].details:
        raise MissingAsset(
            f"{folder} recorded no instances; average precision is of method=sapnet."
        )
    if done[0][0].image_id is not None:
        raise MissingAsset(
            f"{folder} was run object by object, and average precision is of images; run it again "
            "with dataset.unit=image."
        )
    crowds = getattr(data, "crowds", lambda sample: ())  # of COCO alone
    precision = Precision(data.categories)
    for sample, record in done:
        details = checked(record.iterations[-1].details)
        size = data.load_mask(sample).shape
        predicted = [
            ScoredMask(_mask(part["counts"], size, folder), part["category"], part["score"])
            for part in details.get("instances", [])
            if part["category"] in data.categories
        ]
        precision.add(data.objects(sample), predicted, crowds(sample))
    summary = precision.of_boxes if measure == "boxes" else precision.summary
    percent = {key: 100 * value for key, value in summary().items()}
    return percent, _without_groups(summary, len(done))


def _selection(
    run: Run, data: InstanceDataset, done: Sequence[tuple[SampleFile, Record]]
) -> _Scores:
    """mIoU_box in percent and the gap of Eq. (10), means over objects.

    An object without a box counts 0. There is no gap of a run whose records do not tell the areas
    of the proposals, as those of earlier versions.
    """
    overlaps, fillings = [], []
    for sample, record in done:
        own = data.objects(sample)[0]
        overlaps.append(100 * box_iou(record.box, own.box))
        fullest = _fullest(checked(record.iterations[-1].details))
        if fullest is not None:
            taken = filling(read_mask(run.mask(0, sample.id), 127))
            fillings.append((taken, filling(own.mask), fullest))
    values = {"mIoU_box": np.array(overlaps)}  # by the names of PAIRED
    if len(fillings) == len(done):
        selected, true, fullest_of = (np.array(column) for column in zip(*fillings, strict=True))
        values["gap"] = gaps(selected, true, fullest_of)
    return {key: float(part.mean()) for key, part in values.items() if part.size}, values


def _fullest(details: Details) -> float | None:
    """The largest share of its box that a proposal of the bag fills; None of an earlier record."""
    bag = details.get("detections", [])
    if not bag or any("area" not in proposal for proposal in bag):
        return None
    shares = [
        proposal["area"] / max(area((box[0], box[1], box[2], box[3])), 1.0)
        for proposal in bag
        if (box := proposal["box_image"]) is not None
    ]
    return max(shares, default=0.0)


def _mask(counts: str, size: tuple[int, ...], folder: Path) -> Any:
    try:
        return mask_of({"size": list(size), "counts": counts}, (size[0], size[1]))
    except Malformed as error:
        raise MissingAsset(f"{folder}: a recorded instance is damaged: {error}.") from error


def _without_groups(
    summary: Callable[[Sequence[int]], Mapping[str, float]], images: int
) -> dict[str, Values]:
    """Each number in percent, twenty times: without one of the groups of images."""
    groups = min(GROUPS, images)
    if groups < 2:
        return {}
    without = [
        summary([index for index in range(images) if index % groups != group])
        for group in range(groups)
    ]
    return {key: 100 * np.array([numbers[key] for numbers in without]) for key in without[0]}


def _interval(key: str, value: float, parts: Values) -> Interval | None:
    """The bootstrap's over objects, or the jackknife's over groups of images."""
    if key in PAIRED:
        return bootstrap_interval(parts)
    error = float(np.sqrt((len(parts) - 1) * np.mean((parts - parts.mean()) ** 2)))
    return Interval(value - _WIDE * error, value + _WIDE * error)


def facts_of(run: Run) -> Facts:
    """What the training of a run's network says, where its folder is still there."""
    options = _trained(run.manifest.config, "instance_segmenter")
    if options is None:
        return Facts()
    method, config = options
    architecture = method.get("architecture") or {}
    labels, selector = str(method.get("labels", "")), _trained(config, "selector")
    shared = labels == "end_to_end"  # its own options are those of a selector, too
    if shared:
        labels, selector = "sapnet", options
    return Facts(
        labels=labels,
        trunk=str(architecture.get("trunk", "small")),
        mps=bool(method.get("mps")) and labels == "sapnet",
        selector=None if selector is None else selector[0],
        shared=shared,
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
