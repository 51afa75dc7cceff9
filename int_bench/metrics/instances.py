"""Average precision of predicted instances, as COCO defines it (Lin et al., ECCV 2014).

Computed by faster-coco-eval, which agrees with pycocotools. Predictions of an image and category
are matched by falling score with objects not yet taken, at mask IoU thresholds .50, .55, ..., .95;
precision is averaged over 101 recalls, then over thresholds and over the categories that have
objects. At most 100 predictions of an image count, those of the highest scores.

Reading: an object's area is its mask's number of pixels; COCO's own files carry the area of the
polygon, which may differ by a few pixels near 32^2 and 96^2. A box is the tight one of its mask.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from int_bench.core.geometry import tight_box
from int_bench.core.instances import Instance, coco_library
from int_bench.core.types import HardMask, Values

THRESHOLDS = (0.25, *(round(0.5 + 0.05 * step, 2) for step in range(10)))
"""Of the mask IoU: .25 alone, and the ten of COCO."""
AREAS = {"all": (0.0, 1e10), "s": (0.0, 32.0**2), "m": (32.0**2, 96.0**2), "l": (96.0**2, 1e10)}
"""Areas of objects in square pixels, both ends included: all, small, medium, large."""
MOST = 100
"""Predictions of an image that count."""
_Overlap = Literal["segm", "bbox"]
"""What overlaps: masks, or their tight boxes."""


class ScoredMask(NamedTuple):
    """A predicted instance: (H, W) bool, its category by name, and a score, more being surer."""

    mask: HardMask
    category: str
    score: float


class Precision:
    """Average precision over images that are added one by one; it keeps run lengths alone.

    Args:
        categories: names of all of them; predictions of any other are refused.

    Raises:
        MissingAsset: faster-coco-eval is not installed.
    """

    def __init__(self, categories: Sequence[str]) -> None:
        self._library = coco_library("average precision")
        self._numbers = {name: number for number, name in enumerate(categories, start=1)}
        self._images: list[dict[str, Any]] = []
        self._truths: list[dict[str, Any]] = []
        self._predictions: list[dict[str, Any]] = []

    def add(
        self,
        objects: Iterable[Instance],
        predicted: Iterable[ScoredMask],
        crowds: Iterable[tuple[str, HardMask]] = (),
    ) -> None:
        """Add an image.

        Args:
            objects: its true objects.
            predicted: for it; empty masks count as wrong.
            crowds: regions of a category; predictions on them count neither way.

        Raises:
            KeyError: a category that was not named at the beginning.
        """
        self._images.append({"id": len(self._images) + 1, "height": 1, "width": 1})
        for instance in objects:
            self._add_truth(instance.category, instance.mask, crowd=False)
        for category, mask in crowds:
            self._add_truth(category, mask, crowd=True)
        for mask, category, score in predicted:
            entry = self._entry(category, mask) | {"score": float(score)}
            self._predictions.append(entry | {"id": len(self._predictions) + 1})

    def summary(self, images: Sequence[int] | None = None) -> dict[str, float]:
        """AP (mean over .50 to .95), AP25, AP50, AP75, and APs, APm, APl by the objects' area.

        In 0..1; NaN where there is no object that could be missed.

        Args:
            images: only these, by the order in which they were added, from 0; None: all.
        """
        if not self._truths:
            return dict.fromkeys(("AP", "AP25", "AP50", "AP75", "APs", "APm", "APl"), float("nan"))
        precision = self._evaluated(images, "segm")
        names = {f"AP{round(100 * at)}": [at] for at in (0.25, 0.5, 0.75)}
        scores = {"AP": _mean(precision, THRESHOLDS[1:], "all")}
        scores |= {name: _mean(precision, at, "all") for name, at in names.items()}
        return scores | {f"AP{area}": _mean(precision, THRESHOLDS[1:], area) for area in "sml"}

    def of_boxes(self, images: Sequence[int] | None = None) -> dict[str, float]:
        """The same of the masks' tight boxes: box_AP and box_AP50, as SAPNet's Table 9 has them.

        Args:
            images: see :meth:`summary`.
        """
        if not self._truths:
            return dict.fromkeys(("box_AP", "box_AP50"), float("nan"))
        precision = self._evaluated(images, "bbox")
        spans = {"box_AP": THRESHOLDS[1:], "box_AP50": [0.5]}
        return {name: _mean(precision, span, "all") for name, span in spans.items()}

    def _evaluated(self, images: Sequence[int] | None, overlap: _Overlap) -> Values:
        """Precision by threshold, recall, category and area, (11, 101, K, 4); -1 for none."""
        logging.getLogger("faster_coco_eval").setLevel(logging.WARNING)
        parts: Mapping[str, Any] = {
            "images": self._images,
            "categories": [{"id": n, "name": name} for name, n in self._numbers.items()],
        }
        truth = self._library.COCO({**parts, "annotations": self._truths})
        predicted = self._library.COCO({**parts, "annotations": self._predictions})
        evaluation = self._library.COCOeval_faster(truth, predicted, overlap)
        if images is not None:
            evaluation.params.imgIds = [index + 1 for index in images]
        evaluation.params.iouThrs = np.array(THRESHOLDS)
        evaluation.params.areaRng = [list(bounds) for bounds in AREAS.values()]
        evaluation.params.areaRngLbl = list(AREAS)
        evaluation.params.maxDets = [MOST]
        evaluation.evaluate()
        evaluation.accumulate()
        precision: Values = np.asarray(evaluation.eval["precision"], dtype=np.float64)
        return precision[..., 0]

    def _add_truth(self, category: str, mask: HardMask, crowd: bool) -> None:
        entry = self._entry(category, mask) | {"iscrowd": int(crowd), "ignore": int(crowd)}
        self._truths.append(entry | {"id": len(self._truths) + 1})

    def _entry(self, category: str, mask: HardMask) -> dict[str, Any]:
        self._images[-1] |= {"height": mask.shape[0], "width": mask.shape[1]}
        runs = self._library.mask.encode(np.asfortranarray(mask.view(np.uint8)))
        x0, y0, x1, y1 = tight_box(mask) or (0.0, 0.0, 0.0, 0.0)
        return {
            "image_id": len(self._images),
            "category_id": self._numbers[category],
            "segmentation": runs,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": float(mask.sum()),
            "iscrowd": 0,
        }


def _mean(precision: Values, thresholds: Sequence[float], area: str) -> float:
    """The mean over some thresholds, all recalls, and the categories that have objects."""
    rows = [THRESHOLDS.index(at) for at in thresholds]
    chosen = precision[rows][..., list(AREAS).index(area)]
    return float(chosen[chosen > -1].mean()) if (chosen > -1).any() else float("nan")
