"""What the documents at the top say is so: sizes, layouts, commands, files, terms."""

from __future__ import annotations

import re
import tomllib
from itertools import product
from pathlib import Path

import pytest
import yaml

from int_bench.cli.assets.fetch import asked
from int_bench.config.places import CONF

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODELS_AND_DATA = (ROOT / "docs" / "models_and_data.md").read_text(encoding="utf-8")
DOCUMENTS = [
    "docs/models_and_data.md",
    "docs/scale.md",
    "docs/training.md",
    *sorted(path.name for path in ROOT.glob("*.md")),
]


def headline(group: str, name: str) -> str:
    return (CONF / group / f"{name}.yaml").read_text(encoding="utf-8")


def test_the_full_models_weigh_what_is_said():
    rows = dict(re.findall(r"^\| ([a-z-]+(?: model)?) \|.*\| ([\d.]+) \|$", MODELS_AND_DATA, re.M))
    roles = {"vision-language model": "vlm"} | {role: role for role in rows if " " not in role}
    preset = yaml.safe_load((CONF / "models" / "paper.yaml").read_text())["defaults"]
    chosen = {key.rpartition("/")[2]: name for entry in preset for key, name in entry.items()}
    assert {roles[row] for row in rows} == set(chosen)
    for row, gigabytes in rows.items():
        role = roles[row]
        assert f": {gigabytes} GB in" in headline(f"backbone/{role}", chosen[role])
    total = f"{sum(map(float, rows.values())):.1f} GB of weights"
    assert all(total in text for text in (headline("models", "paper"), README, MODELS_AND_DATA))


def layouts() -> list[tuple[str, list[str]]]:
    """(data set, the two folders) of each layout in the table of data sets."""
    rows = re.findall(r"^\| `(\w+)` \| \d+ \| (.*) \| \w+ \|$", MODELS_AND_DATA, re.MULTILINE)
    found = []
    for name, cell in rows:
        for texts in [cell.split(", `")] if "{" not in cell else re.findall(r"`([^`]+)`", cell):
            whole = [texts] if isinstance(texts, str) else texts
            found.append((name, [path for text in whole for path in expand(text.strip("`"))]))
    return found


def expand(text: str) -> list[str]:
    """``a/{b,c}`` as a/b and a/c."""
    parts = [part.split(",") for part in re.split(r"[{}]", text)]
    return ["".join(choice) for choice in product(*parts)]


@pytest.mark.parametrize(("name", "folders"), layouts(), ids=lambda value: str(value)[:40])
def test_a_layout_that_is_named_is_found(name, folders):
    node = yaml.safe_load(headline("dataset", name))
    images, masks = folders
    assert images in node["images"] and masks in node["masks"]


def test_every_data_set_has_its_layouts_in_the_table():
    assert {name for name, _ in layouts()} == {
        "cod10k", "camo", "chameleon", "kvasir", "colondb", "isic",
    }  # fmt: skip


def test_the_list_of_models_names_commands_that_bring_what_lacks(command, monkeypatch, tmp_path):
    monkeypatch.setenv("INT_BENCH_MODELS", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    _, out, _ = command("models", "list")
    listed = re.findall(r"get it with `int-bench models fetch ([^`]+)`", out)
    assert len(listed) == 10
    for words in set(listed):
        (part,) = asked(words.split())
        assert part.lacks and part.fetchable and part.word == words


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_that_are_named_are_there(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    text = re.sub(r"^`[^`\n]+`$|^```.*?^```", "", text, flags=re.M | re.S)  # files to be made
    named = set(re.findall(r"`((?:int_bench|scripts|tests|examples|results)/[\w./-]+)`", text))
    linked = {path for path in re.findall(r"\]\(([^)#:]+)\)", text)}
    absent = [path for path in named | linked if not (ROOT / path).exists()]
    assert not [path for path in absent if not path.startswith("results/runs")]


def test_the_terms_are_those_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert project["license"] == citation["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "arXiv:2501.18753" in str(citation["preferred-citation"])
