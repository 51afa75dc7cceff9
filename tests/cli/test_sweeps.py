"""Several values of keys in one command: runs, labels, seeds, shared models."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from statistics import fmean, stdev

import pytest

from int_bench.config import building, load_config
from int_bench.errors import Exit
from int_bench.runs.variants import batches, sweep


def result(out: str) -> dict:
    return json.loads(out.strip().splitlines()[-1])


def pond(pairs: Path, *more: str) -> list[str]:
    return [
        "dataset=folder",
        f"dataset.images={pairs / 'images'}",
        f"dataset.masks={pairs / 'masks'}",
        *more,
    ]


def test_seeds_have_rows_of_their_own_and_their_mean_and_spread(command, pairs):
    words = pond(pairs, "method=centre_box,full", "seed=1,2,3")
    code, out, err = command("run", *words, "--limit", "2", "--json")
    assert code == Exit.DONE, err
    runs = result(out)["runs"]
    assert [item["method"] for item in runs] == [
        f"{method}, seed={seed}" for method in ("centre_box", "full") for seed in (1, 2, 3)
    ]
    assert len({item["run_dir"] for item in runs}) == 6
    first, second = result(out)["seeds"]
    assert (first["label"], second["label"]) == ("centre_box", "full")
    maes = [item["metrics"]["native"]["MAE"] for item in runs[:3]]
    assert first["metrics"]["native"]["mean"]["MAE"] == pytest.approx(fmean(maes))
    assert first["metrics"]["native"]["sd"]["MAE"] == pytest.approx(stdev(maes))
    code, out, _ = command("run", *words, "--limit", "2")
    assert code == Exit.DONE and "full: mean of 3 seeds" in out and "full: sd over 3 seeds" in out


def test_tables_and_eval_name_rows_by_what_differs(command, pairs):
    command("run", *pond(pairs, "method=centre_box", "seed=1,2"), "--limit", "2")
    labels = ["centre_box, seed=1", "centre_box, seed=2"]
    code, out, _ = command("eval", "--json")
    assert code == Exit.DONE
    assert sorted(item["method"] for item in result(out)["runs"]) == labels
    assert [group["label"] for group in result(out)["seeds"]] == ["centre_box"]
    rows = csv.DictReader(
        command("table", "--runs", "results/runs", "--format", "csv")[1].splitlines()
    )
    named = [(row["dataset"], row["protocol"], row["method"], row["row"]) for row in rows]
    assert len(set(named)) == len(named)
    assert {name[2] for name in named} == {*labels, "centre_box"}
    assert {"mean of 2 seeds", "sd over 2 seeds"} <= {name[3] for name in named}
    _, out, _ = command("compare", *map(str, sorted(Path("results/runs").glob("*/*/*"))))
    assert "seed=1" in out and "seed=2" in out


def test_a_label_is_what_tables_say_and_decides_nothing(command, pairs):
    plain = result(command("run", *pond(pairs, "method=full"), "--json")[1])
    words = pond(pairs, "method=full", "label=all of it")
    named = result(command("run", *words, "--json")[1])
    assert named["run_dir"] == plain["run_dir"]
    assert "all of it" in command("run", *words)[1]
    assert "all of it" in command("table", plain["run_dir"], "--format", "csv")[1]
    code, _, err = command("run", *pond(pairs, "label= "))
    assert code == Exit.USAGE and "label must be" in err


def test_data_sets_of_one_name_are_scored_apart(command, pairs, tmp_path):
    other = tmp_path / "second"
    other.mkdir()
    for kind in ("images", "masks"):
        (other / kind).mkdir()
        content = (pairs / kind / "a5.png").read_bytes()
        (other / kind / "a0.png").write_bytes(content)
    words = pond(pairs, "method=full")
    command("run", *words)
    code, _, err = command("run", *pond(other, "method=full"))
    assert code == Exit.DONE, err
    runs = result(command("eval", "--json")[1])["runs"]
    names = {"folder, images=pairs/images", "folder, images=second/images"}
    assert {item["dataset"] for item in runs} == names


def test_several_data_sets_are_one_table(command):
    words = ("dataset=camoworld,camoworld_polyp", "method=full", "--limit", "1")
    code, out, err = command("run", *words)
    assert code == Exit.DONE, err
    assert "camoworld_polyp" in out and out.count("results/runs") == 2


def test_what_shares_data_shares_a_broker_and_models_are_built_once():
    requests = sweep(["seed=1,2", "backbone/inpainter=telea,blur", "limit=1"])
    labels = [request.label for request in requests]
    assert labels[0] == "int, seed=1, inpainter=telea"
    groups = batches(requests)
    assert [[request.config.seed for request in group] for group in groups] == [[1, 2], [1, 2]]
    configs = [group[0].config for group in groups]
    building.keep_models(configs)
    first, second = map(building.build_backbones, configs)
    assert first["vlm"] is second["vlm"] and first["inpainter"] is not second["inpainter"]
    building.keep_models([])
    assert building.build_backbones(configs[0])["vlm"] is not first["vlm"]
    building.keep_models([])


def test_other_executors_get_seeds_one_by_one():
    requests = sweep(["seed=1,2", "executor=ray", "limit=1"])
    assert [len(group) for group in batches(requests)] == [1, 1]


def test_one_value_is_the_configuration_that_it_was():
    (request,) = sweep(["seed=3"])
    assert request.label == "" and request.config == load_config(["seed=3"])


@pytest.mark.parametrize("word", ["sink=mlflow,trackio", "executor=inline,ray"])
def test_what_tells_no_runs_apart_has_one_value(command, word):
    code, _, err = command("run", "method=empty", word, "--dry-run")
    assert code == Exit.USAGE and f"{word.partition('=')[0]}= takes one value a command" in err
