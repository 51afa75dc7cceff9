"""The tables of the drawn world, made by several processes: the same as made by one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from int_bench.methods.trivial import KINDS
from int_bench.metrics.rules import NATIVE
from int_bench.runs.layout import find_runs
from int_bench.runs.reader import Run
from int_bench.runs.variants import sweep
from int_bench.zoo import bars
from scripts.experiments import field, field_parts, field_runs
from scripts.experiments.field_runs import RowGroup, Scope

METHODS = ",".join(KINDS)


@pytest.fixture(autouse=True)
def small_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods that ask no model, on animals alone."""
    groups = {"camoworld": RowGroup("mixed", lambda o: sweep([*o, f"method={METHODS}"]))}
    variants = {"INT": ("method=centre_box",), "true name": ("method=full",)}
    sets = {"mixed": bars.SceneSet(bars.WHOLE, tuple(variants))}
    for module in (field, field_parts, field_runs):
        monkeypatch.setattr(module, "GROUPS", groups)
    for module in (bars, field_runs):
        monkeypatch.setattr(module, "SETS", sets)
    monkeypatch.setattr(field_runs, "VARIANTS", variants)
    monkeypatch.setattr(field, "TASKS", ("camoworld",))
    monkeypatch.setattr(field, "FURTHER", {})


def hashes(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): Run(path).records_hash() for path in find_runs(root)}


def test_parts_join_to_what_one_process_makes(tmp_path: Path) -> None:
    scope = Scope("validation", 5, tmp_path / "parts" / "01")
    for index in range(2):
        runs = tmp_path / "parts" / f"{index + 1:02d}"
        field.run_part(replace(scope, runs=runs, part=(index, 2)))
    whole, joined = (replace(scope, runs=tmp_path / name) for name in ("whole", "joined"))
    field.run_part(whole)
    field_parts.join(tmp_path / "parts", joined)
    assert hashes(tmp_path / "joined") == hashes(tmp_path / "whole")
    assert all(len(Run(path).records) == 5 for path in find_runs(tmp_path / "joined"))

    field.write_page(joined, tmp_path / "page")
    rows = json.loads((tmp_path / "page" / "camoworld.json").read_text())["rows"]
    assert [row["method"] for row in rows] == METHODS.split(",")
    assert {row["scored"] for row in rows} == {5}
    assert "validation scenes of the three drawn tasks (camoworld 5" in (
        tmp_path / "page" / "camoworld.md"
    ).read_text().replace("\n", " ")


def test_what_is_compared_beforehand_is_read_from_the_same_runs(tmp_path: Path) -> None:
    scope = Scope("validation", 4, tmp_path / "runs")
    field.run_part(scope)
    field_parts.keep_bars(scope, tmp_path / "kept")
    (trial,) = bars.measured("mixed", "validation", 4, tmp_path / "kept")
    scenes = bars.scenes_of("mixed", "validation", 4)
    everything = np.ones(scenes.masks.shape[2:], dtype=bool)
    expected = [
        NATIVE.score(everything, masks.any(axis=0)).measures.values["S"] for masks in scenes.masks
    ]
    assert trial["true name"].final == pytest.approx(np.array(expected))
    assert trial["true name"].structure[:, 0] == pytest.approx(np.array(expected))
    assert set(trial) == {"INT", "true name"}


def test_parts_hold_each_scene_once() -> None:
    scope = Scope("validation", 7, Path("runs"))
    ends = []
    for index in range(3):
        options = dict(
            text.split("=", 1) for text in replace(scope, part=(index, 3)).options("mixed")
        )
        ends.append((int(options["skip"]), int(options["limit"])))
    assert ends == [(0, 2), (2, 4), (4, 7)]
    assert replace(scope, n=2, part=(0, 3)).empty("mixed")
