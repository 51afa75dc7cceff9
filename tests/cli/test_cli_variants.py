"""Variants and methods side by side on the command line: ``ablate``, and ``run method=A,B``."""

from __future__ import annotations

import re

import pytest

from int_bench.config.places import options
from tests.cli.test_cli import result


def test_ablate_plans_the_full_method_beside_each_variant(command):
    code, out, _ = command("ablate", "module=all", "--dry-run")
    names = [line.split()[1] for line in out.splitlines() if line.startswith("method")]
    assert code == 0
    assert names == ["int", *(f"int-no_{name}" for name in ("hcg", "pnm", "psnm", "smg"))]
    assert len(set(re.findall(r"[0-9a-f]{12}", out))) == 5


def test_ablate_runs_both_over_one_broker(command):
    """On the shipped models: what full method and variant have in common is computed once."""
    short = ["method.prompter.generation.grid.sets=[original]", "method.iterations=1"]
    code, out, err = command("ablate", "module=PNM", *short, "--limit", "1", "--json")
    assert code == 0, err
    found = result(out)
    assert [one["method"] for one in found["variants"]] == ["int", "int-no_pnm"]
    counters = found["counters"]
    assert counters["vlm.answer.hits"] == counters["vlm.answer.rows"] > 0
    assert counters["segmenter.segment.hits"] == counters["segmenter.segment.rows"] > 0


def test_ablate_plans_the_patches_of_table_3b(command):
    code, out, _ = command("ablate", "patches=all", "--dry-run")
    names = [line.split()[1] for line in out.splitlines() if line.startswith("method")]
    assert code == 0
    cut = ("original", "halves", "quarters", "original_halves")
    assert names == ["int", *(f"int-patches_{name}" for name in cut)]
    short = command("ablate", "patches=o,h,q,oh,ohq", "--dry-run")[1]
    assert re.findall(r"run folder .*", short) == re.findall(r"run folder .*", out)


def test_ablate_plans_the_readings_of_the_paper(command):
    code, out, _ = command("ablate", "reading=all", "--dry-run")
    names = [line.split()[1] for line in out.splitlines() if line.startswith("method")]
    assert code == 0
    assert names == ["int", "int-lineage", "int-printed"]
    assert len(set(re.findall(r"[0-9a-f]{12}", out))) == 3
    # The text's reading is the default, by name or without.
    plain, named = (command("run", *words, "--dry-run")[1] for words in ([], ["reading=text"]))
    assert re.findall(r"run folder .*", plain) == re.findall(r"run folder .*", named)
    code, _, err = command("ablate", "reading=loud")
    assert code == 2 and "lineage, printed, sampled, text or all" in err and err.count("\n") == 1


def test_methods_run_together_into_the_folders_that_each_has_alone(command):
    words = ("--limit", "2", "--json")
    code, out, err = command("run", "method=centre_box,full,centre_box", *words)
    assert code == 0, err
    together = result(out)["runs"]
    assert [one["method"] for one in together] == ["centre_box", "full"]
    for one in together:
        alone = result(command("run", f"method={one['method']}", *words)[1])
        assert (alone["run_dir"], alone["metrics"]) == (one["run_dir"], one["metrics"])


def test_all_methods_are_those_that_a_preset_has_the_models_of(command):
    code, out, _ = command("run", "method=all", "--dry-run")
    names = [line.split()[1] for line in out.splitlines() if line.startswith("method")]
    assert code == 0
    assert set(options("method")) - set(names) == {
        "sam3", "vlm_api_sam", "sam_point", "plm_point", "sam_top1_point", "oracle_of_bag",
        "mil_single", "sapnet_select", "sapnet",
    }  # fmt: skip


def test_methods_with_models_of_their_own_run_beside_the_others(command):
    code, out, err = command("run", "method=sam3,full", "--dry-run")
    assert code == 3 and out.count("\nconcept_segmenter") == 1 and "facebook/sam3" in err


@pytest.mark.slow
def test_methods_share_what_they_have_in_common(command):
    """On the shipped models: both segment the box of the same prompt."""
    code, out, err = command("run", "method=grounding_sam,clip_surgery_sam,full", "--limit", "1")
    assert code == 0, err
    for text in ("grounding_sam", "clip_surgery_sam", "rows alone", "saved by sharing"):
        assert text in out
