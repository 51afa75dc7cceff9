"""Several objects from end to end: two animals of one kind, their boxes, records and masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from int_bench.config import build_backbones, build_method, load_config
from int_bench.data.world.dataset import DrawnScenes
from int_bench.engine.broker import Broker
from int_bench.metrics.objects import object_overlaps
from int_bench.runs.execute import Variant, run
from int_bench.runs.reader import Run
from int_bench.scoring.predictions import maps_in
from tests.runs.test_run import Plan
from tests.runs.test_store import opened

SCENES = DrawnScenes(split="validation", count=2, animals="two_same", world=2)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One iteration of INT, and SAM on the true boxes."""
    shared = ["models=tiny", "device=cpu"]
    models = build_backbones(load_config(shared))
    short = ["method.iterations=1", "method.prompter.generation.grid.sets=[original]"]
    found = {}
    for name, words in (("int", short), ("oracle_box_sam", [])):
        config = load_config([*shared, f"method={name}", *words])
        found[name] = tmp_path_factory.mktemp(name)
        with opened(found[name]) as store:
            variant = Variant(name, build_method(config), store)
            run(Plan(SCENES, SCENES.samples(), config.task.prompt), [variant], Broker(models))
        assert not Run(found[name]).failures
    return found


def _final(folder: Path, sample: Any) -> np.ndarray:
    truth = SCENES.load_mask(sample)
    return np.asarray(maps_in(folder / "masks" / "0" / "final").load(sample, truth)) > 0


def test_the_truth_is_all_animals_and_each_alone() -> None:
    for sample in SCENES.samples():
        animals = SCENES.object_masks(sample)
        assert len(animals) == 2
        assert not (animals[0] & animals[1]).any()
        assert np.array_equal(animals[0] | animals[1], SCENES.load_mask(sample))


def test_two_true_boxes_give_one_mask_of_both(folders: dict[str, Path]) -> None:
    for sample in SCENES.samples():
        animals = SCENES.object_masks(sample)
        overlaps = object_overlaps(_final(folders["oracle_box_sam"], sample), animals)
        assert overlaps.min() > 0.4
        # Each animal's own share of the mask lies on it, not on the other.
        mask = _final(folders["oracle_box_sam"], sample)
        assert all((mask & animal).sum() > 0.4 * animal.sum() for animal in animals)


def test_the_record_lists_a_box_for_each_object_that_the_detector_finds(
    folders: dict[str, Path],
) -> None:
    counts = [
        len(mask["boxes_image"])
        for record in Run(folders["int"]).records.values()
        for iteration in record.iterations
        for mask in iteration.details["masks"]
    ]
    assert max(counts) >= 2
