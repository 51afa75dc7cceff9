"""Anybody's masks scored from Python: the numbers of the command line."""

from __future__ import annotations

import json

import pytest

import int_bench
from int_bench.api.scores import scores_of
from int_bench.data.folders import PairedFolders
from int_bench.errors import MissingAsset, SampleError
from int_bench.scoring.predictions import maps_in


def test_the_numbers_are_those_of_the_command_line(command, pairs):
    (pairs / "images" / "a5.png").unlink()
    words = ["eval", "--pred", pairs / "images", "--gt", pairs / "masks", "--missing", "empty"]
    code, out, _ = command(*words, "--json")
    scores = int_bench.score(pred=pairs / "images", gt=pairs / "masks", missing="empty")
    assert code == 4 and scores.counts.missing == 1 and scores.counts.n == 6
    assert json.loads(out)["metrics"] == scores.metrics
    assert scores.samples["a0"]["native"]["MAE"] > 0
    assert scores.floor["empty"]["family"]["wF"] == 0
    assert str(scores).startswith("images: 5 of 6 scored, 0 failed, 1 missing\n  native")


def test_the_truth_itself_is_perfect(pairs):
    scores = int_bench.score(pred=pairs / "masks", gt=pairs / "masks")
    assert scores.metrics["native"]["MAE"] == 0
    assert scores.metrics["native"]["S"] == pytest.approx(1)
    assert scores.counts.complete


def test_trials_count_for_each_image_by_their_mean(pairs):
    (pairs / "images" / "a5.png").unlink()
    truths = PairedFolders(name="pairs", images=None, masks=str(pairs / "masks"))
    trials = [maps_in(pairs / "images"), maps_in(pairs / "masks")]
    both = scores_of("both", truths, trials, truths.samples(), "skip")
    first = int_bench.score(pred=pairs / "images", gt=pairs / "masks", missing="skip")
    assert both.counts.n == 12 and both.counts.trials == 2 and both.counts.missing == 1
    for sample, metrics in both.samples.items():
        error = first.samples[sample]["native"]["MAE"] / 2 if sample in first.samples else 0
        assert metrics["native"]["MAE"] == pytest.approx(error)
    mean = sum(metrics["native"]["MAE"] for metrics in both.samples.values()) / 6
    assert both.metrics["native"]["MAE"] == pytest.approx(mean) and mean > 0


def test_a_folder_that_is_not_there_is_named(pairs):
    with pytest.raises(MissingAsset, match=r"pred=nowhere: there is no such folder\."):
        int_bench.score(pred="nowhere", gt=pairs / "masks")
    (pairs / "images" / "a5.png").unlink()
    with pytest.raises(SampleError, match="a5"):
        int_bench.score(pred=pairs / "images", gt=pairs / "masks")
