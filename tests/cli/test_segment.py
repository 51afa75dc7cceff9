"""One's own pictures: what is written, what is refused, and runs without ground truth."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from int_bench.errors import Exit
from int_bench.report.overlay import overlay

BOX = ("method=centre_box", "--prompt", "a shadow")


def levels(path: Path) -> np.ndarray:
    with Image.open(path) as file:
        return np.asarray(file)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_masks_overlays_and_a_table_are_written(command, pairs, here):
    code, out, err = command("segment", pairs / "images", *BOX, "--out", "mine")
    assert code == Exit.DONE, err
    mask, drawn = levels(here / "mine/a0_mask.png"), levels(here / "mine/a0_overlay.png")
    assert mask.shape == (24, 32) and set(np.unique(mask)) == {0, 255}
    source = levels(pairs / "images" / "a0.png")
    assert drawn.shape == source.shape and (drawn[0] == source[0]).all() and (drawn != source).any()
    with (here / "mine" / "segments.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    # The centred box of half the height and half the width of 24 x 32 pixels.
    assert [row["id"] for row in rows] == [f"a{index}" for index in range(6)]
    assert {row["box"] for row in rows} == {"8 6 24 18"} and {row["share"] for row in rows} == {
        "0.25"
    }
    assert "8 6 24 18" in out and "25.0%" in out and "6 masks and overlays in mine" in out


def test_json_names_every_file(command, pairs):
    picture = pairs / "images" / "a3.png"
    code, out, _ = command("segment", picture, *BOX, "--json")
    result = json.loads(out)
    (found,) = result["pictures"]
    assert code == Exit.DONE and found["id"] == "a3" and found["box"] == [8, 6, 24, 18]
    assert all(Path(found[key]).is_file() for key in ("mask", "overlay"))
    assert (Path(result["run_dir"]) / "run.json").is_file()
    manifest = json.loads((Path(result["run_dir"]) / "run.json").read_text())
    assert manifest["identity"]["task"] == "a shadow"


def test_the_same_command_again_writes_what_is_gone_and_no_picture_is_touched(command, pairs, here):
    before = contents(pairs / "images")
    first = command("segment", pairs / "images", *BOX, "--out", "mine", "--json")[1]
    made = contents(here / "mine")
    (here / "mine" / "a1_overlay.png").unlink()
    again = command("segment", pairs / "images", *BOX, "--out", "mine", "--json")[1]
    assert json.loads(again)["run_dir"] == json.loads(first)["run_dir"]
    assert contents(here / "mine") == made and contents(pairs / "images") == before


def test_beside_the_pictures_what_was_written_is_no_picture(command, pairs):
    folder = pairs / "images"
    assert command("segment", folder, *BOX, "--out", folder)[0] == Exit.DONE
    code, out, _ = command("segment", folder, *BOX, "--out", folder)
    assert code == Exit.DONE and "6 masks" in out


@pytest.mark.parametrize("name", ["a0_mask.png", "a0_overlay.png", "segments.csv"])
def test_nothing_of_somebody_elses_is_written_over(command, pairs, here, name):
    (here / "mine").mkdir()
    (here / "mine" / name).write_bytes((pairs / "masks" / "a0.png").read_bytes())
    kept = contents(here / "mine")
    code, _, err = command("segment", pairs / "images", *BOX, "--out", "mine")
    assert code == Exit.USAGE and name in err and "--out" in err
    assert contents(here / "mine") == kept


def test_one_bad_picture_never_ends_it(command, pairs):
    bad = pairs / "images" / "a2.png"
    bad.write_bytes(b"garbage")
    code, out, err = command("segment", pairs / "images", *BOX, "--json")
    found = {item["id"]: item for item in json.loads(out)["pictures"]}
    assert code == Exit.INCOMPLETE and "a2 failed" in err
    assert found["a2"]["status"] == "failed" and "a2.png" in found["a2"]["error"]
    assert found["a2"]["mask"] is None and found["a5"]["status"] == "ok"


def test_files_of_one_name_have_names_of_their_own(command, pairs, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "a0.png").write_bytes((pairs / "images" / "a1.png").read_bytes())
    files = (pairs / "images" / "a0.png", other / "a0.png", pairs / "images" / "a0.png")
    out = command("segment", *files, *BOX, "--json")[1]
    assert [item["id"] for item in json.loads(out)["pictures"]] == ["images_a0", "other_a0"]


@pytest.mark.parametrize(
    "prompt", ['"quoted" it\'s', "${oc.env:HOME}", "[a,b]", "<b>x</b>", "line\nline", "ظل \u202e"]
)
def test_any_prompt_arrives_as_it_was_typed(command, pairs, prompt):
    picture = pairs / "images" / "a0.png"
    code, out, _ = command("segment", picture, "method=centre_box", "--prompt", prompt, "--json")
    manifest = json.loads((Path(json.loads(out)["run_dir"]) / "run.json").read_text())
    assert code == Exit.DONE and manifest["identity"]["task"] == prompt


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gone.jpg", *BOX], "gone.jpg: there is no such picture or folder"),
        ([*BOX], "Say which pictures"),
        (["PICTURE"], "--prompt"),
        (["PICTURE", "--prompt", " "], "--prompt is empty"),
        (["PICTURE", *BOX, "seeed=1"], "Did you mean 'seed'?"),
        (["PICTURE", *BOX, "dataset=camo"], "dataset= is set by segment itself"),
        (["EMPTY", *BOX], "holds no picture"),
    ],
)
def test_what_is_wrong_is_one_sentence_before_anything_is_made(command, pairs, here, words, said):
    (here / "empty").mkdir()
    places = {"PICTURE": str(pairs / "images" / "a0.png"), "EMPTY": str(here / "empty")}
    code, _, err = command("segment", *(places.get(word, word) for word in words))
    assert code in (Exit.USAGE, Exit.MISSING) and said in err and len(err.splitlines()) == 1
    assert not (here / "results").exists()


def test_a_task_that_ships_needs_no_prompt(command, pairs):
    picture = pairs / "images" / "a0.png"
    out = command("segment", picture, "task=polyp", "method=full", "--json")[1]
    manifest = json.loads((Path(json.loads(out)["run_dir"]) / "run.json").read_text())
    assert manifest["identity"]["task"] == "polyp" and manifest["config"]["task"]["name"] == "polyp"


def unscored(pairs: Path) -> list[str]:
    return ["dataset=folder", f"dataset.images={pairs / 'images'}", "method=centre_box"]


def test_a_run_without_ground_truth_says_what_it_found_and_where_the_masks_are(command, pairs):
    code, out, _ = command("run", *unscored(pairs))
    assert code == Exit.DONE and "no ground truth" in out and "8 6 24 18" in out
    folder = next(Path("results/runs/folder/centre_box").iterdir())
    assert f"{folder}/masks/<trial>/final" in out
    result = json.loads(command("run", *unscored(pairs), "--json")[1])
    assert [item["share"] for item in result["pictures"]] == [0.25] * 6
    assert Path(result["pictures"][0]["mask"]).is_file()


def test_table_and_eval_treat_a_run_without_ground_truth_as_what_it_is(command, pairs):
    command("run", *unscored(pairs))
    folder = next(Path("results/runs/folder/centre_box").iterdir())
    for words in (["table", folder], ["table", "--runs", "results/runs"], ["eval", folder]):
        code, out, _ = command(*words)
        assert code == Exit.DONE and "8 6 24 18" in out, words
    rows = list(csv.DictReader(command("table", folder, "--format", "csv")[1].splitlines()))
    assert [row["id"] for row in rows] == [f"a{index}" for index in range(6)]
    code, _, err = command("compare", folder, folder)
    assert code == Exit.MISSING and "without ground truth" in err
    command("run", *unscored(pairs), f"dataset.masks={pairs / 'masks'}")
    code, out, err = command("table", "--runs", "results/runs")
    assert code == Exit.DONE and "native" in out and "no ground truth" in err


def test_the_overlay_of_a_whole_or_empty_mask_changes_all_or_nothing():
    image = np.full((20, 30, 3), 90, np.uint8)
    assert (overlay(image, np.zeros((20, 30), bool)) == image).all()
    whole = overlay(image, np.ones((20, 30), bool))
    assert (whole != image).any(axis=2).all() and (image == 90).all()


def test_a_report_is_written_beside_the_masks_on_request(command, pairs, here):
    picture = pairs / "images" / "a0.png"
    code, out, err = command("segment", picture, *BOX, "--out", "mine", "--report", "--json")
    assert code == Exit.DONE and "report.html" in err and "Could not be read" not in err
    assert json.loads(out)["pictures"][0]["id"] == "a0"
    assert b"a0" in (here / "mine" / "report.html").read_bytes()


def test_a_picture_that_is_added_is_the_only_one_computed(command, pairs, here):
    folder = pairs / "images"
    moved = (folder / "a5.png").rename(here / "a5.png")
    words = ("segment", folder, *BOX, "--out", "mine")
    assert command(*words)[0] == Exit.DONE
    moved.rename(folder / "a5.png")
    before = contents(here / "mine")
    code, out, err = command(*words)
    assert code == Exit.DONE and "6 masks and overlays" in out
    assert "5 pictures of an earlier command" in err and "1 image," in err
    assert len(list((here / "mine" / "runs").glob("*/*/*"))) == 2
    after = contents(here / "mine")
    assert before.items() - {("segments.csv", before["segments.csv"])} <= after.items()
    assert "earlier command" not in command(*words)[2]  # the same again resumes
    # Another prompt, another trial and a picture that has changed are computed.
    assert "earlier" not in command(*words[:-2], "--out", "mine", "--prompt", "crab")[2]
    Image.fromarray(levels(folder / "a0.png")[::-1]).save(folder / "a0.png")
    code, _, err = command(*words)
    assert code == Exit.DONE and "earlier" not in err and "6 images," in err
