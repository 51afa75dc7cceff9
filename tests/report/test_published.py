"""The published numbers: complete, as printed, flagged where odd, found by our names."""

import csv
from pathlib import Path

import pytest

from int_bench.config.places import options
from int_bench.errors import MissingAsset, UsageError
from int_bench.report import published as module
from int_bench.report.published import FOLDER, SETS, TABLES, find, published, tables_of
from int_bench.report.statistics import detectable_difference


def numbers(row):
    return tuple(row.cells[key].text for key in ("MAE", "F", "meanE", "S"))


@pytest.mark.parametrize("which, rows", [("1", 66), ("2", 24), ("3a", 6), ("3b", 5), ("3c", 5)])
def test_tables_are_complete(which, rows):
    assert len(published(which)) == rows
    assert set(TABLES) == {"1", "2", "3a", "3b", "3c"}


@pytest.mark.parametrize(
    "which, dataset, expected",
    [
        ("1", "chameleon", ("0.039", "0.801", "0.906", "0.842")),
        ("1", "camo", ("0.086", "0.734", "0.853", "0.772")),
        ("1", "cod10k", ("0.037", "0.722", "0.883", "0.808")),
        ("2", "colondb", ("0.172", "0.250", "0.589", "0.537")),
        ("2", "kvasir", ("0.161", "0.401", "0.732", "0.5739")),
        ("2", "isic", ("0.152", "0.733", "0.771", "0.708")),
    ],
)
def test_the_headline_numbers_are_as_printed(which, dataset, expected):
    assert numbers(find(which, dataset, "int")) == expected
    assert tables_of(dataset) == (which,)


def test_the_last_digit_is_known():
    row = find("2", "kvasir", "int")
    assert row.cells["S"].half_unit == pytest.approx(0.00005)
    assert row.cells["F"].half_unit == pytest.approx(0.0005)
    assert row.cells["S"].value == 0.5739


def test_every_flag_meets_a_cell_and_doubt_is_on_the_swapped_ones_only():
    with (FOLDER / "flags.csv").open() as file:
        flags = len(list(csv.DictReader(file)))
    rows = [row for which in TABLES for row in published(which)]
    remarks = sum(bool(cell.remark) for row in rows for cell in row.cells.values())
    assert remarks + sum(bool(row.remark) for row in rows) == flags == 13
    doubtful = {
        (row.method, row.dataset, key)
        for row in rows
        for key, cell in row.cells.items()
        if cell.doubtful
    }
    methods = ("X-Decoder", "SEEM", "GroundingSAM")
    assert doubtful == {(name, "ISIC", key) for name in methods for key in ("F", "meanE")}


@pytest.mark.parametrize(
    "name, method, setting",
    [
        ("promac", "ProMaC", "Task"),
        ("promac_released", "ProMaC", "Task"),
        ("llava_sam", "LLaVA1.5+SAM", "Task"),
        ("x-decoder", "X-Decoder", "Task"),
        ("SEEM", "SEEM", "Task"),
        ("ws-sam point", "WS-SAM", "Point"),
        ("WS-SAM scribble", "WS-SAM", "Scribble"),
        ("SAM-S", "SAM-S", "Scribble"),
    ],
)
def test_methods_are_found_by_our_name_and_by_theirs(name, method, setting):
    row = find("1", "camo", name)
    assert row.method == method and row.setting.startswith(setting)


def test_an_ambiguous_or_unknown_name_is_found_nowhere():
    assert find("1", "camo", "WS-SAM") is None
    assert find("1", "camo", "oracle_box_sam") is None
    assert find("1", "camoworld", "int") is None
    assert tables_of("camoworld") == ()


def test_variants_of_table_3():
    assert find("3c", "chameleon", "int-no_pnm").method == "without PNM"
    assert find("3c", "chameleon", "int").method == "full"
    assert find("3a", "chameleon", "int", iterations=4).method == "4"
    assert find("3a", "chameleon", "int", iterations=7) is None
    assert find("3b", "chameleon", "int", patches="original+halves").method == "original+halves"
    halves = find("3b", "chameleon", "int-patches_halves", patches="halves")
    assert halves.method == "halves"
    assert find("3b", "chameleon", "int-no_pnm", patches="halves") is None
    assert find("3a", "chameleon", "int-patches_halves", iterations=5) is None
    assert find("3a", "chameleon", "int") is None
    assert find("3b", "chameleon", "promac", patches="original+halves") is None


def test_our_names_of_their_sets_are_data_sets():
    assert set(SETS) <= set(options("dataset"))


def test_sizes_are_the_ones_of_the_data_sets():
    conf = Path(module.__file__).parents[1] / "conf" / "dataset"
    for name, one in SETS.items():
        assert f"expected: {one.size}\n" in (conf / f"{name}.yaml").read_text()


def test_the_readers_copy_is_the_packages():
    for name in ("table1.csv", "table2.csv", "table3.csv", "flags.csv", "README.md"):
        copy = Path(__file__).parents[2] / "results" / "paper" / name
        assert copy.read_bytes() == (FOLDER / name).read_bytes()


def test_an_unknown_table_and_missing_files_are_said(monkeypatch, tmp_path):
    with pytest.raises(UsageError, match="choose 1, 2, 3a"):
        published("4")
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    published.cache_clear()
    with pytest.raises(MissingAsset, match=r"flags\.csv"):
        published("1")
    published.cache_clear()


def test_the_readme_says_what_the_sets_can_show():
    text = (FOLDER / "README.md").read_text()
    for sd in (0.05, 0.10, 0.20):
        shown = " | ".join(f"{detectable_difference(sd, n):.4f}" for n in (76, 250, 2026))
        assert f"| {sd:.2f} | {shown} |" in text
