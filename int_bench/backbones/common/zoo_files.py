"""The files of the shipped models, checked against the list of hashes that ships beside them."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from int_bench.errors import MissingAsset

SUMS = "SHA256SUMS"
_AGAIN = (
    "next step: `pip install --force-reinstall --no-deps int-bench`, "
    "or in a checkout `git checkout -- int_bench/zoo`."
)


@lru_cache
def verify(folder: Path) -> None:
    """See that one model's files are all there and as they were shipped; once per process.

    Args:
        folder: ``<zoo>/<role>``; ``<zoo>/SHA256SUMS`` lists its files.

    Raises:
        MissingAsset: a file is missing or its sha256 is another one.
    """
    sums = folder.parent / SUMS
    if not sums.is_file():
        raise MissingAsset(f"{sums} is missing; {_AGAIN}")
    for line in sums.read_text(encoding="utf-8").splitlines():
        expected, name = line.split(maxsplit=1)
        path = folder.parent / name
        if not path.is_relative_to(folder):
            continue
        if not path.is_file():
            raise MissingAsset(f"{path} (sha256 {expected}) is missing; {_AGAIN}")
        digest = _digest(path)
        if digest != expected:
            raise MissingAsset(
                f"{path} is damaged: its sha256 is {digest}, not {expected}; {_AGAIN}"
            )


def record(zoo: Path) -> None:
    """Write ``SHA256SUMS`` for all models under ``zoo``, as ``sha256sum`` would, without code."""
    paths = (path for path in zoo.glob("*/**/*") if path.is_file())
    files = sorted(path for path in paths if path.suffix not in {".py", ".pyc"})
    lines = (f"{_digest(path)}  {path.relative_to(zoo).as_posix()}\n" for path in files)
    (zoo / SUMS).write_text("".join(lines), encoding="utf-8")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
