"""Average precision: by hand, and equal to pycocotools on random images."""

from __future__ import annotations

import contextlib
import io
import math

import numpy as np
import pytest

from int_bench.core.instances import Instance
from int_bench.errors import MissingAsset
from int_bench.metrics.instances import Precision, ScoredMask

NAMES = ("cat", "dog", "owl")


def box(x0, y0, x1, y1, side=128):
    mask = np.zeros((side, side), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def instance(mask, category="cat"):
    return Instance("i", category, mask, (0, 0, 1, 1), (0, 0))


def summary(*images, categories=NAMES):
    precision = Precision(categories)
    for image in images:
        precision.add(*image)
    return precision.summary()


def test_a_perfect_prediction_has_all_of_it_and_a_missed_object_half():
    small, large = box(0, 0, 20, 20), box(10, 10, 110, 110)
    both = ([instance(small), instance(large)], [ScoredMask(large, "cat", 0.9)])
    scores = summary(both)
    # Recall 1/2 at precision 1: 51 of 101 recalls. Nothing is medium.
    assert all(scores[name] == pytest.approx(51 / 101) for name in ("AP", "AP25", "AP50", "AP75"))
    assert (scores["APs"], scores["APl"]) == (0.0, 1.0) and math.isnan(scores["APm"])


def test_the_threshold_decides_by_iou():
    # Of 40 columns 24 are met: IoU .6, so .25, .50, .55 and .60 of the thresholds are passed.
    truth, part = box(0, 0, 40, 40), box(0, 0, 24, 40)
    scores = summary(([instance(truth)], [ScoredMask(part, "cat", 0.1)]))
    assert (scores["AP25"], scores["AP50"], scores["AP75"]) == (1.0, 1.0, 0.0)
    assert scores["AP"] == pytest.approx(3 / 10)


def test_a_wrong_prediction_before_the_right_one_halves_the_precision():
    truth = box(0, 0, 40, 40)
    wrong = ScoredMask(box(60, 60, 90, 90), "cat", 0.9)
    right = ScoredMask(truth, "cat", 0.5)
    assert summary(([instance(truth)], [right, wrong]))["AP50"] == pytest.approx(1 / 2)
    assert summary(([instance(truth)], [right._replace(score=1.0), wrong]))["AP50"] == 1.0
    # On a crowd it counts neither way.
    crowd = [("cat", box(50, 50, 100, 100))]
    assert summary(([instance(truth)], [right, wrong], crowd))["AP50"] == 1.0


def test_categories_do_not_mix_and_those_without_objects_do_not_count():
    truth = box(0, 0, 40, 40)
    named = ([instance(truth)], [ScoredMask(truth, "dog", 0.9)])
    assert summary(named)["AP"] == 0.0
    assert math.isnan(summary(([], [ScoredMask(truth, "dog", 0.9)]))["AP"])
    with pytest.raises(KeyError):
        summary(([], [ScoredMask(truth, "fox", 0.9)]))


def test_of_boxes_nothing_is_missed_without_objects():
    assert math.isnan(Precision(NAMES).of_boxes()["box_AP"])


def test_nothing_predicted_is_zero():
    assert summary(([instance(box(0, 0, 9, 9))], []))["AP"] == 0.0
    empty = ScoredMask(box(0, 0, 0, 0), "cat", 0.5)
    assert summary(([instance(box(0, 0, 9, 9))], [empty]))["AP"] == 0.0


def test_without_the_library_it_says_so(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faster_coco_eval", None)
    with pytest.raises(MissingAsset, match=r"pip install 'int-bench\[instances\]'"):
        Precision(NAMES)


def random_images(seed: int, count: int, side: int = 160):
    """Objects of all sizes, predictions that miss, merge, double and tie; crowds."""
    rng = np.random.default_rng(seed)

    def blob():
        half = np.exp(rng.uniform(np.log(3), np.log(1.2 * side), 2)) / 2
        at = rng.uniform(0, side, 2)
        y, x = np.ogrid[:side, :side]
        return ((x + 0.5 - at[0]) / half[0]) ** 2 + ((y + 0.5 - at[1]) / half[1]) ** 2 <= 1

    for _ in range(count):
        shapes = [(blob(), str(rng.choice(NAMES))) for _ in range(rng.integers(0, 7))]
        shapes = [(mask, name) for mask, name in shapes if mask.any()]
        predicted = []
        for mask, name in shapes:
            for _ in range(rng.integers(0, 4)):
                moved = np.roll(mask, rng.integers(-2, 3, 2), (0, 1))
                other = name if rng.random() < 0.8 else str(rng.choice(NAMES))
                predicted.append(ScoredMask(moved, other, float(rng.integers(1, 12)) / 12))
        predicted += [
            ScoredMask(blob(), str(rng.choice(NAMES)), rng.random() / 2) for _ in range(3)
        ]
        crowds = [(str(rng.choice(NAMES)), blob())] if rng.random() < 0.3 else []
        yield [instance(*shape) for shape in shapes], predicted, [c for c in crowds if c[1].any()]


def by_pycocotools(images) -> dict[str, float]:
    coco, cocoeval = (pytest.importorskip(f"pycocotools.{name}") for name in ("coco", "cocoeval"))
    encode = pytest.importorskip("pycocotools.mask").encode

    def entry(mask, name, image, **more):
        runs = encode(np.asfortranarray(mask.view(np.uint8)))
        number = NAMES.index(name) + 1
        area = float(mask.sum())
        ids = {"image_id": image, "category_id": number, "area": area, "iscrowd": 0}
        rows, columns = np.nonzero(mask)
        edges = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1] if area else ()
        return {**ids, "segmentation": runs, "bbox": [*map(float, edges or (0,) * 4)], **more}

    truths, predicted = [], []
    for number, (objects, masks, crowds) in enumerate(images, start=1):
        truths += [entry(o.mask, o.category, number) for o in objects]
        truths += [entry(mask, name, number, iscrowd=1) for name, mask in crowds]
        predicted += [entry(m.mask, m.category, number, score=m.score) for m in masks]
    parts = {
        "images": [{"id": n + 1, "height": 160, "width": 160} for n in range(len(images))],
        "categories": [{"id": n, "name": name} for n, name in enumerate(NAMES, start=1)],
    }
    sets = []
    for entries in (truths, predicted):
        numbered = [{**e, "id": number} for number, e in enumerate(entries, start=1)]
        sets.append(coco.COCO())
        sets[-1].dataset = {**parts, "annotations": numbered}
        sets[-1].createIndex()
    scores = {}
    for names, thresholds in (
        (("AP", "AP50", "AP75", "APs", "APm", "APl"), None),
        (("AP25",), [0.25]),
    ):
        evaluation = cocoeval.COCOeval(*sets, "segm")
        if thresholds:
            evaluation.params.iouThrs = np.array(thresholds)
        evaluation.evaluate()
        evaluation.accumulate()
        if thresholds:
            precision = evaluation.eval["precision"][0, :, :, 0, -1]
            scores["AP25"] = float(precision[precision > -1].mean())
        else:
            evaluation.summarize()
            scores |= dict(zip(names, evaluation.stats[:6], strict=True))
    evaluation = cocoeval.COCOeval(*sets, "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return scores | {"box_AP": evaluation.stats[0], "box_AP50": evaluation.stats[1]}


@pytest.mark.parametrize("seed", range(4))
def test_it_is_what_pycocotools_computes(seed):
    images = list(random_images(seed, 50))
    precision = Precision(NAMES)
    for image in images:
        precision.add(*image)
    ours = precision.summary() | precision.of_boxes()
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = by_pycocotools(images)
    assert set(ours) == set(theirs)
    assert min(ours["AP"], ours["box_AP"]) > 0.05 and ours["AP"] < 0.9
    for name, value in ours.items():
        assert abs(value - theirs[name]) <= 1e-12, name
