"""From the arguments of a Python call to the overrides that the command line takes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from int_bench.config.places import folders, options
from int_bench.core.named_folders import name_folders, named_folders
from int_bench.errors import UsageError, UserError

Value = str | int | float | bool | Path | None | list["Value"]
"""What an option may be in Python."""


Folders = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None
"""Folders of configuration files of one's own."""


def take_folders(config_dir: Folders) -> None:
    """Further folders of configuration files; they count from now on, for every call.

    A run reads its data set by them later, when it is scored.

    Raises:
        MissingAsset: one is not there.
        UsageError: one holds no folder of a group.
    """
    single = isinstance(config_dir, str | os.PathLike)
    more = [config_dir] if single else config_dir or []  # type: ignore[list-item]
    before = named_folders()
    name_folders(dict.fromkeys((*before, *map(os.fspath, more))))  # type: ignore[arg-type]
    try:
        folders()
    except UserError:
        name_folders(before)
        raise


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
