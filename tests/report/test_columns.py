"""One home for what is measured and for what is shown of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from int_bench.errors import UsageError
from int_bench.metrics import histogram, metrics, reference
from int_bench.metrics.maps import level_map
from int_bench.metrics.metrics import METRICS, Metric
from int_bench.metrics.rules import NATIVE
from int_bench.metrics.summary import Counts, Summary, aggregate
from int_bench.report import columns as columns_module
from int_bench.report.columns import (
    SCORE_COLUMNS,
    ScoreColumn,
    chosen_columns,
    columns,
    stored_names,
)
from int_bench.report.scores import score_table
from int_bench.scoring.score import Scored

PACKAGE = Path(metrics.__file__).parents[1]


def scored(task: str | None, values) -> Scored:
    counts = Counts(1, 1, 0, 0)
    return Scored("int", "mine", Path("x"), counts, (Summary(NATIVE, counts, values),), {}, task)


def test_a_new_measure_is_a_row_and_its_number_in_each_backend(monkeypatch):
    """Three places; means, stored columns and JSON follow."""
    monkeypatch.setitem(METRICS, "recall", Metric("recall", "R"))
    for module, name in ((histogram, "_measure"), (reference, "measure")):
        before = getattr(module, name)

        def measured(prediction, *rest, before=before):
            values = METRICS.pop("recall") and before(prediction, *rest)
            METRICS["recall"] = Metric("recall", "R")
            return metrics.Measures(
                {**values.values, "recall": 0.5}, values.f_curve, values.e_curve
            )

        monkeypatch.setattr(module, name, measured)
    truth = np.zeros((8, 8), bool)
    truth[2:5, 2:6] = True
    for module in (histogram, reference):
        found = module.against(truth)(level_map(truth), 1.0)
        assert aggregate([[found]])["recall"] == 0.5


def test_a_new_column_is_one_entry(monkeypatch):
    more = (*SCORE_COLUMNS, ScoreColumn("wF", "wF"))
    monkeypatch.setattr(columns_module, "SCORE_COLUMNS", more)
    assert [column.title for column in columns()][-1] == "Fβ ↑"
    assert stored_names("native")["wF"] == "native.wF"
    table = score_table("Scores", [scored(None, {"wF": 0.25})])
    assert "wF" in [column.key for column in table.columns]
    assert table.rows[0].cells["wF"] == 0.25


def test_no_other_module_names_the_symbols_or_the_better_side():
    homes = {"metrics/metrics.py", "report/latex.py"}
    symbols = re.compile(r"[↓↑]|lower_is_better *=|endswith\(\"\.MAE\"\)")
    sources = {str(p.relative_to(PACKAGE)): p.read_text() for p in PACKAGE.rglob("*.py")}
    named = {path for path, text in sources.items() if symbols.search(text)}
    assert named <= homes | {"report/statistics.py", "zoo/report.py"}


@pytest.mark.parametrize(
    "task, there", [("cod", False), (None, False), ("polyp", True), ("skin", True)]
)
def test_overlaps_are_shown_where_the_field_prints_them(task, there):
    text = score_table("Scores", [scored(task, dict.fromkeys(METRICS, 0.5))]).to_markdown()
    assert ("Dice ↑" in text) == ("IoU ↑" in text) == there


def test_every_measure_has_a_symbol_and_every_column_a_measure():
    assert all(metric.symbol and metric.name == name for name, metric in METRICS.items())
    assert {column.metric or NATIVE.printed_f for column in SCORE_COLUMNS} <= METRICS.keys()
    assert [name for name, metric in METRICS.items() if metric.lower_is_better] == ["MAE"]


def test_columns_of_choice_stand_in_their_order_under_names_that_differ():
    values = dict.fromkeys(METRICS, 0.5)
    table = score_table("Scores", [scored("cod", values)], names=chosen_columns("Dice,wF,S,Dice"))
    titles = [column.title for column in table.visible]
    assert titles == ["protocol", "method", "Dice ↑", "wF ↑", "Sα ↑", "scored", "failed", "missing"]
    every = score_table("Scores", [scored("cod", values)], names=chosen_columns("all"))
    titles = [column.title for column in every.visible]
    assert len(set(titles)) == len(titles)
    assert {"maxF", "maxE", "F", "IoU"} <= {column.key for column in every.columns}
    assert all(every.rows[0].cells[key] == 0.5 for key in chosen_columns("all"))


@pytest.mark.parametrize(
    "text, per_sample, words",
    [
        ("Sx", False, "Did you mean 'S'"),
        ("maxF", True, "'maxF' here; it is a maximum of a mean curve"),
        (",", False, "no column ''"),
    ],
)
def test_columns_that_there_are_none_of_are_refused(text, per_sample, words):
    with pytest.raises(UsageError, match=re.escape(words)):
        chosen_columns(text, per_sample)


def test_tables_of_runs_show_the_chosen_columns(command, pairs):
    places = [f"dataset.images={pairs / 'images'}", f"dataset.masks={pairs / 'masks'}"]
    words = ["method=centre_box", "dataset=folder", *places]
    code, out, _ = command("run", *words, "seed=1,2", "--columns", "IoU")
    assert code == 0 and "IoU ↑" in out and "Sα" not in out
    _, out, _ = command("table", "--runs", "results/runs", "--columns", "Dice", "--format", "csv")
    header, *lines = out.splitlines()
    assert "Dice,Dice_low,Dice_high" in header and ",S," not in header
    assert len(lines) == 8 and all(line.split(",")[4] for line in lines)  # with the seeds' rows
    code, _, err = command("run", *words, "seed=3", "--columns", "IoUs")
    assert code == 2 and "Did you mean 'IoU'" in err
    assert len(list(Path("results/runs/folder/centre_box").iterdir())) == 2


def test_scores_of_some_samples_are_printed_and_not_kept(command, pairs):
    places = [f"dataset.images={pairs / 'images'}", f"dataset.masks={pairs / 'masks'}"]
    command("run", "method=centre_box", "dataset=folder", *places)
    (stored,) = Path("results/runs").glob("*/*/*/scores/native.0.csv")
    before = stored.read_bytes()
    code, out, _ = command("eval", "--ids", "a1,a3", "--columns", "S", "--json")
    assert code == 0 and json.loads(out)["n"] == 2
    Path("ids.txt").write_text("# mine\na5\n")
    pair = ["--pred", str(pairs / "masks"), "--gt", str(pairs / "masks")]
    code, out, err = command("eval", *pair, "--ids-file", "ids.txt", "--json")
    assert code == 0 and json.loads(out)["metrics"]["native"]["IoU"] == 1 and err == ""
    assert stored.read_bytes() == before
    code, _, err = command("eval", "--ids", "a9")
    assert code == 3 and "has no sample 'a9'" in err
    code, _, err = command("eval", *pair, "--ids", "a1", "--method", "mine")
    assert code == 2 and "are not kept" in err
