"""From the arguments of a Python call to the overrides that the command line takes."""

from __future__ import annotations

from pathlib import Path

from int_bench.config.places import options
from int_bench.errors import UsageError

Value = str | int | float | bool | Path | None | list["Value"]
"""What an option may be in Python."""


def words(overrides: tuple[str, ...], keywords: dict[str, Value]) -> list[str]:
    """The overrides, the keywords among them.

    ``task`` may also be a task-generic prompt of one's own: ``task="shadow"``.

    >>> words(("method=int",), {"seed": 1, "limit": None, "task": "a shadow"})
    ['method=int', 'seed=1', 'limit=null', 'task.prompt=a shadow']

    Raises:
        UsageError: an override is no text, or a keyword's value of a type that no option has.
    """
    for override in overrides:
        if not isinstance(override, str):
            raise UsageError(f"{override!r} is not KEY=VALUE; write e.g. 'method=int'.")
    return [*overrides, *(_word(key, value) for key, value in keywords.items())]


def _word(key: str, value: Value) -> str:
    if key == "task" and value not in options("task"):
        key = "task.prompt"
    return f"{key}={_text(key, value)}"


def _text(key: str, value: Value) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str | int | float | Path):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(_text(key, part) for part in value)}]"
    raise UsageError(f"{key} cannot be a {type(value).__name__}; give a text, a number or a list.")
