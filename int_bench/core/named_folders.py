"""Folders of configuration files that the command line names; begins with nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from int_bench.errors import UsageError

OPTION = "--config-dir"
_named: list[str] = []


def name_folders(folders: Iterable[str]) -> None:
    """The folders that count from now on, instead of those that were named before."""
    _named[:] = folders


def named_folders() -> tuple[str, ...]:
    """The folders that count."""
    return tuple(_named)


def options_typed() -> list[str]:
    """The options that name the same folders on a command line."""
    return [word for folder in _named for word in (OPTION, folder)]


def take_folders(words: Sequence[str]) -> list[str]:
    """A command line without ``--config-dir DIR``, wherever it stood; its folders are named.

    >>> take_folders(["run", "--config-dir", "mine", "seed=1", "--config-dir=ours"])
    ['run', 'seed=1']
    >>> named_folders()
    ('mine', 'ours')
    >>> take_folders(["run"])
    ['run']

    Raises:
        UsageError: no folder follows.
    """
    rest, folders, waiting = list[str](), list[str](), iter(words)
    for word in waiting:
        option, equals, folder = word.partition("=")
        if option != OPTION:
            rest.append(word)
            continue
        folder = folder if equals else next(waiting, "")
        if not folder:
            raise UsageError(f"{OPTION} needs a folder of configuration files.")
        folders.append(folder)
    name_folders(folders)
    return rest
