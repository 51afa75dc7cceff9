"""Small inputs that were once read wrong, with the values that are right.

The files lie under ``tests/cases``: drawn for this purpose, nobody's data.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from int_bench.data.folders import PairedFolders
from int_bench.metrics.rules import NATIVE
from int_bench.scoring.evaluate import Evaluation, evaluate
from int_bench.scoring.predictions import maps_in

CASES = Path(__file__).parents[1] / "cases"
SCORED = {
    "01_float_tiff_0_255": ("MAE", 0.17589403882543606, "read as 0..255"),
    "03_u16_10bit_range": ("MAE", 0.17597267663486627, "highest level 1023, read as 10 bits"),
    "05_instance_levels": ("IoU", 1 - 0.2851662404092072, "(100): instances or classes?"),
    "07_npy_float_eps_above_1": ("MAE", None, ""),
    "10_mask_in_alpha": ("IoU", 1.0, "a.png is of one colour; its alpha is read as the mask"),
    "11_npy_1xN": ("MAE", None, ""),
}
REFUSED = {
    "09_float_tiff_gt_nan": ("a.tif holds NaN or infinite values", "of 3072)"),
    "20_transposed_prediction": ("is 48x96 and its ground truth 96x48: it is transposed",),
}


def scored(case: str) -> Evaluation:
    truths = PairedFolders("set", None, str(CASES / case / "gt"))
    return evaluate(truths, maps_in(CASES / case / "pred"), (NATIVE,))


@pytest.mark.parametrize("case", SCORED)
def test_what_is_read_has_the_right_score_and_is_said(case):
    metric, value, said = SCORED[case]
    evaluation = scored(case)
    (row,) = evaluation.rows
    assert row.status == "scored"
    found = row.scores["native"].measures.values[metric]
    assert value is None or found == pytest.approx(value, abs=1e-6)
    assert said in "; ".join(evaluation.remarks)


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_named(case):
    (row,) = scored(case).rows
    assert row.status == "failed"
    for text in REFUSED[case]:
        assert text in row.note


def test_what_is_said_of_files_reaches_the_screen_and_the_scores(command):
    case = CASES / "10_mask_in_alpha"
    words = ("eval", "--pred", case / "pred", "--gt", case / "gt", "--method", "set/theirs")
    code, _, err = command(*words)
    assert code == 0
    assert "a.png is of one colour; its alpha is read as the mask" in err.splitlines()
    scores = list(Path().rglob("scores/*.csv"))
    assert scores
    assert all("its alpha is read as the mask" in path.read_text() for path in scores)


FOLDERS = {
    "14_ext": (4, set()),
    "14_webp_only": (1, set()),
    "15_isic2017_superpixels": (2, {"left_out"}),
    "16_suffix": (2, set()),
    "23_tiff_rgb_minisblack": (1, set()),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_folder_is_paired_and_sound(command, case):
    count, kinds = FOLDERS[case]
    folders = (f"dataset.{part}={CASES / case / part}" for part in ("images", "masks"))
    code, out, _ = command("data", "check", "dataset=folder", *folders, "--json")
    found = json.loads(out)
    assert (code, found["samples"], found["errors"], found["warnings"]) == (0, count, 0, 0)
    alike = {"exact_duplicate", "near_duplicate"}
    assert {group["kind"] for group in found["findings"]} - alike == kinds


def test_what_the_threshold_loses_of_instances_is_told_beforehand(command):
    gt = CASES / "05_instance_levels" / "gt"
    folders = (f"dataset.images={gt}", f"dataset.masks={gt}")
    code, out, _ = command("data", "check", "dataset=folder", *folders)
    assert code == 4
    assert "mask a.png has 1 level far from 0 and 255 (100): instances or classes?" in out
    assert "28.5% of its object is background" in out


@pytest.mark.parametrize("part", ["images", "masks", "list_file"])
def test_the_home_of_nobody_is_one_sentence(command, pairs, part):
    words = {"images": pairs / "images", "masks": pairs / "masks", part: "~nosuchuser/x"}
    overrides = [f"dataset.{key}={value}" for key, value in words.items()]
    code, _, err = command("run", "dataset=folder", "task=cod", *overrides)
    assert code == 3
    assert "~nosuchuser/x: no home of that user is known" in err
    assert "Traceback" not in err and len(err.splitlines()) == 1
