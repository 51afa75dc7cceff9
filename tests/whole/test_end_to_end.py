"""INT on the shipped models, from images to scores, through the same parts as ``int-bench run``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import py_sod_metrics
import pytest

from int_bench.config import build_backbones, build_method, load_config
from int_bench.data.folders import PairedFolders
from int_bench.data.world.dataset import DrawnScenes
from int_bench.engine.broker import Broker
from int_bench.metrics.rules import NATIVE
from int_bench.runs.execute import Variant, run
from int_bench.runs.reader import Run
from int_bench.scoring.evaluate import evaluate
from int_bench.scoring.predictions import maps_in
from tests.runs.test_run import Plan
from tests.runs.test_store import opened

REAL = Path(os.environ.get("INT_BENCH_REAL", Path(__file__).parents[3] / "shared" / "real"))
SHORT = ["method.iterations=2", "method.prompter.generation.grid.sets=[original,halves]"]


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    return build_backbones(load_config(["models=tiny", "device=cpu"]))


def segment(
    folder: Path,
    models: dict[str, Any],
    dataset: Any,
    samples: Sequence[Any],
    max_batch: int = 1,
    in_flight: int = 1,
) -> dict[str, int]:
    """Run two short iterations of INT; the broker's counters."""
    config = load_config([*SHORT, "models=tiny", "device=cpu"])
    broker = Broker(models, max_batch=max_batch, in_flight=in_flight)
    with opened(folder) as store:
        variant = Variant("int", build_method(config), store)
        run(Plan(dataset, samples, config.task.prompt), [variant], broker)
    assert not Run(folder).failures
    return broker.counters


def masks(folder: Path) -> dict[str, bytes]:
    """Every stored mask's bytes."""
    paths = sorted(folder.rglob("*.png"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: Any, models: dict[str, Any]) -> Iterator[tuple[Path, DrawnScenes]]:
    """Three drawn scenes, one at a time, in order."""
    scenes = DrawnScenes(count=3)
    folder = tmp_path_factory.mktemp("alone")
    segment(folder, models, scenes, scenes.samples())
    yield folder, scenes


def test_each_sample_ends_with_masks_of_every_iteration(alone: tuple[Path, DrawnScenes]) -> None:
    folder, scenes = alone
    found = masks(folder)
    ids = [sample.id for sample in scenes.samples()]
    assert sorted(found) == sorted(
        f"masks/0/{name}/{i}.png" for i in ids for name in ("1", "2", "final")
    )


def test_masks_do_not_depend_on_order_company_or_limit(
    alone: tuple[Path, DrawnScenes], models: dict[str, Any], tmp_path: Path
) -> None:
    """Exactness class E0: all bytes equal, with three images in flight and in another order."""
    folder, scenes = alone
    segment(tmp_path / "together", models, scenes, scenes.samples()[::-1], in_flight=3)
    assert masks(tmp_path / "together") == masks(folder)
    segment(tmp_path / "one", models, scenes, scenes.samples()[1:2])
    expected = {k: v for k, v in masks(folder).items() if scenes.samples()[1].id in k}
    assert masks(tmp_path / "one") == expected


def test_batches_agree_up_to_rounding(
    alone: tuple[Path, DrawnScenes], models: dict[str, Any], tmp_path: Path
) -> None:
    """Exactness class E1: at least 99.9 % of all pixels equal."""
    folder, scenes = alone
    segment(tmp_path, models, scenes, scenes.samples(), max_batch=16, in_flight=3)
    same = total = 0
    for sample in scenes.samples():
        truth = scenes.load_mask(sample)
        pair = [maps_in(p / "masks/0/final").load(sample, truth) for p in (folder, tmp_path)]
        same += int((np.asarray(pair[0]) == np.asarray(pair[1])).sum())
        total += np.asarray(pair[0]).size
    assert same / total >= 0.999


def test_stored_masks_score_as_pysodmetrics_scores_them(alone: tuple[Path, DrawnScenes]) -> None:
    folder, scenes = alone
    predictions = maps_in(folder / "masks" / "0" / "final")
    values = evaluate(scenes, predictions, (NATIVE,)).summaries()[0].values
    structure, error = py_sod_metrics.Smeasure(), py_sod_metrics.MAE()
    enhanced = py_sod_metrics.Emeasure()
    for sample in scenes.samples():
        truth = scenes.load_mask(sample).astype(np.uint8) * 255
        prediction = np.asarray(predictions.load(sample, scenes.load_mask(sample)))
        for metric in (structure, error, enhanced):
            metric.step(pred=prediction, gt=truth)
    assert values["S"] == pytest.approx(structure.get_results()["sm"], abs=1e-12)
    assert values["MAE"] == pytest.approx(error.get_results()["mae"], abs=1e-12)
    curve = enhanced.get_results()["em"]["curve"]
    assert values["meanE"] == pytest.approx(curve.mean(), abs=1e-12)


@pytest.mark.skipif(not (REAL / "camo").is_dir(), reason="no real pairs here")
def test_real_photographs_of_any_size_end_with_a_mask_at_their_size(
    models: dict[str, Any], tmp_path: Path
) -> None:
    pairs = PairedFolders(
        name="camo", images=str(REAL / "camo/images"), masks=str(REAL / "camo/masks")
    )
    sample = pairs.samples()[0]
    truth = pairs.load_mask(sample)
    segment(tmp_path, models, pairs, [sample])
    mask = np.asarray(maps_in(tmp_path / "masks" / "0" / "final").load(sample, truth))
    assert mask.shape == truth.shape
    assert (
        evaluate(
            pairs, maps_in(tmp_path / "masks/0/final"), (NATIVE,), samples=[sample]
        ).counts.scored
        == 1
    )


def test_the_vlm_computes_each_patch_and_question_once(
    models: dict[str, Any], tmp_path: Path
) -> None:
    """Five patches, three questions: 15 answers, however many iterations run."""
    scenes = DrawnScenes(count=1)
    counters = segment(tmp_path, models, scenes, scenes.samples())
    assert counters["vlm.answer.rows"] == 15
    assert counters["vlm.score.rows"] <= 5 + 2 * 5
    assert counters["inpainter.inpaint.rows"] <= 2
