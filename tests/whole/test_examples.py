"""Each example runs as it stands, in a folder of its own."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SAYS = {
    "one_image": "iteration 5",
    "own_folder": "2 of 2 scored",
    "own_masks": "worst: disc",
    "own_prompter": "camouflaged animal in image: owl",
}
MOST_LINES = 35


def test_they_are_four_and_short():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SAYS)
    lengths = {path.stem: len(path.read_text().splitlines()) for path in EXAMPLES.glob("*.py")}
    assert max(lengths.values()) <= MOST_LINES


@pytest.mark.parametrize("name", ["own_folder", "own_masks"])
def test_it_runs(name, here, monkeypatch, capsys):
    check(name, monkeypatch, capsys)


@pytest.mark.services
@pytest.mark.parametrize("name", ["one_image", "own_prompter"])
def test_it_runs_over_iterations(name, here, monkeypatch, capsys):
    check(name, monkeypatch, capsys)


def check(name, monkeypatch, capsys):
    path = EXAMPLES / f"{name}.py"
    monkeypatch.setattr("sys.argv", [str(path)])
    runpy.run_path(str(path), run_name="__main__")
    assert SAYS[name] in capsys.readouterr().out
