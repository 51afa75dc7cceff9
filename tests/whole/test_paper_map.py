"""Each equation of the paper has exactly one owner in the code, and ARCHITECTURE's map agrees."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def owners() -> dict[int, list[tuple[str, str]]]:
    """(file, name) of every class or function whose docstring opens with ``Eq. (n):``."""
    found: dict[int, list[tuple[str, str]]] = {}
    for path in sorted((ROOT / "int_bench").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                match = re.match(r"Eq\. \((\d+)\):", ast.get_docstring(node) or "")
                if match:
                    place = (path.relative_to(ROOT).as_posix(), node.name)
                    found.setdefault(int(match.group(1)), []).append(place)
    return found


def test_every_equation_has_one_owner() -> None:
    found = owners()
    assert sorted(found) == list(range(1, 14))
    assert {n: places for n, places in found.items() if len(places) != 1} == {}


def test_the_map_agrees() -> None:
    rows = re.findall(
        r"^\| Eq\. \((\d+)\) \|[^|]*\| `([^`]+)` \| `([^`]+)` \|$",
        (ROOT / "ARCHITECTURE.md").read_text(),
        flags=re.MULTILINE,
    )
    written = {int(n): (path, name.split(".")[-1]) for n, path, name in rows}
    assert written == {n: places[0] for n, places in owners().items()}
