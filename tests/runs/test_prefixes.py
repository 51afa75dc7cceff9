"""Shorter runs out of a longer one equal those that were made for themselves."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from int_bench.config import load_config
from int_bench.engine.broker import Broker
from int_bench.errors import MissingAsset
from int_bench.runs.execute import Variant, run
from int_bench.runs.prefixes import derive
from int_bench.runs.reader import Run
from tests.fakes import all_fakes, scene
from tests.methods.test_int_on_fakes import build
from tests.runs.test_run import Tiny, masks_of, plan_of
from tests.runs.test_store import opened

SHORT = ("method.prompter.generation.grid.sets=[original]", "--limit", "1")


class Scenes(Tiny):
    """Red squares on green, each brighter than the last; ``broken`` cannot be decoded."""

    def load_image(self, sample):
        super().load_image(sample)
        return scene() + int(sample.id[1:])


def int_of(folder: Path, iterations: int, keep: str = "soft", **dataset) -> list[tuple[int, str]]:
    """INT on fakes for some iterations; the keys of its plan."""
    plan = plan_of(Scenes(count=3, **dataset), trials=2)
    with opened(folder, keep) as store:
        variant = Variant("int", build(iterations), store)
        run(plan, [variant], Broker(all_fakes(), in_flight=2))
    return [(trial, sample.id) for trial in range(2) for sample in plan.samples]


def take(longer: Path, folder: Path, iterations: int, keys: list[tuple[int, str]]) -> None:
    with opened(folder, "soft") as store:
        derive(Run(longer), store, iterations, keys)


def bare(folder: Path):
    """The records without what depends on who computed."""
    records = Run(folder).records.items()
    return {key: replace(record, seconds={}, counters={}) for key, record in records}


def lines_of(folder: Path) -> dict[str, bytes]:
    """The lines of all records by file."""
    return {path.name: path.read_bytes() for path in (folder / "records").iterdir()}


@pytest.mark.parametrize("keep", ["iterations", "soft"])
def test_a_prefix_equals_the_shorter_run(tmp_path, keep):
    """The masks byte by byte, the records field by field."""
    keys = int_of(tmp_path / "long", 4, keep)
    for number in (1, 2, 3):
        own, taken = tmp_path / f"own {number}", tmp_path / f"taken {number}"
        int_of(own, number, keep)
        take(tmp_path / "long", taken, number, keys)
        assert masks_of(own) == masks_of(taken) != {}
        assert bare(own) == dict(Run(taken).records)
        lines = lines_of(taken)
        take(tmp_path / "long", taken, number, keys)
        assert lines_of(taken) == lines != {}  # nothing is done twice


def test_a_sample_that_failed_is_failed_in_the_prefix_until_it_is_mended(tmp_path):
    long, taken = tmp_path / "long", tmp_path / "taken"
    keys = int_of(long, 2, broken=frozenset({"s1"}))
    take(long, taken, 1, keys)
    record = Run(taken).records[0, "s1"]
    assert (record.status, record.error) == ("failed", "s1 cannot be decoded")
    int_of(long, 2)
    take(long, taken, 1, keys)
    int_of(tmp_path / "own", 1)
    assert masks_of(taken) == masks_of(tmp_path / "own")
    assert bare(tmp_path / "own") == dict(Run(taken).records)


def test_what_the_longer_run_has_not_done_is_left_out(tmp_path):
    keys = int_of(tmp_path / "long", 2)
    take(tmp_path / "long", tmp_path / "taken", 1, [*keys, (0, "s9")])
    assert set(Run(tmp_path / "taken").records) == set(keys)


def test_a_run_of_final_masks_is_refused_and_leaves_no_record(tmp_path):
    keys = int_of(tmp_path / "long", 2, "final")
    with pytest.raises(MissingAsset, match="keep=iterations"):
        take(tmp_path / "long", tmp_path / "taken", 1, keys)
    assert len(Run(tmp_path / "taken").records) == 0


@pytest.mark.slow
def test_ablate_makes_real_run_folders_of_the_prefixes(command):
    """On the shipped models: the folders of `run method.iterations=n`, with the same masks."""
    words = ("ablate", "iterations=1..2", *SHORT)
    code, out, err = command(*words, "--json")
    assert code == 0, err
    first, longest = json.loads(out)["variants"]
    assert (first["method"], longest["method"]) == ("int, 1 iteration", "int, 2 iterations")
    run_words = ("run", "method.iterations=1", *SHORT, "--json")
    own = json.loads(command(*run_words, "--out", "own")[1])
    mine, taken = Path(own["run_dir"]), Path(first["run_dir"])
    assert mine.relative_to("own") == taken.relative_to("results/runs")
    assert masks_of(mine) == masks_of(taken) and own["metrics"] == first["metrics"]
    assert bare(mine) == bare(taken)
    manifest = Run(taken).manifest.content
    assert manifest["prefix_of"] == longest["run_dir"] and manifest["models"]["vlm"]
    assert manifest["config"]["method"]["iterations"] == 1
    resumed = json.loads(command(*run_words)[1])
    assert resumed["counters"] == {} and resumed["metrics"] == first["metrics"]
    # With the longer run at hand no model is called, and none is loaded.
    shutil.rmtree(taken)
    code, out, err = command(*words, "-v")
    assert code == 0 and "int, 1 iteration" in out and "Work of the models" not in out, err
    assert masks_of(taken) == masks_of(mine)


def test_a_dry_run_names_the_folders_that_run_would_use(command):
    code, out, _ = command("ablate", "iterations=2,4", "module=PNM", "--dry-run")
    assert code == 0
    names = [line[10:].strip() for line in out.splitlines() if line.startswith("method")]
    assert names == ["int", "int-no_pnm", "int, 2 iterations", "int, 4 iterations"]
    folders = [line.split()[2] for line in out.splitlines() if line.startswith("run folder")]
    alone = command("run", "method.iterations=2", "--dry-run")[1]
    assert folders[2] in alone
    assert f"taken from {folders[3]}" in out


def test_the_number_of_the_task_is_no_second_run(command):
    """``iterations=5`` is what INT does anyway: one folder, under its own name."""
    assert load_config([]).task.iterations == 5
    out = command("ablate", "iterations=4..5", "module=PNM", "--dry-run")[1]
    names = [line[10:].strip() for line in out.splitlines() if line.startswith("method")]
    assert names == ["int", "int-no_pnm", "int, 4 iterations"]
