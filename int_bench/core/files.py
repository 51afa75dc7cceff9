"""Paths as people type them, and files that are there whole or not at all.

After a kill, a loss of power, or another writer: a file is written aside under a name of its own
and renamed; it and the names above it are on the disk once they are flushed.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import secrets
import stat
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

from int_bench.core.typed import Malformed, parsed
from int_bench.errors import MissingAsset, UsageError

_LARGEST = 2**30
_CACHED = 2**24
"""Bytes that are read of what a cache holds."""
_FLUSHING = 16
"""Flushes side by side."""
_LEFT_OVER = 3600.0
"""Seconds after which half of a file has no writer."""


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


def write_file(path: Path, content: bytes) -> None:
    """:func:`write_whole` for what a user asked for, into a folder that need not be there.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        make_folder(path.parent)
        write_whole(path, content)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"{path} cannot be written: {reason}.") from error


def refuse_link(place: Path) -> None:
    """Refuse a name within a run folder that leads elsewhere: a stranger may have put it there.

    Raises:
        UsageError: it is a link.
    """
    if place.is_symlink():
        raise UsageError(
            f"{place} is a link, and what is written to it would land elsewhere; put what it leads "
            "to in its place."
        )


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file by a new one, which is on the disk before the old one is gone.

    Of several processes that write one file at once, the last one's content stays.

    Raises:
        OSError: it cannot be written; the old one stays.
    """
    _write(path, content, flushed=True)
    _drop_leftovers(path)
    flush([path.parent])


def write_aside(path: Path, content: bytes) -> None:
    """Write under a name of this process's own and rename: no reader sees half of a file.

    Neither content nor name is safe from a loss of power before :func:`flush`.

    Raises:
        OSError: it cannot be written; nothing of it is left.
    """
    _write(path, content, flushed=False)


def _write(path: Path, content: bytes, flushed: bool) -> None:
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        aside.write_bytes(content)
        if flushed:
            flush([aside])
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _drop_leftovers(path: Path) -> None:
    """Remove what killed writers of a file left beside it, and nothing of one that may still live.

    A file is written in seconds: what is untouched for an hour has no writer any more.
    """
    long_ago = time.time() - _LEFT_OVER
    for aside in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with suppress(OSError):  # another writer was faster, or it is somebody else's
            if aside.stat().st_mtime < long_ago:
                aside.unlink()


def make_folder(path: Path) -> None:
    """Make a folder and those above it, each on the disk."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    _flush(path.parent)


class Remembered:
    """A mapping in the user's cache, in ``~/.cache/int-bench/``: what can be worked out again.

    Args:
        name: of the file.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def read(self) -> dict[str, Any]:
        """What is known; nothing if the file is not there or holds something else."""
        try:
            known = parsed(read_plain(self._file(), _CACHED))
        except (OSError, Malformed, RuntimeError):  # the last: nobody knows where home is
            return {}
        return known if isinstance(known, dict) else {}

    def write(self, known: Mapping[str, Any]) -> None:
        """Replace the file at once; a folder that cannot be written costs the work again."""
        with suppress(OSError, RuntimeError):
            file = self._file()
            file.parent.mkdir(parents=True, exist_ok=True)
            write_aside(file, json.dumps(known).encode())

    def _file(self) -> Path:
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        return Path(cache).expanduser() / "int-bench" / self._name


def hash_of(path: Path) -> str | None:
    """The sha256 of a file's bytes; None if it cannot be read."""
    try:
        return sha256_of(path)
    except OSError:
        return None


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes.

    Raises:
        OSError: it cannot be read.
    """
    with plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def plain(path: Path) -> BufferedReader:
    """A file, open for reading; a pipe would be waited for, and a device need not have an end.

    Raises:
        OSError: it cannot be read, or is neither a file nor a link to one.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no file", str(path))
    return os.fdopen(handle, "rb")


def read_plain(path: Path, most: int = -1) -> bytes:
    """What a file that anybody may have put there holds, or its first bytes; see :func:`plain`.

    Raises:
        OSError: it cannot be read, or all of it is asked for and it is larger than what is written
            here ever is: a file may claim a size that no memory holds.
    """
    with plain(path) as file:
        if most < 0 and os.fstat(file.fileno()).st_size > _LARGEST:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        return file.read(most)


def flush(places: Iterable[Path]) -> None:
    """Have files, and the names in folders, on the disk.

    Side by side: a journal that is written once holds all of them.
    """
    once = list(dict.fromkeys(places))
    if len(once) <= 1:
        for path in once:
            _flush(path)
        return
    with ThreadPoolExecutor(min(len(once), _FLUSHING)) as pool:
        for _ in pool.map(_flush, once):
            pass


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
