"""Evaluation: denominators, policies, stored scores, and the floor."""

import dataclasses
import os

import numpy as np
import py_sod_metrics
import pytest
from PIL import Image

from int_bench.data.folders import PairedFolders
from int_bench.errors import MissingAsset, SampleError, UsageError
from int_bench.metrics.metrics import METRICS
from int_bench.metrics.rules import FAMILY, NATIVE
from int_bench.scoring.evaluate import baselines, evaluate, evaluate_all
from int_bench.scoring.predictions import Trivial, maps_in

QUICK = dataclasses.replace(FAMILY, size=(64, 64))
"""The family's rules at a size that is quick to score."""
PROTOCOLS = (NATIVE, QUICK)
NAMES = ["s1", "s2", "s10", "s11"]


def object_mask(number, shape=(24, 32)):
    mask = np.zeros(shape, bool)
    mask[4 : 10 + number % 5, 6 : 14 + number % 7] = True
    return mask


def save(mask, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(path)


@pytest.fixture
def root(tmp_path):
    for name in NAMES:
        truth = object_mask(int(name[1:]))
        save(truth, tmp_path / "gt" / f"{name}.png")
        save(np.roll(truth, 2, axis=1), tmp_path / "pred" / f"{name}.png")
    return tmp_path


def truths(root):
    return PairedFolders("set", images=None, masks=str(root / "gt"))


def run(root, **options):
    return evaluate(truths(root), maps_in(root / "pred"), PROTOCOLS, **options)


def numbers(evaluation):
    """The data set's numbers by protocol and metric."""
    return {summary.protocol.name: summary.values for summary in evaluation.summaries()}


def test_numbers_equal_the_library_called_directly(root):
    found = numbers(run(root))["native"]
    handler = py_sod_metrics.FmeasureHandler(with_dynamic=True, with_adaptive=True, beta=0.3)
    metrics = [
        py_sod_metrics.MAE(),
        py_sod_metrics.Smeasure(),
        py_sod_metrics.Emeasure(),
        py_sod_metrics.WeightedFmeasure(),
        py_sod_metrics.FmeasureV2({"f": handler}),
    ]
    for name in NAMES:
        pair = [np.asarray(Image.open(root / kind / f"{name}.png")) for kind in ("pred", "gt")]
        for metric in metrics:
            metric.step(*pair)
    mae, s, e, w, f = (metric.get_results() for metric in metrics)
    expected = {
        "MAE": mae["mae"],
        "S": s["sm"],
        "adpE": e["em"]["adp"],
        "meanE": e["em"]["curve"].mean(),
        "maxE": e["em"]["curve"].max(),
        "wF": w["wfm"],
        "adpF": f["f"]["adaptive"],
        "meanF": f["f"]["dynamic"].mean(),
        "maxF": f["f"]["dynamic"].max(),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12, rel=0), name


def test_rows_are_in_natural_order_with_all_variants(root):
    evaluation = run(root)
    assert [row.id for row in evaluation.rows] == NAMES
    for row in evaluation.rows:
        assert set(row.scores) == {"native", "family"}
        assert set(row.scores["family"].measures.values) == set(METRICS)
    assert evaluation.counts.complete


def test_a_missing_prediction_is_an_error_by_name(root):
    (root / "pred" / "s10.png").rename(root / "pred" / "S-10.png")
    with pytest.raises(
        SampleError, match=r"1 of 4 samples .*: s10 \(is it S-10\?\).*--missing"
    ) as caught:
        run(root)
    assert caught.value.exit_code == 4


def test_skip_leaves_it_out_and_counts_it(root):
    whole = run(root)
    (root / "pred" / "s10.png").unlink()
    evaluation = run(root, missing="skip")
    counts = evaluation.counts
    assert (counts.n, counts.scored, counts.failed, counts.missing) == (4, 3, 0, 1)
    assert counts.policy == "skip"
    assert not counts.complete
    kept = [row.scores["native"].measures.values["S"] for row in whole.rows if row.id != "s10"]
    assert evaluation.summaries()[0].values["S"] == pytest.approx(np.mean(kept), abs=1e-15)


def test_empty_scores_it_as_an_empty_mask_and_counts_it(root):
    (root / "pred" / "s10.png").unlink()
    evaluation = run(root, missing="empty")
    assert (evaluation.counts.scored, evaluation.counts.missing) == (3, 1)
    row = evaluation.rows[2]
    assert (row.status, row.note) == ("missing", "no prediction; scored as empty")
    nothing = NATIVE.score(np.zeros((24, 32), bool), object_mask(10)).measures.values
    assert row.scores["native"].measures.values == nothing
    values = [r.scores["native"].measures.values["MAE"] for r in evaluation.rows]
    assert evaluation.summaries()[0].values["MAE"] == pytest.approx(np.mean(values), abs=1e-15)


def test_an_unknown_policy_is_refused(root):
    with pytest.raises(UsageError, match="error, empty or skip"):
        run(root, missing="zero")


@pytest.mark.parametrize("kind", ["pred", "gt"])
def test_one_unreadable_file_fails_its_sample_only(root, kind):
    (root / kind / "s2.png").write_bytes((root / kind / "s2.png").read_bytes()[:60])
    evaluation = run(root)
    counts = evaluation.counts
    assert (counts.scored, counts.failed, counts.missing) == (3, 1, 0)
    assert evaluation.rows[1].status == "failed"
    assert f"{kind}/s2.png" in evaluation.rows[1].note
    assert len(evaluation.summaries()[0].values) == len(METRICS)


def test_recorded_failures_are_failures_not_missing(root):
    (root / "pred" / "s1.png").unlink()
    maps = maps_in(root / "pred", {"s1": "out of memory"})
    evaluation = evaluate(truths(root), maps, PROTOCOLS)
    assert (evaluation.counts.failed, evaluation.counts.missing) == (1, 0)
    assert evaluation.rows[0].note == "out of memory"


def test_a_run_in_which_everything_failed_has_no_numbers(root):
    maps = maps_in(root / "never", dict.fromkeys(NAMES, "broken"))
    evaluation = evaluate(truths(root), maps, PROTOCOLS)
    assert evaluation.counts.failed == 4
    assert numbers(evaluation) == {"native": {}, "family": {}}


def test_extra_predictions_are_named(root):
    save(object_mask(1), root / "pred" / "other.png")
    assert run(root).unmatched == ("other",)


def test_predictions_of_another_set_are_refused(root):
    for number, name in enumerate(NAMES):
        (root / "pred" / f"{name}.png").rename(root / "pred" / f"frame{number}.png")
    with pytest.raises(MissingAsset, match="frame0, and s1 was expected"):
        run(root, missing="skip")


def test_a_folder_without_maps_is_refused(root):
    with pytest.raises(MissingAsset, match="nowhere"):
        maps_in(root / "nowhere")
    (root / "empty").mkdir()
    with pytest.raises(MissingAsset, match="holds no image"):
        maps_in(root / "empty")


def test_two_predictions_of_one_id_are_refused(root):
    np.save(root / "pred" / "s1.npy", object_mask(1))
    with pytest.raises(UsageError, match=r"s1\.npy and s1\.png"):
        maps_in(root / "pred")


def test_encodings_of_one_prediction_score_alike(root):
    expected = numbers(run(root))
    for name in NAMES:
        mask = np.asarray(Image.open(root / "pred" / f"{name}.png")) > 128
        (root / "pred" / f"{name}.png").unlink()
        np.save(root / "pred" / f"{name}.npy", mask)
    assert numbers(run(root)) == expected
    for name in NAMES:
        mask = np.load(root / "pred" / f"{name}.npy")
        (root / "pred" / f"{name}.npy").unlink()
        Image.fromarray(mask.astype(np.uint8)).save(root / "pred" / f"{name}_segmentation.png")
    assert numbers(run(root)) == expected


def test_a_prediction_of_another_size_is_resized_and_noted(root):
    small = np.asarray(Image.open(root / "pred" / "s1.png"))[::2, ::2]
    Image.fromarray(small).save(root / "pred" / "s1.png")
    row = run(root).rows[0]
    assert row.status == "scored"
    assert row.note == "resized from 16x12"


def test_a_subset_of_samples(root):
    data = truths(root)
    evaluation = evaluate(data, maps_in(root / "pred"), PROTOCOLS, samples=data.samples()[:2])
    assert [row.id for row in evaluation.rows] == NAMES[:2]
    assert evaluation.counts.n == 2
    assert evaluation.unmatched == ()


def test_processes_change_nothing(root):
    alone, together = run(root, workers=1), run(root, workers=2)
    assert numbers(alone) == numbers(together)
    assert [row.id for row in together.rows] == NAMES
    for one, other in zip(alone.rows, together.rows, strict=True):
        assert one.scores["family"].measures.values == other.scores["family"].measures.values


class Dying(Trivial):
    """Predictions that end the process that loads them."""

    def load(self, sample, truth):
        os._exit(9)


def test_a_dead_process_is_one_sentence(root):
    with pytest.raises(UsageError, match=r"scoring process died.*fewer than these 2.*--workers"):
        evaluate(truths(root), Dying("empty"), PROTOCOLS, workers=2)


def test_nothing_asked_for_is_nothing_scored(root):
    assert evaluate(truths(root), maps_in(root / "pred"), samples=()).counts.n == 0
    assert list(baselines(truths(root), samples=())) == ["empty", "full", "centre_box"]


def test_baselines_follow_the_same_rules(root):
    floor = baselines(truths(root), PROTOCOLS)
    assert list(floor) == ["empty", "full", "centre_box"]
    share = np.mean([object_mask(int(name[1:])).mean() for name in NAMES])
    for evaluation in floor.values():
        assert evaluation.counts.complete
        assert [s.protocol for s in evaluation.summaries()] == list(PROTOCOLS)
    assert floor["empty"].summaries()[0].values["MAE"] == pytest.approx(share)
    assert floor["full"].summaries()[0].values["MAE"] == pytest.approx(1 - share)
    alone = evaluate(truths(root), Trivial("centre_box"), PROTOCOLS)
    assert numbers(floor["centre_box"]) == numbers(alone)


def test_each_ground_truth_is_read_once_for_all_predictions(root, monkeypatch):
    read = []
    load = PairedFolders.load_mask
    monkeypatch.setattr(
        PairedFolders, "load_mask", lambda self, one: read.append(one.id) or load(self, one)
    )
    for name in NAMES:
        save(object_mask(3), root / "other" / f"{name}.png")
    sets = [maps_in(root / "pred"), maps_in(root / "other"), Trivial("full")]
    together = evaluate_all(truths(root), sets, PROTOCOLS)
    assert read == NAMES
    alone = [evaluate(truths(root), each, PROTOCOLS) for each in sets]
    assert list(map(numbers, together)) == list(map(numbers, alone))
