"""CONTRIBUTING.md, followed to the letter in a copy of the package."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Walk:
    """How to add one thing: new files, changes of old ones, commands, and what they print."""

    title: str
    files: dict[str, str]
    changes: str
    commands: list[str]
    printed: list[str]

    @property
    def touched(self) -> set[str]:
        """Every file that is new or changed."""
        return set(self.files) | set(re.findall(r"^\+\+\+ b/(\S+)$", self.changes, re.MULTILINE))


def walks() -> list[Walk]:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = []
    for section in text.split("\n### ")[1:]:
        files = dict(re.findall(r"^`([^`\n]+)`\n\n```\w+\n(.*?)^```", section, re.M | re.S))
        changes = "".join(re.findall(r"^```diff\n(.*?)^```", section, re.M | re.S))
        commands = "".join(re.findall(r"^```sh\n(.*?)^```", section, re.M | re.S)).splitlines()
        printed = "".join(re.findall(r"^```text\n(.*?)^```", section, re.M | re.S)).splitlines()
        found.append(Walk(section.partition("\n")[0], files, changes, commands, printed))
    return found


def test_each_walk_touches_as_many_files_as_it_says():
    said = {walk.title: int(re.search(r"(\d) file", walk.title)[1]) for walk in walks()}  # type: ignore[index]
    assert said == {walk.title: len(walk.touched) for walk in walks()}
    most = {"A data set": 1, "A backbone": 2, "A method": 2, "A measure": 3, "A column": 1}
    assert {title.partition(":")[0]: count for title, count in said.items()} == most


@pytest.fixture
def copy(tmp_path) -> Path:
    """The package and the project's settings; the weights are linked."""
    weights = shutil.ignore_patterns("zoo", "__pycache__")
    shutil.copytree(ROOT / "int_bench", tmp_path / "int_bench", ignore=weights)
    (tmp_path / "int_bench" / "zoo").symlink_to(ROOT / "int_bench" / "zoo")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.services
@pytest.mark.parametrize("walk", walks(), ids=lambda walk: walk.title)
def test_a_walk_leads_where_it_says(copy, walk):
    for name, text in walk.files.items():
        assert not (copy / name).exists()
        (copy / name).write_text(text, encoding="utf-8")
    if walk.changes:
        subprocess.run(["git", "apply"], input=walk.changes, text=True, check=True, cwd=copy)
    out = ""
    for line in walk.commands:
        program, *words = line.split()
        assert program == "int-bench"
        done = subprocess.run(
            [sys.executable, "-m", "int_bench", *words], cwd=copy, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        out += done.stdout
    assert all(line in out for line in walk.printed), out
    sources = [name for name in walk.touched if name.endswith(".py")]
    for tool in (["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]):
        check = [sys.executable, "-m", *tool, *sources]
        assert not sources or subprocess.run(check, cwd=copy).returncode == 0
