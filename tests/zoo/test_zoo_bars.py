"""The bars of the mechanism: what is subtracted from what, and values that outlive a stop."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from int_bench.zoo import bars
from int_bench.zoo.mechanism import Measured


def _measured(final: float, n: int = 6) -> Measured:
    """N scenes with final masks around a mean, first masks .1 below, and every name right."""
    spread = np.linspace(-0.01, 0.01, n)
    structure = np.stack([final - 0.1 + spread, final + spread], axis=1)
    ones = np.ones(n)
    return Measured(structure, final + spread, np.ones((n, 2)), 0 * ones, ones, ones)


def _figures(**means: float) -> bars.Figures:
    measured = {name: _measured(mean) for name, mean in means.items()}
    return bars.Figures({"mixed": [measured], "names": [measured]})


def test_differences_are_of_one_scene_each() -> None:
    figures = _figures(INT=0.8, Other=0.76)
    assert figures.over("mixed", "Other") == pytest.approx(np.full(6, 0.04))
    assert figures.gain("mixed") == pytest.approx(np.full(6, 0.1))
    assert figures.mined() == pytest.approx(np.ones(6))
    assert figures.both("mixed").tolist() == [1.0] * 6


def test_int_is_held_against_the_best_baseline_and_trials_are_averaged() -> None:
    means = {name: 0.6 for name in bars.BASELINES} | {"GenSAM": 0.7, "INT": 0.8}
    figures = _figures(**means)
    assert figures.over_best("mixed") == pytest.approx(np.full(6, 0.1))
    trials = bars.Figures({"x": [{"INT": _measured(0.5)}, {"INT": _measured(0.7)}]})
    assert trials.final("x", "INT").mean() == pytest.approx(0.6)


def test_a_set_that_was_measured_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials_run: list[int] = []

    def measure(
        names: Any, scenes: Any, task: str, base: Any, trial: int = 0
    ) -> dict[str, Measured]:
        trials_run.append(trial)
        return {name: _measured(0.5 + trial / 10, len(scenes.images)) for name in names}

    monkeypatch.setattr(bars, "measure", measure)
    monkeypatch.setitem(bars.SETS, "tiny", bars.SceneSet(4, ("INT",), animals="one", trials=2))
    first = bars.measured("tiny", "validation", bars.WHOLE, tmp_path)
    again = bars.measured("tiny", "validation", bars.WHOLE, tmp_path)
    assert trials_run == [0, 1]
    assert again[1]["INT"].final.tolist() == first[1]["INT"].final.tolist()
    bars.measured("tiny", "validation", bars.WHOLE // 2, tmp_path)  # fewer scenes: other values
    assert trials_run == [0, 1, 0, 1]
