"""The page of the field: one row a run, paired with INT and the floor, and the paper's claims."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from int_bench.cli.results import load_run
from int_bench.report.field import Entry, Field, claims_table, field_table, judge, outcome
from int_bench.report.published import find
from int_bench.report.statistics import paired
from tests.scored import around, write_run

N = 60
SETS = {"method": {"prompter": {"generation": {"grid": {"sets": ["original", "halves"]}}}}}


@pytest.fixture
def entries(tmp_path):
    """INT at .80, a worse and an equal method, two variants, a prefix and the floor."""
    base = around(0.8, 0.05, N)
    noise = np.array(around(0.0, 0.02, N)[::-1])
    given = [
        ("methods", "int", base, {"method": {"iterations": 5}}),
        ("methods", "gensam", list(np.array(base) - 0.1 + noise), {}),
        ("methods", "promac", list(np.array(base) + noise / 100), {}),
        ("modules", "int-no_hcg", list(np.array(base) + 0.05 + noise), {}),
        ("patches", "int-patches_original_halves", base, SETS),
        ("floor", "empty", [0.45] * N, {}),
        ("floor", "centre_box", [0.5] * N, {}),
    ]
    found = [
        Entry(
            kind,
            name,
            load_run(write_run(tmp_path, name, [scores], "camoworld", config=config)),
            0.75 if name == "promac" else None,
        )
        for kind, name, scores, config in given
    ]
    config = {"method": {"iterations": 2}}
    shorter = write_run(tmp_path / "short", "int", [list(np.array(base) + 0.03)], "camoworld",
                        config=config)  # fmt: skip
    return [*found, Entry("iterations", "int, 2 iterations", load_run(shorter))]


def rows_of(table):
    keys = [column.key for column in table.columns]
    found = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert {row["method"] for row in found} and "method" in keys
    return {row["method"]: row for row in found}


def test_each_row_has_its_means_and_its_paired_difference(entries):
    base = entries[0].run
    rows = rows_of(field_table(Field("camoworld", entries, base)))
    assert list(rows) == [entry.label for entry in entries]
    assert float(rows["int"]["S"]) == pytest.approx(0.8)
    assert rows["int"]["difference"] == rows["int"]["judgement"] == rows["int"]["named"] == ""
    gensam = rows["gensam"]
    mine, other = (entry.run.values["native.S"][0] for entry in entries[:2])
    expected = paired(mine, other)
    assert float(gensam["difference"]) == pytest.approx(expected.difference, abs=1e-12)
    assert float(gensam["difference_low"]) == pytest.approx(expected.interval.low, abs=1e-12)
    assert gensam["judgement"] == "worse"
    assert rows["promac"]["judgement"] == "same" and rows["promac"]["named"] == "0.75"
    assert rows["int-no_hcg"]["judgement"] == "better"


def test_the_floor_is_the_best_trivial_answer(entries):
    table = field_table(Field("camoworld", entries, entries[0].run))
    rows = rows_of(table)
    assert float(rows["int"]["over_floor"]) == pytest.approx(0.3)
    assert float(rows["empty"]["over_floor"]) == pytest.approx(-0.05)
    assert rows["centre_box"]["over_floor"] == ""
    assert "floor: centre_box, the best trivial answer" in table.notes
    assert [row.floor for row in table.rows].count(True) == 2


def test_without_a_floor_there_is_no_note_and_no_difference_from_it(entries):
    kept = [entry for entry in entries if entry.section != "floor"]
    table = field_table(Field("camoworld", kept, kept[0].run))
    assert all(row["over_floor"] == "" for row in rows_of(table).values())
    assert not any(note.startswith("floor") for note in table.notes)


def test_claims_set_the_papers_differences_beside_ours(entries):
    rows = rows_of(claims_table(Field("camoworld", entries, entries[0].run)))
    assert set(rows) == {
        "gensam",
        "promac",
        "int-no_hcg",
        "int-patches_original_halves",
        "int, 2 iterations",
    }
    full, without = (find("3c", "chameleon", name) for name in ("int", "int-no_hcg"))
    expected = without.cells["S"].value - full.cells["S"].value
    assert float(rows["int-no_hcg"]["paper"]) == pytest.approx(expected)
    assert rows["gensam"]["outcome"] == "as in the paper"
    assert rows["promac"]["outcome"] == "as in the paper"  # -.009 there: no difference
    assert rows["int-no_hcg"]["outcome"] == "the other way"
    assert rows["int, 2 iterations"]["table"] == "3a"
    assert rows["int-patches_original_halves"]["table"] == "3b"
    assert rows["int-patches_original_halves"]["outcome"] == "as in the paper"


@pytest.mark.parametrize(
    ("low", "high", "judged"),
    [
        (0.001, 0.009, "same"),
        (0.001, 0.011, "better"),
        (-0.02, -0.001, "worse"),
        (-0.02, 0.001, "undecidable"),
    ],
)
def test_a_difference_within_the_margin_does_not_matter(low, high, judged):
    pair = paired(np.zeros(3), np.array([0.1, 0.2, 0.3]))
    assert judge(type(pair)(**{**vars(pair), "interval": type(pair.interval)(low, high)})) == judged


def test_one_image_decides_nothing():
    assert judge(paired(np.zeros(1), np.ones(1))) == "undecidable"
    assert judge(None) == "undecidable"


@pytest.mark.parametrize(
    ("paper", "ours", "said"),
    [
        (-0.1, "worse", "as in the paper"),
        (-0.1, "better", "the other way"),
        (-0.1, "same", "no difference"),
        (-0.1, "undecidable", "undecidable"),
        (0.01, "same", "as in the paper"),
        (0.842 - 0.832, "same", "as in the paper"),
        (0.002, "worse", "worse here"),
    ],
)
def test_an_outcome_compares_judgements(paper, ours, said):
    assert outcome(paper, ours) == said
