"""One estimator: ``eval``, its JSON, ``table``, ``compare`` and the field print the same number."""

from __future__ import annotations

import csv
import io
import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from int_bench.cli.results import load_run
from int_bench.data.folders import PairedFolders
from int_bench.errors import SampleError
from int_bench.metrics.rules import PROTOCOLS
from int_bench.metrics.summary import mean, sample_means
from int_bench.report.columns import stored_names
from int_bench.report.comparison import compare
from int_bench.report.field import Entry, Field, field_table
from int_bench.report.paper_tables import runs_table
from int_bench.report.scores import score_table
from int_bench.scoring.evaluate import evaluate_all
from int_bench.scoring.predictions import MapFolder
from int_bench.scoring.results import Present, read_scores
from int_bench.scoring.score import Rules, Scorable, score_runs
from int_bench.scoring.sources import Source

NAMES = ("a", "b", "c", "d")
NAN = np.nan


def by_hand(scores) -> float | None:
    """The definition, word by word."""
    samples = [[s for s in column if not np.isnan(s)] for column in np.transpose(scores)]
    means = [sum(column) / len(column) for column in samples if column]
    return sum(means) / len(means) if means else None


@pytest.mark.parametrize(
    "scores, number",
    [
        ([[0.2, 0.4]], 0.3),
        ([[0.2, NAN]], 0.2),
        ([[0.2, 0.4], [0.4, 0.8]], 0.45),
        ([[0.2, 0.4], [NAN, 0.8]], 0.4),  # the mean of the trials' means would be 0.55
        ([[0.2, NAN], [NAN, 0.8]], 0.5),
        ([[NAN, NAN], [0.2, 0.8]], 0.5),
        ([[NAN, NAN]], None),
        ([[NAN], [NAN]], None),
        ([[0.1, NAN, 0.3], [0.3, NAN, NAN], [NAN, NAN, 0.6]], 0.325),
    ],
)
def test_a_sample_weighs_the_same_in_however_many_trials_it_has_a_score(scores, number):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = mean(np.array(scores))
    assert found == (None if number is None else pytest.approx(number, abs=1e-15))
    assert found == (None if number is None else pytest.approx(by_hand(scores), abs=1e-15))


def test_curves_are_averaged_as_numbers_are():
    curves = np.random.default_rng(0).random((3, 4, 5))
    curves[0, 1] = curves[:, 2] = NAN
    for level in range(5):
        assert np.allclose(sample_means(curves)[:, level], sample_means(curves[..., level]))
    assert sample_means(curves).shape == (3, 5)


CASES = {
    "all there": ["....", "...."],
    "one trial": ["...."],
    "failed in one of two": [".f..", "...."],
    "failed in both": [".f..", ".f.."],
    "different ones failed": ["f...", "..f."],
    "missing in one of two": ["..m.", "...."],
    "failed here and missing there": ["f..m", "m..f", "...."],
    "one is left in each": ["fff.", ".mmm"],
    "a whole trial failed": ["ffff", "...."],
    "nothing in one trial": ["fmfm", ".m.f"],
}
"""Per trial the samples: there, failed, or missing."""


def write(path: Path, mask) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(path)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The family's rules at a size that is quick to score."""
    monkeypatch.setitem(PROTOCOLS, "family", replace(PROTOCOLS["family"], size=(32, 32)))


@pytest.fixture
def truths(tmp_path) -> PairedFolders:
    for number, name in enumerate(NAMES):
        mask = np.zeros((24, 32), bool)
        mask[4 : 12 + number, 6:20] = True
        write(tmp_path / "gt" / f"{name}.png", mask)
    return PairedFolders("mine", images=None, masks=str(tmp_path / "gt"))


def trial_of(folder: Path, trial: int, states: str) -> MapFolder:
    """Masks that differ by trial and sample."""
    paths = {}
    for number, (name, state) in enumerate(zip(NAMES, states, strict=True)):
        mask = np.zeros((24, 32), bool)
        mask[2 + trial : 10 + trial, 4 + 2 * number : 16 + trial] = True
        if state == ".":
            paths[name] = folder / str(trial) / f"{name}.png"
            write(paths[name], mask)
    failed = {name: "broken" for name, state in zip(NAMES, states, strict=True) if state == "f"}
    return MapFolder(folder / str(trial), paths, failed)


@pytest.mark.parametrize("policy", ["error", "skip", "empty"])
@pytest.mark.parametrize("case", CASES)
def test_every_command_prints_the_same_number(tmp_path, truths, case, policy):
    trials = [trial_of(tmp_path / "run", t, states) for t, states in enumerate(CASES[case])]
    if policy == "error" and "m" in "".join(CASES[case]):
        with pytest.raises(SampleError, match="no prediction"):
            evaluate_all(truths, trials, missing=policy, workers=1)
        return
    run = Scorable("int", tmp_path / "run", trials, Source(dict))
    (scored,), _ = score_runs(truths, [run], Rules(policy, workers=1))
    present = Present(len(trials), "int-bench eval run", Source(dict))
    stored = replace(read_scores(run.folder, "int", "mine", present), task="polyp")
    printed = [row.cells for row in score_table("Scores", [scored]).rows if not row.floor]
    table = [row.cells for row in runs_table([stored]).rows if row.cells["row"] == "ours"]
    reread = list(csv.DictReader(io.StringIO(runs_table([stored]).to_csv())))
    ours = [line for line in reread if line["row"] == "ours"]
    in_json = json.loads(json.dumps(scored.as_json()))["metrics"]
    for rules, end, row, line in zip(PROTOCOLS.values(), printed, table, ours, strict=True):
        for key, name in stored_names(rules.name, {"polyp"}).items():
            expected = by_hand(stored.values[name])
            assert end[key] == row[key] == float(line[key]) == stored.mean(name)
            assert in_json[rules.name][name.partition(".")[2]] == end[key]
            assert end[key] == pytest.approx(expected, abs=1e-14)
        assert (row["N"], row["trials"]) == (4, len(trials))
    assert scored.counts == stored.counts
    field = field_table(Field("mine", [Entry("methods", "INT", stored)], stored)).rows[0].cells
    assert {key: field[key] for key in ("MAE", "F", "meanE", "S")} == {
        key: table[0][key] for key in ("MAE", "F", "meanE", "S")
    }
    pairs = compare(stored, stored, "native.S", common=True).table().rows
    assert {row.cells["a"] for row in pairs if row.cells["metric"] == "native.S"} == {
        printed[0]["S"]
    }


def test_former_scores_have_the_same_estimator(tmp_path):
    """``eval --missing skip`` once said another number than ``table`` of the same two trials."""
    from tests.scored import write_run

    folder = write_run(tmp_path, "int", [[0.9, "failed", 0.7], [0.8, 0.2, 0.6]])
    assert load_run(folder).mean("native.S") == pytest.approx((0.85 + 0.2 + 0.65) / 3)
