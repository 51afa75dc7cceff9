"""``int-bench table plm`` on runs whose scores are known before."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from int_bench.core.types import Iteration, Masks, Prediction
from int_bench.data.world.crowd_dataset import CrowdScenes
from int_bench.errors import MissingAsset, SampleError
from int_bench.methods.oracles import TruthPoints
from int_bench.report.point_table import point_table

DATA = ("dataset=camoworld_crowd", "dataset.split=val", "dataset.count=1", "dataset.size=32")


async def answered(self, sample, ask):
    """The truth at the first point and nothing at the second, both without a model."""
    masks = [sample.truth, np.zeros_like(sample.truth)][: self.positions]
    made = [Iteration(Masks(mask, mask.astype(np.float32)), "animal") for mask in masks]
    return Prediction(tuple(made), (0,) * len(made))


async def failing(self, sample, ask):
    """Nothing, for no sample."""
    raise SampleError("no mask")


def test_means_spreads_and_differences(command, monkeypatch):
    monkeypatch.setattr(TruthPoints, "segment", answered)
    for label, positions in (("sam_point", 2), ("better", 1)):
        words = (f"label={label}", f"method.positions={positions}")
        assert command("run", "method=sam_point", *DATA, *words)[0] == 0
    monkeypatch.setattr(TruthPoints, "segment", failing)
    assert command("run", "method=sam_point", *DATA, "label=nothing")[0] == 4
    code, out, err = command("table", "plm", "--format", "json")
    assert code == 0, err
    rows = {(row["method"], row["row"]): row for row in json.loads(out)["rows"]}
    base = rows["sam_point", "ours"]
    objects = len(CrowdScenes(split="val", count=1).samples())
    assert (base["first"], base["mean"], base["spread"]) == (1.0, 0.5, 0.5)
    assert (base["distance"], base["boundary"], base["n"]) == (0.0, 0.5, objects)
    better = rows["better", "minus sam_point"]
    assert (better["first"], better["mean"], better["spread"]) == (0.0, 0.5, -0.5)
    assert ("sam_point", "minus sam_point") not in rows
    assert rows["nothing", "ours"]["n"] == rows["nothing", "minus sam_point"]["n"] == 0
    for masks in Path().glob("results/runs/**/masks/0/2"):
        shutil.rmtree(masks)
    code, _, err = command("table", "plm")
    assert code == 3 and "keep=iterations" in err


def test_without_a_run_of_points_it_says_how_to_make_one():
    with pytest.raises(MissingAsset, match="method=sam_point"):
        point_table([])
