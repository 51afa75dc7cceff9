"""Annotations read from source: which values an option takes, and how that is said.

Understood are ``int``, ``float``, ``str``, ``bool``, ``None``, ``Literal[...]``, lists of these
(``Sequence[...]``), ``Annotated[...]`` with the ranges of :mod:`int_bench.core.limits`, unions,
aliases of all of them in the same module or through from-imports, and classes, whose values are
built from a ``_target_``. What else there is takes anything; its constructor judges.
"""

from __future__ import annotations

import ast
import difflib
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from int_bench.config.sources import definition, names
from int_bench.core import limits
from int_bench.errors import UsageError

TARGET = "_target_"
LARGEST = 2**31 - 1
"""Of whole numbers without a bound of their own; more is a slip, and nothing here needs it."""
_SCALARS: Mapping[str, tuple[str, tuple[type, ...]]] = {
    "int": ("a whole number", (int,)),
    "float": ("a number", (float, int)),
    "str": ("a text", (str,)),
    "bool": ("true or false", (bool,)),
    "None": ("null", (type(None),)),
}
_LISTS = ("Sequence", "list", "List", "Iterable")
_LIMITS = {kind.__name__: kind for kind in limits.Limit.__args__}


def closest(word: str, candidates: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` for the most similar known word, or nothing.

    >>> closest("cod10", ["cod10k", "camo"])
    " Did you mean 'cod10k'?"
    """
    match = difflib.get_close_matches(word, list(candidates), n=1, cutoff=0.6)
    return f" Did you mean {match[0]!r}?" if match else ""


@dataclass(frozen=True)
class Scalar:
    """A number in its limits, a text, a truth value or nothing."""

    name: str
    limits: tuple[limits.Limit, ...] = ()

    def accepts(self, value: Any) -> bool:
        """Whether the value is of the type, finite and within the limits."""
        if not isinstance(value, _SCALARS[self.name][1]):
            return False
        if self.name not in ("int", "float"):
            return all(limit.admits(value) for limit in self.limits)
        number: Any = value
        if isinstance(number, bool) or (isinstance(number, float) and not math.isfinite(number)):
            return False
        bounded = any(isinstance(limit, limits.Within) for limit in self.limits)
        modest = bounded or isinstance(number, float) or abs(number) <= LARGEST
        return modest and all(limit.admits(number) for limit in self.limits)

    def __str__(self) -> str:
        return " ".join([_SCALARS[self.name][0], *map(str, self.limits)])


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Any, ...]

    def accepts(self, value: Any) -> bool:
        """Whether the value is one of them, and not merely equal to one (``1 == True``)."""
        return any(value == choice and type(value) is type(choice) for choice in self.values)

    def __str__(self) -> str:
        return _listed(map(_shown, self.values))


@dataclass(frozen=True)
class Many:
    """A list."""

    item: Kind
    limits: tuple[limits.Limit, ...] = ()

    def accepts(self, value: Any) -> bool:
        """Whether the value is a list of accepted items."""
        return (
            isinstance(value, list | tuple)
            and all(map(self.item.accepts, value))
            and all(limit.admits(value) for limit in self.limits)
        )

    def __str__(self) -> str:
        return " ".join([f"a list ({self.item})", *map(str, self.limits)])


@dataclass(frozen=True)
class Part:
    """What a class or function makes, named by ``_target_``."""

    name: str

    def accepts(self, value: Any) -> bool:
        """Whether the value names something to build; whether it fits is not known here."""
        return isinstance(value, Mapping) and TARGET in value

    def __str__(self) -> str:
        return f"a {self.name} ({TARGET}: ...)"


@dataclass(frozen=True)
class Anything:
    """What is not understood."""

    def accepts(self, value: Any) -> bool:
        """Always."""
        return True


@dataclass(frozen=True)
class Either:
    """Any of several kinds."""

    kinds: tuple[Kind, ...]

    def accepts(self, value: Any) -> bool:
        """Whether one of them takes the value."""
        return any(kind.accepts(value) for kind in self.kinds)

    def __str__(self) -> str:
        return _listed(map(str, self.kinds))


Kind = Scalar | Choice | Many | Part | Anything | Either


def complaint(kind: Kind, value: Any) -> str:
    """What is wrong with a value, behind the name of its key; nothing if it is accepted.

    >>> complaint(Choice(("original", "recursive")), "recursiv")
    "must be original or recursive, not 'recursiv'. Did you mean 'recursive'?"
    """
    if kind.accepts(value):
        return ""
    words = [str(word) for word in _words(kind)]
    items = value if isinstance(value, list | tuple) else [value]
    wrong = [item for item in items if isinstance(item, str) and item not in words]
    hint = closest(wrong[0], words) if wrong else ""
    return f"must be {kind}, not {_shortened(value)}.{hint}"


def read(node: ast.expr | None, module: str) -> Kind:
    """The kind that an annotation in a module's source stands for."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        with suppress(SyntaxError):
            return read(ast.parse(node.value, mode="eval").body, module)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _either([read(node.left, module), read(node.right, module)])
    if isinstance(node, ast.Subscript):
        return _of_subscript(node, module)
    name = "None" if isinstance(node, ast.Constant) and node.value is None else _name(node)
    if name in _SCALARS:
        return Scalar(name)
    if name in _LISTS:
        return Many(Anything())
    return _of_name(name, module)


def _of_subscript(node: ast.Subscript, module: str) -> Kind:
    name = _name(node.value).rpartition(".")[2]
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name == "Literal":
        return Choice(tuple(ast.literal_eval(part) for part in parts))
    if name == "Annotated":
        return _limited(read(parts[0], module), tuple(_limits_of(parts[1:])))
    if name == "Optional":
        return _either([read(parts[0], module), Scalar("None")])
    if name == "Union":
        return _either([read(part, module) for part in parts])
    if name in _LISTS or (name == "tuple" and len(parts) == 2 and _name(parts[1]) == "..."):
        return Many(read(parts[0], module))
    return Anything()


def _limits_of(nodes: Iterable[ast.expr]) -> Iterator[limits.Limit]:
    for node in nodes:
        name = _name(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
        if isinstance(node, ast.Call) and name in _LIMITS:
            named = {word.arg or "": ast.literal_eval(word.value) for word in node.keywords}
            yield _LIMITS[name](*map(ast.literal_eval, node.args), **named)


def _limited(kind: Kind, more: tuple[limits.Limit, ...]) -> Kind:
    if isinstance(kind, Scalar):
        return Scalar(kind.name, kind.limits + more)
    if isinstance(kind, Many):
        return Many(kind.item, kind.limits + more)
    return kind


def _of_name(name: str, module: str) -> Kind:
    """What a name or ``module.name`` stands for: an alias, or a class."""
    first, dot, attribute = name.partition(".")
    imported = names(module).get(first)
    origin = f"{imported}{dot}{attribute}" if isinstance(imported, str) else f"{module}.{name}"
    if origin.partition(".")[0] in sys.stdlib_module_names:
        return Anything()
    try:
        home, statement = definition(origin)
    except (UsageError, RecursionError):
        return Anything()
    if isinstance(statement, ast.ClassDef):
        return Part(statement.name)
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        return read(statement.value, home)
    return Anything()


def _either(kinds: list[Kind]) -> Kind:
    flat = [k for kind in kinds for k in (kind.kinds if isinstance(kind, Either) else (kind,))]
    return Anything() if Anything() in flat else Either(tuple(flat))


def _words(kind: Kind) -> Iterator[Any]:
    if isinstance(kind, Choice):
        yield from kind.values
    elif isinstance(kind, Many):
        yield from _words(kind.item)
    elif isinstance(kind, Either):
        for part in kind.kinds:
            yield from _words(part)


def _name(node: ast.AST | None) -> str:
    """``Name`` or ``module.Name``; "..." for an ellipsis, "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return "..." if isinstance(node, ast.Constant) and node.value is ... else ""


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shortened(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**40 else "a huge number"
    return text if len(text) <= 80 else f"{text[:77]}..."
