"""Classes and names read from their source, without importing it or the packages above it.

A backbone's module imports its model library; reading it instead keeps configuration free of torch.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from int_bench.errors import UsageError


@cache
def definition(target: str) -> tuple[str, ast.stmt]:
    """The module that defines a dotted name, and the statement that does.

    From-imports are followed, so that a package may re-export the name.

    Raises:
        UsageError: there is no such module or name.
    """
    module, _, name = target.rpartition(".")
    origin = names(module, target).get(name)
    if origin is None:
        raise UsageError(f"_target_ {target}: the module {module} has no {name}.")
    return definition(origin) if isinstance(origin, str) else (module, origin)


@cache
def names(module: str, target: str = "") -> dict[str, ast.stmt | str]:
    """What a module defines: the statement of each name, or the dotted origin of an imported one.

    Raises:
        UsageError: there is no such module; the sentence names ``target``.
    """
    defined: dict[str, ast.stmt | str] = {}
    for node in _statements(_parsed(module, target).body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            defined[node.name] = node
        elif isinstance(node, ast.Assign):
            defined.update({t.id: node for t in node.targets if isinstance(t, ast.Name)})
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            defined[node.target.id] = node
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                defined[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return defined


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module, those under ``if TYPE_CHECKING:`` among them."""
    for node in body:
        if isinstance(node, ast.If):
            yield from _statements(node.body)
        else:
            yield node


def find(module: str) -> ModuleSpec | None:
    """Where a module or package lies; neither it nor the packages above it are imported."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top) if top else None
    except (ImportError, ValueError):
        spec = None
    name = top
    for part in rest:
        name = f"{name}.{part}"
        places = spec.submodule_search_locations if spec is not None else None
        spec = PathFinder.find_spec(name, list(places)) if places else None
    return spec


def _parsed(module: str, target: str) -> ast.Module:
    spec = find(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise UsageError(
            f"_target_ {target}: there is no module {module or target!r} whose source can be read."
        )
    try:
        return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise UsageError(
            f"_target_ {target}: {spec.origin}{line} cannot be read: "
            f"{getattr(error, 'msg', None) or type(error).__name__}."
        ) from error
