"""Tables: no number without its protocol, nothing rounded twice, one object behind all of it."""

import csv
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from int_bench.metrics.metrics import METRICS
from int_bench.metrics.rules import FAMILY, NATIVE
from int_bench.metrics.summary import Counts, Summary
from int_bench.report.scores import score_table
from int_bench.report.tables import Column, Row, Table
from int_bench.scoring.score import Scored

FULL = Counts(4, 4, 0, 0)


def summaries(start, counts=FULL):
    values = {name: start + 0.012345678901234567 * i for i, name in enumerate(METRICS)}
    return tuple(Summary(protocol, counts, values) for protocol in (NATIVE, FAMILY))


def scored(name, values, dataset="camo", floor=None, task=None):
    counts = values[0].counts
    return Scored(name, dataset, Path("runs"), counts, values, floor or {}, task)


def table(counts=FULL, second="camo"):
    floor = {"centre_box": summaries(0.1)}
    runs = [
        scored("int", summaries(0.5, counts), floor=floor),
        scored("pro|mac", summaries(0.4), second, floor),
    ]
    return score_table("camo", runs)


def text(rendered, width=80):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(*rendered, sep="\n")
    return console.file.getvalue()


def test_rows_stand_by_protocol_with_the_floor_last():
    rows = [(row.cells["protocol"], row.cells["method"]) for row in table().rows]
    methods = ["int", "pro|mac", "centre_box"]
    assert rows == [(name, method) for name in ("native", "family") for method in methods]
    assert [row.floor for row in table().rows] == [False, False, True] * 2


def test_each_row_says_which_f_it_prints():
    native, family = table().rows[0].cells, table().rows[3].cells
    step = 0.012345678901234567
    assert native["F_variant"] == "adpF"
    assert native["F"] == pytest.approx(0.5 + step)
    assert family["F_variant"] == "wF"
    assert family["F"] == pytest.approx(0.5 + 4 * step)
    assert native["meanE"] == pytest.approx(0.5 + 6 * step)
    assert native["S"] == pytest.approx(0.5 + 8 * step)


def test_the_protocols_are_spelt_out_beneath():
    assert table().notes == (NATIVE.text, FAMILY.text)
    for shown in (table().to_markdown(), text(table().to_rich(), 200)):
        assert "1024x1024" in shown
        assert "adaptive F, beta^2=0.3" in shown


def test_csv_and_json_hold_the_same_unrounded_numbers():
    ours = table()
    stored = list(csv.DictReader(io.StringIO(ours.to_csv())))
    parsed = json.loads(ours.to_json())
    assert len(stored) == len(parsed["rows"]) == 6
    for row, line, entry in zip(ours.rows, stored, parsed["rows"], strict=True):
        for key in ("MAE", "F", "meanE", "S"):
            assert float(line[key]) == row.cells[key] == entry[key]
        assert line["protocol"] == entry["protocol"] == row.cells["protocol"]
        assert (line["floor"] == "1") == row.floor == entry["floor"]
    assert parsed["notes"] == [NATIVE.text, FAMILY.text]


def test_markdown_rounds_once_and_escapes():
    lines = table().to_markdown().splitlines()
    assert lines[0] == "**camo**"
    assert lines[4] == "| native | int | 0.500 | 0.512 | adpF | 0.574 | 0.599 | 4 | 0 | 0 |"
    assert "pro\\|mac" in lines[5]


def test_the_terminal_has_every_column_at_eighty_characters():
    shown = text(table().to_rich())
    assert "…" not in shown
    for part in (
        "centre_box",
        "M ↓",
        "Fβ ↑",
        "Eφ ↑",
        "Sα ↑",
        "scored",
        "failed",
        "missing",
        "native",
        "0.512",
    ):
        assert part in shown


def test_markup_in_a_name_is_literal():
    runs = [scored("int[bold]x", summaries(0.5))]
    assert "int[bold]x" in text(score_table("camo", runs).to_rich(), 120)


def test_several_data_sets_get_a_column():
    assert table().columns[0].key == "protocol"
    mixed = table(second="cod10k")
    assert mixed.columns[0].key == "dataset"
    assert "cod10k" in mixed.to_markdown()


@pytest.mark.parametrize(
    "policy, words", [("skip", "left out of the means"), ("empty", "count as empty masks")]
)
def test_an_incomplete_table_says_so_and_what_the_means_do(policy, words):
    ours = table(Counts(4, 2, 1, 1, policy))
    cells = ours.rows[0].cells
    assert (cells["scored"], cells["failed"], cells["missing"]) == (2, 1, 1)
    assert any("INCOMPLETE" in note and words in note for note in ours.notes)
    assert "INCOMPLETE" in ours.to_markdown()


def test_nothing_scored_is_a_dash_and_null_not_nan():
    nothing = tuple(Summary(p, Counts(2, 0, 2, 0), {}) for p in (NATIVE, FAMILY))
    ours = score_table("camo", [scored("int", nothing)])
    assert "| native | int | - | - | adpF | - | - | 0 | 2 | 0 |" in ours.to_markdown()
    assert json.loads(ours.to_json())["rows"][0]["MAE"] is None
    assert ",,," in ours.to_csv() or "int,,," in ours.to_csv()
    assert "nan" not in text(ours.to_rich()).lower()


@pytest.mark.parametrize("width", [60, 80])
def test_at_a_narrow_terminal_no_name_number_or_interval_is_cut(width):
    numbers = [Column(f"n{i}", f"metric{i}", 4, interval=True) for i in range(7)]
    names = [Column(key, key, numeric=False) for key in ("dataset", "method", "row")]
    cells = {"dataset": "camoworld", "method": "int, 5 iterations, no_pnm", "row": "ours (seed 1)"}
    for i in range(7):
        cells |= {f"n{i}": 0.12345, f"n{i}_low": 0.1, f"n{i}_high": 0.2}
    rows = (Row(cells), Row({**cells, "method": "promac_released"}))
    wide = Table(
        "Runs", (*names, *numbers), rows, ("a note that is longer than the terminal " * 3,)
    )
    printed = text(wide.to_rich(width), width)
    assert "…" not in printed and max(map(len, printed.splitlines())) <= width
    assert all(f"metric{i}" in printed for i in range(7))
    assert printed.count("0.1235") == 14 and printed.count("[0.1000, 0.2000]") == 14
    assert len(wide.to_rich(width)) > 2 and len(wide.to_rich(400)) == 2  # and the notes
    assert any(len(line) > 50 for line in printed.splitlines()[-4:])  # at the terminal's width


def test_a_table_that_just_fits_is_one():
    columns = tuple(Column(key, key * 8, numeric=key > "b") for key in "abcdefgh")
    row = Row(dict.fromkeys("abcdefgh", "x" * 8))
    fits = Table("Runs", columns, (row,))  # 8 columns of 8 characters, 2 blanks between
    assert len(fits.to_rich(78)) == 1 and len(fits.to_rich(77)) == 2
    assert max(map(len, text(fits.to_rich(78), 78).splitlines())) == 78
