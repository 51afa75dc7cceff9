"""Every row of the paper's tables is either run here or enters as masks, by a name that works."""

from __future__ import annotations

import shlex

from int_bench.cli.assets.listing import list_methods
from int_bench.config.places import options
from int_bench.report.published import SETS, find, published, roster

RUN_HERE = {
    "INT": ("int",),
    "ProMaC": ("promac", "promac_released"),
    "GenSAM": ("gensam",),
    "GroundingSAM": ("grounding_sam",),
    "CLIP_Surgery+SAM": ("clip_surgery_sam",),
    "LLaVA1.5+SAM": ("llava_sam",),
    "GPT4V+SAM": ("vlm_api_sam",),
}


def test_every_method_of_the_tables_is_there_once_with_what_runs_it():
    entries = roster(options("method"))
    printed = {(row.method, row.setting) for which in "12" for row in published(which)}
    assert {(entry.method, entry.setting) for entry in entries} == printed
    assert len(entries) == len(printed)
    assert {e.method: e.ours for e in entries if e.ours} == RUN_HERE


def test_the_other_rows_are_found_by_the_name_that_is_told():
    for entry in roster(options("method")):
        if not entry.ours:
            name = shlex.split(entry.how)[-1]
            rows = [find(which, dataset, name) for which in entry.tables for dataset in SETS]
            found = [row for row in rows if row is not None]
            assert found, entry
            assert {(r.method, r.setting) for r in found} == {(entry.method, entry.setting)}


def test_the_listing_has_methods_ablations_and_rows(capsys):
    assert list_methods() == 0
    out = capsys.readouterr().out
    for name in options("method"):
        assert f"method={name} " in out
    for group in ("task", "executor", "sink"):
        assert all(f"{group}={name} " in out for name in options(group))
    assert "X-Decoder" in out and "--method 'WS-SAM point'" in out
    assert "int-bench run method=promac or method=promac_released" in out


def test_every_model_is_listed_by_itself(command):
    out = command("models", "list")[1].partition("One by one:")[2]
    for role in ("vlm", "inpainter", "detector", "segmenter", "aligner", "concept_segmenter"):
        for name in options(f"backbone/{role}"):
            assert f"backbone/{role}={name} " in out
