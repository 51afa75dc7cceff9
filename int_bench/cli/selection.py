"""``--limit``, ``--ids`` and ``--ids-file``: which samples of a data set a command is about."""

from __future__ import annotations

import re
from pathlib import Path

from int_bench.config.overrides import quoted
from int_bench.core.files import expanded
from int_bench.errors import MissingAsset, UsageError

_RANGE = re.compile(r"([0-9]{1,9})-([0-9]{1,9})")


def selection(limit: str | None, ids: str | None, file: Path | None) -> list[str]:
    """The overrides that the options stand for.

    Args:
        limit: ``N``, the first so many, or ``A-B``, counted from 1, both included.
        ids: with commas between them.
        file: of ids, a line each; empty lines and those that begin with ``#`` do not count.

    Raises:
        UsageError: a range that is none, or no id.
        MissingAsset: the file cannot be read.
    """
    names = named(ids, file)
    of_ids = [f"ids=[{','.join(map(quoted, names))}]"] if names else []
    return [*(_limited(limit) if limit is not None else ()), *of_ids]


def named(ids: str | None, file: Path | None) -> list[str]:
    """The ids of ``--ids`` and ``--ids-file``, each once; none where neither is given.

    Raises:
        UsageError: they name none.
        MissingAsset: the file cannot be read.
    """
    names = [part.strip() for part in (ids or "").split(",")]
    names = list(dict.fromkeys(filter(None, names + (_listed(file) if file else []))))
    if not names and (ids, file) != (None, None):
        raise UsageError("--ids and --ids-file name no image; write e.g. --ids a,b.")
    return names


def _limited(limit: str) -> list[str]:
    ends = _RANGE.fullmatch(limit)
    if ends is None:
        return [f"limit={limit}"]
    first, last = int(ends[1]), int(ends[2])
    if not 1 <= first <= last:
        raise UsageError(f"--limit {limit} is no range; write e.g. --limit 10-20, counted from 1.")
    return [f"skip={first - 1}", f"limit={last}"]


def _listed(file: Path) -> list[str]:
    try:
        lines = expanded(file).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise MissingAsset(f"--ids-file {file} cannot be read: {reason}.") from error
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]
