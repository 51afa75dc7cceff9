"""Imports point one way, and the model libraries and Hydra stay where they belong."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "int_bench"
MODEL_LIBRARIES = {
    "accelerate",
    "diffusers",
    "groundingdino",
    "open_clip",
    "segment_anything",
    "torch",
    "torchvision",
    "transformers",
}


def imported(path: Path) -> set[str]:
    """The top-level packages that a file imports, anywhere in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    names += [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module]
    return {name.partition(".")[0] for name in names}


def test_the_contracts_hold(monkeypatch):
    importlinter = pytest.importorskip("importlinter.cli")
    monkeypatch.chdir(PACKAGE.parent)
    assert importlinter.lint_imports(no_cache=True) == 0


def test_model_libraries_are_imported_where_models_live_only():
    found = {
        str(path.relative_to(PACKAGE)): imported(path) & MODEL_LIBRARIES
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] not in ("backbones", "learning", "zoo")
    }
    assert not {path: names for path, names in found.items() if names}


def test_hydra_is_imported_by_config_only():
    files = [path for path in PACKAGE.rglob("*.py") if imported(path) & {"hydra", "omegaconf"}]
    users = {path.relative_to(PACKAGE).parts[0] for path in files}
    assert users == {"config"}


def test_files_stay_short_enough_to_read():
    paths = [path for path in PACKAGE.rglob("*.py") if path.parent.name != "zoo"]
    lengths = {path.name: path.read_text().count("\n") for path in paths}
    assert not {name: length for name, length in lengths.items() if length > 350}
