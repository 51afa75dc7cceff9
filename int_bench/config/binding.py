"""Checks that configuration binds to the constructor it names, without importing that constructor.

What a constructor takes is read from its source: names, defaults, types, choices and ranges.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from int_bench.config.annotations import TARGET, Kind, closest, complaint, read
from int_bench.config.sources import definition
from int_bench.errors import OptionError, UsageError

__all__ = ["TARGET", "Parameter", "check", "closest", "constant", "signature"]


@dataclass(frozen=True)
class Parameter:
    """One constructor argument: its annotation and default, and the module where they stand."""

    annotation: ast.expr | None
    default: ast.expr | None
    module: str

    @property
    def kind(self) -> Kind:
        """Which values it takes."""
        return read(self.annotation, self.module)

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is None


@cache
def signature(target: str) -> Mapping[str, Parameter] | None:
    """The arguments of a class or function by its dotted path; None if it takes any keyword.

    Raises:
        UsageError: there is no such module or name.
    """
    module, node = definition(target)
    if isinstance(node, ast.FunctionDef):
        return _of_function(node, module, skip=0)
    if isinstance(node, ast.ClassDef):
        return _of_class(node, module)
    raise UsageError(f"_target_ {target} is neither a class nor a function.")


def constant(target: str, name: str, default: Any = None) -> Any:
    """A literal that a class or one of its bases assigns in its body, read without importing it.

    Args:
        target: the class by its dotted path.
        name: of the class attribute.
        default: what is returned for a function, and where nobody assigns it.

    Raises:
        UsageError: there is no such class, or what it assigns is no literal.
    """
    module, node = definition(target)
    if not isinstance(node, ast.ClassDef):
        return default
    for item in node.body:
        named = item.targets[0] if isinstance(item, ast.Assign) else getattr(item, "target", None)
        value = getattr(item, "value", None)
        if isinstance(named, ast.Name) and named.id == name and value is not None:
            try:
                return ast.literal_eval(value)
            except ValueError as error:
                raise UsageError(f"{target}.{name} must be a literal.") from error
    for base in _bases(node, module):
        inherited = constant(base, name)
        if inherited is not None:
            return inherited
    return default


def defines(target: str, method: str) -> bool:
    """Whether a class or one of its bases whose source can be read has a method of this name.

    True for a function, of which nothing is known.
    """
    module, node = definition(target)
    if not isinstance(node, ast.ClassDef):
        return True
    own = any(isinstance(item, ast.FunctionDef) and item.name == method for item in node.body)
    return own or any(defines(base, method) for base in _bases(node, module))


def _bases(node: ast.ClassDef, module: str) -> list[str]:
    """The dotted paths of the base classes whose source can be read, the last to win last."""
    bases = []
    for base in node.bases:
        path = f"{module}.{base.id}" if isinstance(base, ast.Name) else ""
        with suppress(UsageError):  # a built-in class, or one of a compiled module
            definition(path)
            bases.append(path)
    return bases


def _of_class(node: ast.ClassDef, module: str) -> Mapping[str, Parameter] | None:
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            return _of_function(item, module, skip=1)
    inherited: dict[str, Parameter] = {}
    for base in _bases(node, module):
        inherited.update(signature(base) or {})
    own = {
        item.target.id: Parameter(item.annotation, _default(item.value), module)
        for item in node.body
        if isinstance(item, ast.AnnAssign)
        and isinstance(item.target, ast.Name)
        and "ClassVar" not in ast.unparse(item.annotation)
        and "init=False" not in (ast.unparse(item.value) if item.value else "")
    }
    return inherited | own


def _default(value: ast.expr | None) -> ast.expr | None:
    """The default of a dataclass field: the value, or what ``field(...)`` says of it."""
    if isinstance(value, ast.Call) and ast.unparse(value.func).rpartition(".")[2] == "field":
        said = {word.arg: word.value for word in value.keywords}
        return said.get("default", said.get("default_factory"))
    return value


def _of_function(node: ast.FunctionDef, module: str, skip: int) -> Mapping[str, Parameter] | None:
    if node.args.kwarg is not None:
        return None
    positional = (node.args.posonlyargs + node.args.args)[skip:]
    missing = [None] * (len(positional) - len(node.args.defaults))
    pairs = [
        *zip(positional, [*missing, *node.args.defaults], strict=True),
        *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True),
    ]
    return {arg.arg: Parameter(arg.annotation, default, module) for arg, default in pairs}


def check(node: Any, where: str) -> None:
    """Check every ``_target_`` in a resolved configuration, at any depth, against its constructor.

    Args:
        node: plain dicts, lists and scalars.
        where: the dotted key of ``node``, for messages.

    Raises:
        UsageError: an argument that the constructor does not take, lacks, or that is of another
            type, not among its choices or out of its range.
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
    target = str(node[TARGET])
    parameters = signature(target)
    if parameters is None:
        return
    options = {key: value for key, value in node.items() if key != TARGET}
    for key, value in options.items():
        if key not in parameters:
            raise OptionError(
                f"Unknown key {where}.{key}: {target} takes {', '.join(parameters) or 'nothing'}."
                + closest(key, parameters),
                f"{where}.{key}",
            )
        wrong = complaint(parameters[key].kind, value)
        if wrong:
            raise OptionError(f"{where}.{key} {wrong}", f"{where}.{key}")
    lacking = [key for key, p in parameters.items() if p.required and key not in options]
    if lacking:
        raise OptionError(
            f"{where} lacks {', '.join(lacking)}, which {target} needs.", f"{where}.{TARGET}"
        )
