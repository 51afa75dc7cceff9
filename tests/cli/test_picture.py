"""``int-bench picture``: drawn from what a run kept, and from nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def run(command, pairs):
    """A function that runs ``centre_box`` over the pairs."""

    def call(*words: str) -> Path:
        words = ("dataset=folder", f"dataset.images={pairs / 'images'}", *words)
        code, out, err = command("run", *words, "method=centre_box", "--json", "--limit", "2")
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
