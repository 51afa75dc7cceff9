"""The same command again: what is gone, torn or changed is made good, and nothing else is done."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from int_bench.runs.check import check
from int_bench.runs.reader import Run
from tests.cli.test_cli import folder_of, lines_in, result
from tests.runs.test_reader import OLD


@pytest.fixture
def run(command, pairs):
    """Runs over six pairs: ``result, stderr = run("--limit", "2")``."""

    def call(*words):
        code, out, err = command("run", *folder_of(pairs), "method=centre_box", "--json", *words)
        assert code == 0, err
        return result(out), err

    return call


def masks_in(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*.png"))}


HARMS = {
    "run.json": lambda folder: (folder / "run.json").unlink(),
    "a mask": lambda folder: next(folder.glob("masks/0/final/*.png")).unlink(),
    "all masks": lambda folder: shutil.rmtree(folder / "masks"),
    "half a mask": lambda folder: next(folder.glob("masks/0/final/*.png")).write_bytes(b"\x89PNG"),
    "another mask": lambda folder: _redraw(folder / "masks/0/final/a5.png"),
    "half a line": lambda folder: _cut(next(folder.glob("records/*.jsonl"))),
    "a bad line": lambda folder: _spoil(next(folder.glob("records/*.jsonl"))),
    "all records": lambda folder: shutil.rmtree(folder / "records"),
    "scores": lambda folder: [path.unlink() for path in folder.rglob("*.csv")],
}


def _redraw(path: Path) -> None:
    with Image.open(path) as mask:
        Image.new("L", mask.size, 255).save(path)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def _spoil(path: Path) -> None:
    path.write_bytes(b"nonsense\n" + path.read_bytes())


@pytest.mark.parametrize("name", HARMS)
def test_a_run_makes_good_what_was_harmed(run, name):
    first, _ = run()
    folder = Path(first["run_dir"])
    masks = masks_in(folder)
    HARMS[name](folder)
    again, _ = run()
    assert again["run_dir"] == first["run_dir"] and again["metrics"] == first["metrics"]
    assert masks_in(folder) == masks and not list(check(Run(folder), thorough=True))
    assert len({line.split(b'"trial"')[0] for line in lines_in(folder)}) == 6


def test_run_json_says_the_limit_and_trials_that_were_asked_for_last(run):
    folder = Path(run()[0]["run_dir"])
    before = Run(folder).manifest.content
    again, _ = run("--limit", "2")
    after = Run(folder).manifest
    assert (after.limit, after.trials, again["n"]) == (2, 1, 2)
    changed = {key for key in before if before[key] != after.content[key]}
    assert changed == {"config", "checksum"}


def test_a_run_that_was_edited_is_not_touched(run, command, pairs):
    folder = Path(run()[0]["run_dir"])
    path = folder / "run.json"
    path.write_text(path.read_text().replace('"limit": null', '"limit": 1'))
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    code, _, err = command("run", *folder_of(pairs), "method=centre_box")
    assert code == 3 and "was changed after it was written" in err and len(err.splitlines()) == 1
    assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_run_of_an_earlier_format_is_named_and_not_resumed(command, here):
    old = here / "results" / "runs" / "camoworld" / "centre_box" / "66771a916bec"
    shutil.copytree(OLD, old)
    before = {p: p.read_bytes() for p in old.rglob("*") if p.is_file()}
    code, out, err = command("run", "method=centre_box", "--limit", "1", "--json")
    assert code == 0 and "is of an earlier format: it is read and scored, not resumed" in err
    assert Path(result(out)["run_dir"]).name != old.name
    assert before == {p: p.read_bytes() for p in old.rglob("*") if p.is_file()}
    assert "earlier format" not in command("run", "method=centre_box", "--limit", "1")[2]


def test_images_that_were_replaced_begin_another_run(run, pairs):
    first, _ = run()
    image = pairs / "images" / "a3.png"
    content = bytearray(image.read_bytes())
    content[-5] ^= 1  # of equal size
    image.write_bytes(content)
    assert run()[0]["run_dir"] != first["run_dir"]


def test_check_says_when_scores_are_of_other_masks(run, command):
    folder = Path(run()[0]["run_dir"])
    assert command("check", folder, "--verify")[0] == 0
    _redraw(folder / "masks/0/final/a5.png")
    code, out, _ = command("check", folder)
    assert code == 4 and "masks/0/final/a5.png, sample a5" in out and "scores:" in out
