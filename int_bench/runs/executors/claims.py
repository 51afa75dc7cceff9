"""Claims on a file system that several hosts share: no flock, and no clock but the reader's own.

flock may be local to a node, exclusive creation is not safe on every network file system, and
dates are those of somebody's clock. What holds everywhere is link(2): of several that link a file
of their own to one name, the server lets one win, and the count of links says who. A holder that
lives changes its claim every few seconds; whoever waits for it looks twice and compares.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from int_bench.core.files import read_plain
from int_bench.core.text import kept
from int_bench.core.typed import Malformed, Node, parsed

BEAT, PATIENCE = 5.0, 30.0
"""Seconds between two signs of life, and without one until a holder elsewhere counts as dead."""
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_DIGITS = 20


class Held(Exception):
    """Somebody else holds the claim; the text says who."""


def claim(path: Path, content: bytes) -> bool:
    """Make a file that is not there, whole, for one of all that try.

    Returns:
        Whether it was made; False if the name was taken.

    Raises:
        OSError: it cannot be written.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with aside.open("xb") as file:
            file.write(content)  # closing hands it to the server
        try:
            path.hardlink_to(aside)
        except FileExistsError:
            pass  # the answer may be of a request that was sent twice: the count decides
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return _created(path, content)
        return aside.stat().st_nlink == 2
    finally:
        aside.unlink(missing_ok=True)


def _created(path: Path, content: bytes) -> bool:
    """Where a file has one name only."""
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


@cache
def place() -> str:
    """What tells one host and process table from another."""
    told = [socket.gethostname()]
    with suppress(OSError):
        told.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        told.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(told)


def myself() -> dict[str, Any]:
    """This process, as others may look for it."""
    host, pid = socket.gethostname(), os.getpid()
    return {"host": host, "pid": pid, "place": place(), "started": _started(pid)}


def alive(holder: Mapping[str, Any]) -> bool | None:
    """Whether a process is there; None if it is elsewhere, where nothing is known of it."""
    pid = holder.get("pid")
    if holder.get("place") != place() or not isinstance(pid, int) or not 0 < pid < 2**31:
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return holder.get("started") == _started(pid)


def _started(pid: int) -> str | None:
    """When a process began, in ticks: its number may be given again."""
    with suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    return None


class Lock:
    """A file that one process holds, on this host or any other that shares the file system.

    Taken at once from a holder that has died here, and from one elsewhere after :data:`PATIENCE`
    seconds without a sign of life.

    Args:
        path: the file; it is there while it is held.
        beat: seconds between two signs of life.
        patience: seconds without one until a holder elsewhere counts as dead.

    Raises:
        Held: somebody else holds it.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, beat: float = BEAT, patience: float = PATIENCE) -> None:
        self._path, self._patience = path, patience
        self._content = json.dumps(myself() | {"token": secrets.token_hex(8)}).encode() + b"\n"
        self._take()
        self._file = path.open("r+b", buffering=0)
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._live, args=(beat,), daemon=True)
        self._beating.start()

    def mine(self) -> bool:
        """Whether it is still held; it may have been taken while this process was suspended."""
        try:
            return self._path.stat().st_ino == os.fstat(self._file.fileno()).st_ino
        except OSError:
            return False

    def release(self) -> None:
        """Let it go; nothing happens where it was taken."""
        self._ended.set()
        self._beating.join()
        if self.mine():
            self._path.unlink(missing_ok=True)
        self._file.close()

    def _take(self) -> None:
        for _ in range(100):
            if claim(self._path, self._content + b"0" * _DIGITS):
                return
            seen = _read(self._path)
            if seen is not None:
                self._refuse_living(seen)
                self._remove(seen)
        raise Held("several processes at once")

    def _refuse_living(self, seen: bytes) -> None:
        holder = _holder(seen)
        if holder is None:
            return
        there, until = alive(holder), time.monotonic() + self._patience
        while there is None and time.monotonic() < until:
            time.sleep(min(0.2, self._patience / 10))
            now = _read(self._path)
            if now is None:
                return
            there = True if now != seen else None
        if there:
            raise Held(f"process {holder.get('pid')} on {kept(str(holder.get('host')))}")

    def _remove(self, seen: bytes) -> None:
        """Take a dead holder's away: by renaming, which one alone can do."""
        aside = self._path.with_name(f".{self._path.name}.{secrets.token_hex(8)}.part")
        try:
            self._path.rename(aside)
        except FileNotFoundError:
            return
        if _token(_read(aside)) != _token(seen):  # somebody was faster, and this is theirs
            with suppress(OSError):
                self._path.hardlink_to(aside)
        aside.unlink(missing_ok=True)

    def _live(self, beat: float) -> None:
        number = 0
        while not self._ended.wait(beat):
            number += 1
            with suppress(OSError):
                self._file.seek(len(self._content))
                self._file.write(b"%0*d" % (_DIGITS, number))
                os.fsync(self._file.fileno())


def _read(path: Path) -> bytes | None:
    try:
        return read_plain(path)
    except FileNotFoundError:
        return None


def _token(content: bytes | None) -> bytes | None:
    return None if content is None else content.partition(b"\n")[0]


def _holder(content: bytes) -> dict[str, Any] | None:
    """Who is named; None in what earlier versions wrote, whose locks ended with their process."""
    try:
        return dict(Node(parsed(content.partition(b"\n")[0])).raw)
    except Malformed:
        return None
