"""``int-bench compare``: the same samples, what changed and how surely."""

import json

import numpy as np
import pytest
from scipy import stats

from int_bench.cli.results import load_run
from int_bench.errors import MissingAsset, UsageError
from int_bench.report.comparison import compare
from tests.scored import around, write_run


@pytest.fixture
def planted(tmp_path):
    """Two runs of 40 samples; B is a little better, and much worse on three of them."""
    rng = np.random.default_rng(5)
    before = rng.uniform(0.6, 0.9, 40)
    after = before + rng.normal(0.01, 0.005, 40)
    after[[4, 17, 30]] = before[[4, 17, 30]] - [0.3, 0.5, 0.4]
    a = write_run(tmp_path / "a", "int", [list(before)])
    b = write_run(tmp_path / "b", "int-no_pnm", [list(after)])
    return a, b, before, after


def test_planted_regressions_come_first(planted):
    a, b, before, after = planted
    found = compare(load_run(a), load_run(b), "native.S").changes(3)
    assert [row.cells["id"] for row in found.rows] == ["s0017", "s0030", "s0004"]
    assert [row.cells["better"] for row in found.rows] == ["A", "A", "A"]
    assert found.rows[0].cells["change"] == pytest.approx(after[17] - before[17])


def test_the_statistics_are_scipys(planted):
    a, b, before, after = planted
    found = compare(load_run(a), load_run(b), "native.S", seed=3).pairs["native.S"]
    interval = stats.bootstrap(
        (after - before,), np.mean, n_resamples=9999, rng=np.random.default_rng(3)
    ).confidence_interval
    assert found.difference == pytest.approx(np.mean(after - before), abs=1e-12)
    assert found.interval.low == pytest.approx(interval.low, abs=1e-9)
    assert found.interval.high == pytest.approx(interval.high, abs=1e-9)
    assert (found.wins, found.losses, found.n) == (
        int((after > before).sum()),
        int((after < before).sum()),
        40,
    )


def test_less_error_is_better(planted):
    a, b, before, after = planted
    found = compare(load_run(a), load_run(b), "native.MAE")
    assert found.pairs["native.MAE"].wins == int((after < before).sum())
    assert [row.cells["better"] for row in found.changes(1).rows] == ["B"]


def test_the_printed_four_come_along_under_the_same_protocol(planted):
    found = compare(*map(load_run, planted[:2]), "family.IoU")
    assert list(found.pairs) == [
        "family.IoU",
        "family.MAE",
        "family.wF",
        "family.meanE",
        "family.S",
    ]


def test_trials_are_averaged_first(tmp_path):
    a = write_run(tmp_path / "a", "int", [[0.2, 0.4, 0.5], [0.4, 0.6, 0.5]])
    b = write_run(tmp_path / "b", "int", [[0.5, 0.5, 0.5]])
    found = compare(load_run(a), load_run(b), "native.S").pairs["native.S"]
    assert found.difference == pytest.approx(np.mean([0.2, 0.0, 0.0]))
    assert (found.wins, found.ties) == (1, 2)


def test_different_samples_are_refused_by_name_or_matched_when_asked(tmp_path):
    a = load_run(write_run(tmp_path / "a", "int", [[0.1, 0.2, 0.3]], ids=["x", "y", "z"]))
    b = load_run(write_run(tmp_path / "b", "int", [[0.5, 0.6, 0.7]], ids=["z", "y", "w"]))
    with pytest.raises(UsageError, match=r"2 of 4 samples.*\(x, w\).*--common"):
        compare(a, b, "native.S")
    found = compare(a, b, "native.S", common=True)
    assert (found.ids, found.left_out) == (("y", "z"), ("x", "w"))
    assert found.pairs["native.S"].difference == pytest.approx((0.6 - 0.2 + 0.5 - 0.3) / 2)
    assert any("LEFT OUT: 2" in note for note in found.table().notes)


def test_a_failed_sample_is_no_pair(tmp_path):
    a = load_run(write_run(tmp_path / "a", "int", [[0.1, 0.2, 0.3]]))
    b = load_run(write_run(tmp_path / "b", "int", [[0.1, "failed", 0.3]]))
    with pytest.raises(UsageError, match="s0001"):
        compare(a, b, "native.S")
    assert compare(a, b, "native.S", common=True).left_out == ("s0001",)


def test_other_data_sets_and_no_common_sample_are_refused(tmp_path):
    a = load_run(write_run(tmp_path / "a", "int", [[0.1, 0.2]]))
    b = load_run(write_run(tmp_path / "b", "int", [[0.1, 0.2]], dataset="camo"))
    c = load_run(write_run(tmp_path / "c", "int", [[0.1, 0.2]], ids=["p", "q"]))
    with pytest.raises(UsageError, match="chameleon and camo"):
        compare(a, b, "native.S")
    assert any("matched by id" in note for note in compare(a, b, "native.S", True).table().notes)
    with pytest.raises(UsageError, match="share no scored sample"):
        compare(a, c, "native.S", common=True)


def test_the_command_prints_both_tables(command, planted):
    code, out, err = command("compare", *planted[:2])
    assert code == 0, err
    for text in ("native.S", "native.adpF", "B better", "detectable", "s0017", "permutation"):
        assert text in out


def test_json_is_one_line_and_unrounded(command, planted):
    a, b, before, after = planted
    code, out, _ = command("compare", a, b, "--metric", "family.S", "--json", "-n", "2")
    found = json.loads(out)
    assert code == 0 and len(out.splitlines()) == 1
    assert found["metrics"]["family.S"]["difference"] == float(np.mean(after - before))
    assert [row["id"] for row in found["changed"]] == ["s0017", "s0030"]
    assert found["n"] == 40 and found["left_out"] == []


@pytest.mark.parametrize(
    "metric, text", [("native.s", "Did you mean 'native.S'"), ("native.maxF", "no mean over")]
)
def test_an_unknown_metric_is_said(command, planted, metric, text):
    code, _, err = command("compare", *planted[:2], "--metric", metric)
    assert code == 2 and text in err and len(err.splitlines()) == 1


def test_folders_that_are_no_scored_runs_are_said(command, planted, tmp_path):
    code, _, err = command("compare", planted[0], tmp_path / "none")
    assert code == 3 and "no such folder" in err
    (planted[1] / "scores.csv").unlink()
    code, _, err = command("compare", *planted[:2])
    assert code == 3 and "int-bench eval" in err


def test_damaged_scores_are_said(tmp_path):
    folder = write_run(tmp_path, "int", [around(0.5, 0.1, 3), around(0.5, 0.1, 3)])
    good = (folder / "scores.1.csv").read_text()
    (folder / "scores.1.csv").write_text(good.replace("s0001", "t0001"))
    with pytest.raises(UsageError, match="other samples"):
        load_run(folder)
    (folder / "scores.1.csv").write_text(good.replace("s0001,scored,0", "s0001,scored,x"))
    with pytest.raises(UsageError, match="for a score"):
        load_run(folder)
    (folder / "scores.1.csv").unlink()
    with pytest.raises(MissingAsset, match=r"scores\.1\.csv"):
        load_run(folder)
