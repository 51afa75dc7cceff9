"""``int-bench picture``: drawn from what a run kept, and from nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from int_bench.cli.results import load_run


@pytest.fixture
def run(command, pairs):
    """A function that runs ``centre_box`` over the pairs."""

    def call(*words: str, limit: int = 2) -> Path:
        words = ("dataset=folder", f"dataset.images={pairs / 'images'}", *words)
        limited = ("--limit", str(limit))
        code, out, err = command("run", *words, "method=centre_box", "--json", *limited)
        assert code == 0, err
        return Path(json.loads(out)["run_dir"])

    return call


def test_a_sample_is_a_row_with_or_without_ground_truth(command, run, pairs):
    heights = []
    for words in (["keep=soft", f"dataset.masks={pairs / 'masks'}"], ["keep=soft", "seed=1"]):
        folder = run(*words)
        code, out, err = command("picture", folder, "--out", "new/p.png", "-n", "2")
        assert (code, out) == (0, "new/p.png\n"), err
        with Image.open("new/p.png") as picture:
            heights.append(picture.height)
    assert heights[0] == heights[1] > 300
    code, _, err = command("picture", folder.name[:6], "--out", "by_hash.png")
    assert code == 0 and Path("by_hash.png").exists(), err


def test_what_cannot_be_drawn_is_said_in_one_line(command, run, here):
    plain, soft = run(), run("keep=soft", "seed=1")
    (here / "file").write_text("")
    cases = [
        ((plain,), 3, "keep=soft"),
        ((soft, "--out", here / "file" / "p.png"), 2, "cannot be written"),
        ((here / "nowhere",), 3, "no such folder"),
    ]
    for words, expected, said in cases:
        code, out, err = command("picture", *words)
        assert (code, out) == (expected, "") and said in err and len(err.splitlines()) == 1
    path = soft / "masks" / "0" / "final" / "a0.png"
    path.write_bytes(path.read_bytes()[:-9])
    code, _, err = command("picture", soft)
    assert code == 3 and "final/a0.png" in err and "run the same command again" in err


def test_images_and_ground_truth_that_changed_are_said(command, run, pairs):
    folder = run("keep=soft", f"dataset.masks={pairs / 'masks'}")
    said = "since {folder}; what is drawn of them is what lies there now.\n"
    assert command("picture", folder)[2] == ""
    for name, what in {"masks": "ground truth", "images": "images and the ground truth"}.items():
        path = pairs / name / "a1.png"
        with Image.open(path) as picture:
            picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
        code, out, err = command("picture", folder)
        assert (code, out) == (0, "picture.png\n")
        assert err.endswith(f"The {what} of folder changed {said.format(folder=folder)}")


def test_samples_are_chosen_by_name_or_by_score(command, run, pairs, monkeypatch):
    drawn = []
    monkeypatch.setattr("int_bench.cli.picture.draw_panel", lambda rows: drawn.append(rows) or
                        Image.new("RGB", (1, 1)))  # fmt: skip
    folder = run("keep=soft", f"dataset.masks={pairs / 'masks'}", limit=6)
    scores = load_run(folder).by_sample("native.S")
    ranked = sorted(scores, key=lambda name: scores[name])
    cases = {
        ("--id", "a3", "--id", "a1"): ["a3", "a1"],
        ("--worst", "2"): ranked[:2],
        ("--worst", "1", "--best", "2"): [ranked[0], *ranked[-2:]],
        ("--best", "99"): ranked,
        ("-n", "2"): ["a0", "a1"],
    }
    for words, expected in cases.items():
        code, _, err = command("picture", folder, *words)
        assert code == 0, err
        assert [row.title for row in drawn.pop()] == expected
    for words, said in {
        ("--id", "a33"): "no finished sample 'a33'. Did you mean 'a3'?",
        ("--id", "a3", "--best", "1"): "either --id or --worst and --best",
    }.items():
        code, _, err = command("picture", folder, *words)
        assert code in (2, 3) and said in err and len(err.splitlines()) == 1
    unscored = run("keep=soft", "seed=2")
    assert command("picture", unscored, "--worst", "1")[0] == 3
    assert command("picture", unscored, "--id", "a1")[0] == 0


def test_objects_are_outlined_with_their_points(command):
    words = ("dataset=camoworld_crowd", "dataset.count=1", "keep=soft", "--limit", "2", "--json")
    code, out, err = command("run", *words, "method=centre_box")
    assert code == 0, err
    code, out, err = command("picture", json.loads(out)["run_dir"], "--out", "p.png", "-n", "1")
    assert code == 0, err
    with Image.open("p.png") as picture:
        cell = picture.convert("RGB").crop((162, 26, 312, 176))  # the second: ground truth
    colours = {colour for _, colour in cell.getcolors(cell.width * cell.height)}
    # Its own outline, others' outlines, points; scaling mixes few pixels of each into others.
    assert {(255, 0, 0)} <= colours
    assert any(abs(r - 255) + abs(g - 220) + b < 60 for r, g, b in colours)
    assert any(abs(r - 150) + abs(g - 220) + abs(b - 255) < 60 for r, g, b in colours)
