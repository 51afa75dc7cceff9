"""What a click may mean, by hand and in crowds."""

import numpy as np
import pytest

from int_bench.core.instances import Instance
from int_bench.data.instances.granularity import granular
from int_bench.data.world.crowd_dataset import CrowdScenes
from int_bench.errors import UsageError


def block(name, x0, y0, x1, y1):
    mask = np.zeros((20, 30), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return Instance(name, "animal", mask, (x0, y0, x1, y1), ((x0 + x1) / 2, (y0 + y1) / 2))


CHAIN = (block("a", 0, 0, 5, 5), block("c", 9, 3, 14, 8), block("b", 5, 2, 9, 6))
FAR = block("far", 20, 10, 30, 20)


def test_a_group_hangs_together_through_others():
    group = granular("group", (CHAIN[0], FAR, *CHAIN[1:]))
    assert np.array_equal(group, np.any([member.mask for member in CHAIN], axis=0))
    assert np.array_equal(granular("group", (FAR, *CHAIN)), FAR.mask)
    assert granular("whole", (FAR, *CHAIN)) is FAR.mask


def test_a_part_is_the_disc_at_the_point():
    part = granular("part", (FAR, *CHAIN))
    rows, columns = np.nonzero(FAR.mask)
    near = np.hypot(columns + 0.5 - 25, rows + 0.5 - 15) <= 3.8
    assert part.sum() == near.sum() == 44
    assert not (part & ~FAR.mask).any()


def test_crowds_by_their_truth():
    scenes = {
        kind: CrowdScenes(split="val", count=6, truth=kind) for kind in ("part", "whole", "group")
    }
    masks = {
        kind: np.array([data.load_mask(sample) for sample in data.samples()])
        for kind, data in scenes.items()
    }
    assert (masks["part"] <= masks["whole"]).all() and (masks["whole"] <= masks["group"]).all()
    areas = {kind: of.mean() for kind, of in masks.items()}
    assert 2 * areas["part"] < areas["whole"] < areas["group"] / 1.5
    assert len({data.manifest() for data in scenes.values()}) == 3
    with pytest.raises(UsageError, match="unit=object"):
        CrowdScenes(unit="image", truth="group")
