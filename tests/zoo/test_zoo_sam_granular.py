"""The shipped SAM for which a point is ambiguous: three masks of three granularities."""

from __future__ import annotations

import numpy as np

from int_bench.backbones.sam import Sam
from int_bench.core.requests import Point, Proposals
from int_bench.core.types import Picture
from int_bench.data.instances.granularity import granular
from int_bench.data.world.crowd_dataset import CrowdScenes
from int_bench.learning.sam_granular import GRANULARITIES


def iou(mask, truth):
    return (mask & truth).sum() / (mask | truth).sum()


def test_the_best_of_its_masks_is_far_better_than_the_one_that_it_trusts():
    data, sam = CrowdScenes(split="val", count=12), Sam("zoo:sam_granular", device="cpu")
    gaps, own = [], []
    for sample in data.samples():
        objects = data.objects(sample)
        truths = {kind: granular(kind, objects) for kind in GRANULARITIES}
        request = Proposals(Picture(data.load_image(sample)), (Point(*objects[0].point, True),))
        (answer,) = sam.proposals([request])
        ious = [iou(mask.logits > 0, truths["whole"]) for mask in answer]
        gaps.append(max(ious) - ious[0])
        own.append([max(iou(m.logits > 0, truth) for m in answer) for truth in truths.values()])
    assert len(gaps) > 30 and np.mean(gaps) > 0.15
    assert (np.mean(own, axis=0) > 0.5).all()


def test_it_is_the_shipped_sam_but_for_its_mask_decoder():
    granular_weights = Sam("zoo:sam_granular", device="cpu").read().state_dict()
    plain = Sam("zoo:sam", device="cpu").read().state_dict()
    changed = {n.partition(".")[0] for n in plain if not plain[n].equal(granular_weights[n])}
    assert changed == {"mask_decoder"}
