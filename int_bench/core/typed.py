"""Values of a file that anybody may have written, each looked at before it is used."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

_MISSING = object()
_HASH = re.compile(r"[0-9a-f]{64}")


class Malformed(ValueError):
    """What is wrong with a value, and where in its file."""


def parsed(text: bytes | str) -> Any:
    """JSON, strictly: no NaN, no infinity, no nesting that the parser cannot follow.

    Raises:
        Malformed: it is none.
    """
    try:
        return json.loads(text, parse_constant=_refused)
    except RecursionError:
        raise Malformed("it is nested too deeply") from None
    except ValueError as error:
        raise Malformed(f"it is no JSON ({str(error)[:80]})") from None


class Node:
    """A JSON object whose entries are asked for by key and type.

    Args:
        value: what was parsed.
        where: the key that leads to it, for messages; "" at the top.

    Raises:
        Malformed: it is no object. Every question raises it for a wrong answer.
    """

    def __init__(self, value: Any, where: str = "") -> None:
        if not isinstance(value, dict):
            raise Malformed(f"{where or 'it'} is no object")
        self.raw: Mapping[str, Any] = value
        self._where = where

    def text(self, key: str, default: Any = _MISSING) -> str:
        """A text."""
        return str(self._checked(key, default, "a text", lambda value: isinstance(value, str)))

    def maybe_text(self, key: str) -> str | None:
        """A text, or None where there is none or null."""
        return None if self.raw.get(key) is None else self.text(key)

    def whole(self, key: str, default: Any = _MISSING, least: int = 0) -> int:
        """A whole number of at least ``least``."""
        wanted = f"a whole number of at least {least}"
        return int(self._checked(key, default, wanted, lambda value: _whole(value, least)))

    def maybe_whole(self, key: str, least: int = 0) -> int | None:
        """A whole number, or None where there is none or null."""
        return None if self.raw.get(key) is None else self.whole(key, least=least)

    def hash(self, key: str) -> str:
        """A sha256 in hexadecimal digits."""
        value = self.text(key)
        if not _HASH.fullmatch(value):
            raise Malformed(f"{self._name(key)} is no sha256")
        return value

    def node(self, key: str, default: Any = _MISSING) -> Node:
        """An object."""
        value = self._checked(key, default, "an object", lambda value: isinstance(value, dict))
        return Node(value, self._name(key))

    def maybe_node(self, key: str) -> Node | None:
        """An object, or None where there is none or null."""
        return None if self.raw.get(key) is None else self.node(key)

    def items(self, key: str, default: Any = _MISSING) -> list[Any]:
        """A list of anything."""
        return list(self._checked(key, default, "a list", lambda value: isinstance(value, list)))

    def nodes(self, key: str) -> list[Node]:
        """A list of objects; empty where there is none."""
        name = self._name(key)
        return [Node(v, f"{name}[{number}]") for number, v in enumerate(self.items(key, []))]

    def wholes(self, key: str, default: Any = _MISSING) -> tuple[int, ...]:
        """A list of whole numbers from 0."""
        values = self.items(key, default)
        if not all(_whole(value, 0) for value in values):
            raise Malformed(f"{self._name(key)} is no list of whole numbers")
        return tuple(values)

    def numbers(self, key: str) -> dict[str, Any]:
        """An object of finite numbers; empty where there is none."""
        values = self.node(key, {}).raw
        if not all(_finite(value) for value in values.values()):
            raise Malformed(f"{self._name(key)} holds what is no number")
        return dict(values)

    def box(self, key: str) -> tuple[float, float, float, float] | None:
        """Four finite numbers, or None where there is none or null."""
        if self.raw.get(key) is None:
            return None
        values = self.items(key)
        if len(values) != 4 or not all(_finite(value) for value in values):
            raise Malformed(f"{self._name(key)} is no box of four numbers")
        return values[0], values[1], values[2], values[3]

    def _checked(self, key: str, default: Any, wanted: str, fits: Callable[[Any], bool]) -> Any:
        value = self.raw.get(key, default)
        if value is _MISSING:
            raise Malformed(f"{self._name(key)} is missing")
        if not fits(value):
            raise Malformed(f"{self._name(key)} is not {wanted}")
        return value

    def _name(self, key: str) -> str:
        return f"{self._where}.{key}" if self._where else key


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**63


def _finite(value: Any) -> bool:
    kind = isinstance(value, int | float) and not isinstance(value, bool)
    return kind and abs(value) < 1e300 and math.isfinite(value)


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no number")
