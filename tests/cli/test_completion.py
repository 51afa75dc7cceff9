"""What a shell completes, and the commands that everybody tries first."""

from __future__ import annotations

import pytest

from int_bench import __version__
from int_bench.cli.words import completion

OVERRIDES = {
    ("run", (), "dataset=ca"): {"dataset=camo", "dataset=camoworld"},
    ("run", (), "method=int,pro"): {"method=int,promac"},
    ("run", (), "keep="): {"keep=final", "keep=soft"},
    ("run", (), "overlap="): {"overlap=true", "overlap=auto"},
    ("run", (), "method.prompter.pro"): {"method.prompter.progress.mode="},
    ("run", (), "method.prompter.progress.mode=f"): {"method.prompter.progress.mode=freeze_first"},
    ("run", ("models=paper",), "backbone.vlm.pref"): {"backbone.vlm.prefix_cache_mb="},
    ("ablate", (), "mod"): {"module=", "models="},
    ("ablate", (), "module=HCG,P"): {"module=HCG,PNM", "module=HCG,PSNM"},
    ("ablate", (), "module=PDG,M"): {"module=PDG,MPS"},
    ("ablate", (), "patches=h"): {"patches=halves"},
}


@pytest.mark.parametrize("case", OVERRIDES, ids=lambda case: case[2])
def test_overrides(case):
    found = completion.override(*case)
    assert set(found) >= OVERRIDES[case]
    assert all(text.startswith(case[2]) for text in found)


def test_what_the_words_before_chose_decides_the_keys():
    assert completion.override("run", ("method=grounding_sam",), "method.prompter.pro") == []
    assert completion.override("run", ("backbone/vlm=nothing",), "backbone.vlm.") == []


def test_tables_and_metrics():
    assert completion.table("3") == ["3a", "3b", "3c"]
    assert "family.wF" in completion.metric("family.w")


def test_version(command):
    assert command("--version") == (0, f"int-bench {__version__}\n", "")


@pytest.mark.parametrize("words", [(), ("-h",), ("data",), ("models",), ("run", "-h")], ids=str)
def test_help_is_what_everybody_expects(command, words):
    code, out, err = command(*words)
    assert code == 0 and out.startswith("Usage: int-bench") and not err
