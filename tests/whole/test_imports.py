"""Imports point one way, and the model libraries and Hydra stay where they belong."""

from __future__ import annotations

import ast
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "int_bench"
SOURCES = [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "scripts").rglob("*.py")]
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


def test_no_module_reaches_itself():
    grimp = pytest.importorskip("grimp")
    graph = grimp.build_graph("int_bench", exclude_type_checking_imports=True)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(list(TopologicalSorter(imports).static_order())) >= len(imports)  # else CycleError


def test_files_stay_short_enough_to_read():
    lengths = {path: path.read_text().count("\n") for path in SOURCES}
    assert not {path: length for path, length in lengths.items() if length > 350}


def test_functions_stay_short_enough_to_read():
    """40 lines, docstrings apart."""
    functions = [
        (path, node)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    lengths = {(path, node.name): length_of(node) for path, node in functions}
    assert not {place: length for place, length in lengths.items() if length > 40}


def length_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    said = len((ast.get_docstring(node, clean=False) or "").splitlines())
    return (node.end_lineno or node.lineno) - node.lineno + 1 - said


def test_rooms_stay_small_enough_to_look_around():
    """15 modules in a room; four files at the root."""
    rooms = Counter(path.parent for path in SOURCES if path.name != "__init__.py")
    assert not {room: count for room, count in rooms.items() if count > 15}
    assert len([path for path in PACKAGE.iterdir() if path.is_file()]) <= 4
