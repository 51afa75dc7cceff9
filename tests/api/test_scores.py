"""Anybody's masks scored from Python: the numbers of the command line."""

from __future__ import annotations

import json

import pytest

import int_bench
from int_bench.errors import MissingAsset, SampleError


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


def test_a_folder_that_is_not_there_is_named(pairs):
    with pytest.raises(MissingAsset, match=r"pred=nowhere: there is no such folder\."):
        int_bench.score(pred="nowhere", gt=pairs / "masks")
    (pairs / "images" / "a5.png").unlink()
    with pytest.raises(SampleError, match="a5"):
        int_bench.score(pred=pairs / "images", gt=pairs / "masks")
