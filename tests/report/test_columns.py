"""One home for what is measured and for what is shown of it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from int_bench.metrics import histogram, metrics, reference
from int_bench.metrics.maps import level_map
from int_bench.metrics.metrics import METRICS, Metric
from int_bench.metrics.rules import NATIVE
from int_bench.metrics.summary import Counts, Summary, aggregate
from int_bench.report import columns as columns_module
from int_bench.report import scores as scores_module
from int_bench.report.columns import SCORE_COLUMNS, ScoreColumn, columns, stored_names
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
    for module in (columns_module, scores_module):
        monkeypatch.setattr(module, "SCORE_COLUMNS", more)
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
