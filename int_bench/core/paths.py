"""Paths as people type them."""

from __future__ import annotations

from pathlib import Path

from int_bench.errors import MissingAsset


def expanded(path: str | Path) -> Path:
    """The path with a leading ``~`` or ``~user`` replaced by that home.

    Raises:
        MissingAsset: there is no such user.
    """
    try:
        return Path(path).expanduser()
    except RecursionError:
        raise  # nothing of the path; who calls itself answers for it
    except RuntimeError as error:
        raise MissingAsset(f"{path}: no home of that user is known; write it out.") from error
