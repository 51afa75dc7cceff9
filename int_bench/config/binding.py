"""Checks that configuration binds to the constructor it names, without importing that constructor.

A backbone's module imports its model library; reading its source instead keeps ``--dry-run`` and
the configuration tests free of torch.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from int_bench.errors import UsageError

TARGET = "_target_"
_SCALARS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float, int),
    "str": (str,),
    "bool": (bool,),
    "None": (type(None),),
}


@dataclass(frozen=True)
class Parameter:
    """One constructor argument: its annotation as written, "" if none, and whether it is needed."""

    annotation: str
    required: bool


def closest(word: str, known: Mapping[str, Any] | list[str]) -> str:
    """`` Did you mean 'x'?`` for the most similar known word, or nothing.

    >>> closest("cod10", ["cod10k", "camo"])
    " Did you mean 'cod10k'?"
    """
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean {match[0]!r}?" if match else ""


@cache
def signature(target: str) -> Mapping[str, Parameter] | None:
    """The arguments of a class or function by its dotted path; None if it takes any keyword.

    Raises:
        UsageError: There is no such module or name.
    """
    module, _, name = target.rpartition(".")
    source = _source(module, target)
    for node in source.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return _of_function(node, skip=0)
        if isinstance(node, ast.ClassDef) and node.name == name:
            return _of_class(node, module)
    for imported, origin in _imports(source):
        if imported == name:
            return signature(origin)
    raise UsageError(f"_target_ {target}: the module {module} has no {name}.")


def _source(module: str, target: str) -> ast.Module:
    """The source of a module, found without importing it or the packages above it."""
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
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise UsageError(f"_target_ {target}: there is no module {module or target!r}.")
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


def _imports(source: ast.Module) -> Iterator[tuple[str, str]]:
    for node in source.body:
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _of_class(node: ast.ClassDef, module: str) -> Mapping[str, Parameter] | None:
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            return _of_function(item, skip=1)
    inherited: dict[str, Parameter] = {}
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id not in ("Protocol", "object"):
            inherited.update(signature(f"{module}.{base.id}") or {})
    own = {
        item.target.id: Parameter(ast.unparse(item.annotation), item.value is None)
        for item in node.body
        if isinstance(item, ast.AnnAssign)
        and isinstance(item.target, ast.Name)
        and "ClassVar" not in ast.unparse(item.annotation)
        and "init=False" not in (ast.unparse(item.value) if item.value else "")
    }
    return inherited | own


def _of_function(node: ast.FunctionDef, skip: int) -> Mapping[str, Parameter] | None:
    if node.args.kwarg is not None:
        return None
    positional = (node.args.posonlyargs + node.args.args)[skip:]
    needed = len(positional) - len(node.args.defaults)
    found = {arg.arg: Parameter(_note(arg), i < needed) for i, arg in enumerate(positional)}
    for arg, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        found[arg.arg] = Parameter(_note(arg), default is None)
    return found


def _note(arg: ast.arg) -> str:
    return ast.unparse(arg.annotation) if arg.annotation else ""


def check(node: Any, where: str) -> None:
    """Check every ``_target_`` in a resolved configuration, at any depth, against its constructor.

    Args:
        node: plain dicts, lists and scalars.
        where: the dotted key of ``node``, for messages.

    Raises:
        UsageError: An argument that the constructor does not take, lacks, or of another type.
    """
    if isinstance(node, list):
        for index, item in enumerate(node):
            check(item, f"{where}.{index}")
    if not isinstance(node, dict):
        return
    if TARGET in node:
        _check_target(node, where)
    for key, value in node.items():
        check(value, f"{where}.{key}" if where else str(key))


def _check_target(node: Mapping[str, Any], where: str) -> None:
    parameters = signature(str(node[TARGET]))
    if parameters is None:
        return
    given = {key: value for key, value in node.items() if key != TARGET}
    for key, value in given.items():
        if key not in parameters:
            raise UsageError(
                f"Unknown key {where}.{key}: {node[TARGET]} takes {', '.join(parameters)}."
                + closest(key, dict(parameters))
            )
        _check_type(f"{where}.{key}", value, parameters[key].annotation)
    lacking = [key for key, p in parameters.items() if p.required and key not in given]
    if lacking:
        raise UsageError(f"{where} lacks {', '.join(lacking)}, which {node[TARGET]} needs.")


def _check_type(where: str, value: Any, annotation: str) -> None:
    """Scalar annotations only; the constructor itself judges the rest."""
    names = [part.strip() for part in annotation.split("|")]
    if not all(name in _SCALARS for name in names):
        return
    allowed = tuple(kind for name in names for kind in _SCALARS[name])
    if (isinstance(value, bool) and "bool" not in names) or not isinstance(value, allowed):
        raise UsageError(f"{where} must be {annotation.replace('None', 'null')}, not {value!r}.")
