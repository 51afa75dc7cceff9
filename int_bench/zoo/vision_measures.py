"""What the card measures of SAM, CLIP and GroundingDINO: see `measures`.

Each scene has decoys, which look like its environment's favourite: a detector should box them under
that name, and not under the animal's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from int_bench.core.equations import keep_inside, reweight
from int_bench.core.requests import Detect, Heatmap, Point, Segment, Similarity
from int_bench.core.templates import DETECT
from int_bench.core.types import Picture
from int_bench.data.world.scenes import ANIMALS, ENVIRONMENTS, NAMES, Scenes, boxes
from int_bench.zoo.measures import (
    Cases,
    Measure,
    Values,
    ask,
    equal,
    names_of,
    overlap,
    pictures,
)

THRESHOLD = 0.3
"""Score from which on the method takes a box."""


def measure_sam(models: Mapping[str, Any], cases: Cases) -> list[Measure]:
    """Masks from true boxes and true centre points; selection between two animals."""
    segment = models["segmenter"].segment
    images, masks = pictures(cases.single.images), cases.single.masks[:, 0]
    true_boxes = boxes(masks)
    by_box = ask(segment, [Segment(p, tuple(b)) for p, b in zip(images, true_boxes, strict=True)])
    by_point = ask(
        segment, [Segment(p, None, (_inner(m),)) for p, m in zip(images, masks, strict=True)]
    )
    dimmed = [_half_dimmed(i, m, b) for i, m, b in zip(cases.single.images, masks, true_boxes,
                                                       strict=True)]  # fmt: skip
    by_half = ask(segment, [Segment(p, tuple(b)) for p, b in zip(dimmed, true_boxes, strict=True)])
    decoys, owners = cases.single.decoys[:, 0], boxes(cases.single.decoys[:, 0])
    by_decoy = ask(segment, [Segment(p, tuple(b)) for p, b in zip(images, owners, strict=True)])
    pair = cases.pair
    selected = []
    for slot in range(2):
        requests = [
            Segment(Picture(image), tuple(box))
            for image, box in zip(pair.images, boxes(pair.masks[:, slot]), strict=True)
        ]
        for segmented, animals in zip(ask(segment, requests), pair.masks, strict=True):
            hard = segmented.logits > 0
            selected.append(_iou(hard, animals[slot]) > _iou(hard, animals[1 - slot]))
    return [
        Measure("SAM", "IoU, true box", _ious(by_box, masks), ">= .75", ">= .85"),
        Measure("SAM", "IoU, true centre point", _ious(by_point, masks), ">= .68", ">= .78"),
        Measure("SAM", "IoU, true box of a decoy", _ious(by_decoy, decoys)),
        Measure(
            "SAM", "IoU, larger half bright, 4 passes", _ious(by_half, masks), ">= .74", ">= .77"
        ),
        Measure(
            "SAM", "two animals: the box selects", np.array(selected) * 1.0, ">= .90", ">= .95"
        ),
    ]


def _half_dimmed(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], box: NDArray[np.float32]
) -> Picture:
    """Eq. 12, four times over, where a patch border through the box kept the larger half alone."""
    x0, y0, x1, y1 = box
    kept = mask.copy()
    if x1 - x0 > y1 - y0:
        kept[:, round((x0 + x1) / 2) :] = False
    else:
        kept[round((y0 + y1) / 2) :] = False
    if 2 * kept.sum() < mask.sum():
        kept = mask & ~kept
    view = image.astype(np.float32)
    for _ in range(4):
        view = reweight(image, view, kept.astype(np.float32), base="original")
    return Picture(np.rint(view).astype(np.uint8))


def _inner(mask: NDArray[np.bool_]) -> Point:
    """The mask's pixel that is nearest to its centre of mass."""
    rows, columns = np.nonzero(mask)
    nearest = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    return Point(float(columns[nearest]) + 0.5, float(rows[nearest]) + 0.5, True)


def _iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float((first & second).sum() / max(1, (first | second).sum()))


def _ious(segmented: Sequence[Any], masks: NDArray[np.bool_]) -> Values:
    return np.array([_iou(f.logits > 0, m) for f, m in zip(segmented, masks, strict=True)])


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
    likes = [NAMES[name] for name in scenes.decoy_names[:, 0]]
    drawn = [
        Picture(keep_inside(image, mask))
        for image, mask in zip(scenes.images, scenes.decoys[:, 0], strict=True)
    ]
    cosines = ask(aligner.similarity, [Similarity(p, name) for p in drawn for name in ANIMALS])
    seen = np.array(cosines).reshape(len(drawn), len(ANIMALS)).argmax(axis=1)
    liked = equal([ANIMALS[g] for g in seen], likes)
    heats = ask(aligner.heatmap, _heat_requests(scenes, 0))
    inside = [_peak(h, m) for h, m in zip(heats, scenes.masks[:, 0], strict=True)]
    selected = []
    for slot in range(2):
        for heat, animals in zip(
            ask(aligner.heatmap, _heat_requests(cases.pair, slot)), cases.pair.masks, strict=True
        ):
            selected.append(_highest(heat, animals[slot]) > _highest(heat, animals[1 - slot]))
    return [
        Measure("CLIP", "right name of the cut-out", named, ">= .60", ">= .85"),
        Measure("CLIP", "a decoy's cut-out is named as it looks", liked),
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
    truth, likes = names_of(scenes), [NAMES[name] for name in scenes.decoy_names[:, 0]]
    shift = np.random.default_rng(5).integers(len(ANIMALS) - 2, size=len(truth))
    wrong = [
        [a for a in ANIMALS if a not in (name, like)][s]
        for name, like, s in zip(truth, likes, shift, strict=True)
    ]
    right_detected = _best(detect, scenes, truth)
    wrong_detected, like_detected = _best(detect, scenes, wrong), _best(detect, scenes, likes)
    true_boxes, decoys = boxes(scenes.masks[:, 0]), boxes(scenes.decoys)
    right_on, wrong_on = _on(right_detected, true_boxes), _on(wrong_detected, true_boxes)
    hits = [overlap(f[0], t) >= 0.5 for f, t in zip(right_detected, true_boxes, strict=True)]
    scores = [np.array([f[1] for f in detected]) for detected in (right_detected, wrong_detected)]
    return [
        Measure("GroundingDINO", "recall at IoU .5", np.array(hits) * 1.0, ">= .85", ">= .95"),
        Measure("GroundingDINO", "right against wrong, AUC", _auc(*scores), ">= .87", ">= .96"),
        Measure("GroundingDINO", "right name on the animal", right_on, ">= .90", ">= .95"),
        Measure(
            "GroundingDINO",
            "decoys' name on a decoy",
            _on(like_detected, decoys),
            ">= .70",
            ">= .85",
        ),
        Measure("GroundingDINO", "third name on the animal", wrong_on, "<= .30", "<= .15"),
        Measure("GroundingDINO", "decoys' name on the animal", _on(like_detected, true_boxes)),
        Measure(
            "GroundingDINO",
            "two animals: the word selects",
            _selected(detect, cases.pair),
            ">= .83",
            ">= .94",
        ),
    ]


def _selected(detect: Any, scenes: Scenes) -> Values:
    """1 where a word's best box overlaps more with its own animal than with the other."""
    selected = []
    true_boxes = [boxes(scenes.masks[:, slot]) for slot in range(2)]
    for slot in range(2):
        for i, best in enumerate(_best(detect, scenes, names_of(scenes, slot))):
            near, far = (
                overlap(best[0], true_boxes[slot][i]),
                overlap(best[0], true_boxes[1 - slot][i]),
            )
            selected.append(near > far)
    return np.array(selected) * 1.0


def _best(detect: Any, scenes: Scenes, names: Sequence[str]) -> list[tuple[Any, float]]:
    """The best box and its score for each scene; an empty box where there is none."""
    requests = [
        Detect(Picture(image), DETECT.format(name=name), 0.0, 0.0)
        for image, name in zip(scenes.images, names, strict=True)
    ]
    detections = ask(detect, requests)
    return [(d[0].box, d[0].score) if d else ((0.0, 0.0, 0.0, 0.0), 0.0) for d in detections]


def _on(detected: Sequence[tuple[Any, float]], wanted: NDArray[np.float32]) -> Values:
    """Whether the best box is taken and has an IoU of .5 with one of the wanted, (N[, M], 4)."""
    rows = wanted.reshape(len(wanted), -1, 4)
    return np.array([
        score >= THRESHOLD and any(overlap(box, target) >= 0.5 for target in row)
        for (box, score), row in zip(detected, rows, strict=True)
    ]) * 1.0  # fmt: skip


def _auc(right: Values, wrong: Values) -> Values:
    """Per right case the share of wrong cases that score lower; its mean is the AUC."""
    ranks = rankdata(np.concatenate([right, wrong]))[: len(right)] - rankdata(right)
    return np.asarray(ranks / len(wrong), dtype=np.float64)
