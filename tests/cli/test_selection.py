"""Which samples a command is about, and the configuration with its origins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from int_bench.cli.selection import selection
from int_bench.errors import Exit, UsageError


def result(out: str) -> dict:
    return json.loads(out.strip().splitlines()[-1])


def pond(pairs: Path, *more: str) -> list[str]:
    folders = [f"dataset.{kind}={pairs / kind}" for kind in ("images", "masks")]
    return ["dataset=folder", *folders, "method=centre_box", *more]


@pytest.mark.parametrize(
    ("options", "overrides"),
    [
        (("3", None, None), ["limit=3"]),
        (("2-4", None, None), ["skip=1", "limit=4"]),
        (("1-1", None, None), ["skip=0", "limit=1"]),
        ((None, "b, a,b", None), ["ids=['b','a']"]),
        ((None, "it's", None), ["ids=['it\\'s']"]),
        (("x", None, None), ["limit=x"]),
    ],
)
def test_options_are_overrides(options, overrides):
    assert selection(*options) == overrides


@pytest.mark.parametrize("options", [("4-2", None, None), ("0-2", None, None), (None, " , ", None)])
def test_what_selects_nothing_is_refused(options):
    with pytest.raises(UsageError):
        selection(*options)


def test_a_range_counts_from_one_and_includes_both_ends(command, pairs):
    code, out, err = command("run", *pond(pairs), "--limit", "2-4", "--json")
    assert code == Exit.DONE, err
    run = result(out)
    assert [run[key] for key in ("n", "scored", "missing")] == [3, 3, 0]
    masks = sorted(path.stem for path in Path(run["run_dir"]).glob("masks/0/final/*.png"))
    assert masks == ["a1", "a2", "a3"]
    # What reads the folder later asks for the same samples.
    assert result(command("eval", run["run_dir"], "--json")[1])["metrics"] == run["metrics"]
    code, out, _ = command("table", run["run_dir"], "--format", "json")
    assert code == Exit.DONE and json.loads(out)["rows"][0]["n"] == 3


def test_samples_of_one_run_may_be_asked_for_bit_by_bit(command, pairs, here):
    (here / "list.txt").write_text("# mine\na5\n\na0\n")
    first = result(command("run", *pond(pairs), "--ids-file", "list.txt", "--json")[1])
    assert first["n"] == 2
    second = result(command("run", *pond(pairs), "--ids", "a1", "--json")[1])
    assert second["run_dir"] == first["run_dir"] and second["n"] == 1
    assert result(command("eval", first["run_dir"], "--json")[1])["n"] == 3
    whole = result(command("run", *pond(pairs), "--json")[1])
    assert whole["n"] == whole["scored"] == 6
    assert command("table", first["run_dir"])[0] == Exit.DONE


def test_scores_of_some_samples_do_not_pass_for_those_of_others(command, pairs):
    run = result(command("run", *pond(pairs), "--ids", "a0,a1", "--json")[1])
    (pairs / "masks" / "a1.png").write_bytes((pairs / "masks" / "a5.png").read_bytes())
    code, _, err = command("table", run["run_dir"])
    assert code == Exit.USAGE and "another ground truth of a1" in err


@pytest.mark.parametrize(
    ("words", "said", "kind"),
    [
        (["--ids", "a9"], "has no sample 'a9'", Exit.MISSING),
        (["--limit", "40-50"], "No sample is left of 6", Exit.MISSING),
        (["--ids-file", "gone.txt"], "gone.txt cannot be read", Exit.MISSING),
        (["--limit", "5-2"], "is no range", Exit.USAGE),
    ],
)
def test_what_is_not_there_is_named(command, pairs, words, said, kind):
    code, _, err = command("run", *pond(pairs), *words)
    assert code == kind and said in err and len(err.splitlines()) == 1


def test_the_configuration_is_printed_as_yaml_with_the_origin_of_each_value(command):
    words = ("run", "method.w=0.1", "seed=7", "method=promac", "--limit", "3")
    code, out, _ = command(*words, "--print-config")
    assert code == Exit.DONE
    config = yaml.safe_load(out)
    assert (config["seed"], config["limit"], config["method"]["w"]) == (7, 3, 0.1)
    assert config["method"]["final"] == "closest" and config["exactness"] == "E0"
    lines = {line.split(":")[0].strip(): line for line in out.splitlines()}
    assert "# command line" in lines["w"] and "# command line" in lines["limit"]
    assert "# conf/method/promac.yaml:" in lines["lists"]
    assert "conf/config.yaml" in lines["out"] and not Path("results").exists()
    assert "${backbone.vlm.preprocess}" in lines["frame"]


def test_each_run_of_a_sweep_is_a_document(command):
    out = command("run", "seed=1,2", "method=empty", "--print-config")[1]
    assert [document["seed"] for document in yaml.safe_load_all(out)] == [1, 2]
