"""Download of one large file over HTTP: resumed where it broke, bounded in time and attempts.

Standard library only. What has arrived lies in a ``.part`` file, which a later call continues with
a Range request (RFC 9110, section 14); whether it is the right file is for the caller to verify.
"""

from __future__ import annotations

import re
import shutil
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import TypeAlias
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from int_bench import __version__
from int_bench.core.text import in_bytes
from int_bench.errors import MissingAsset

Progress: TypeAlias = Callable[[str, int, int | None], None]
"""Called with the file's name, the bytes that are here, and all bytes (None if not known)."""

_BLOCK = 1 << 20
_PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Answers that another attempt may mend."""
_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+)")
_NOT_SATISFIABLE = 416


@dataclass(frozen=True)
class Patience:
    """When to give up.

    Attributes:
        attempts: at most so many in a row that bring no new byte.
        wait: seconds before the second attempt; doubled before each further one.
        timeout: seconds without any data after which an attempt has failed.
    """

    attempts: int = 5
    wait: float = 1.0
    timeout: float = 30.0


def download(
    url: str,
    part: Path,
    size: int | None,
    on_progress: Progress,
    patience: Patience,
    secret: str | None = None,
) -> None:
    """Bring ``part`` to the whole file, from where it ends now.

    Args:
        url: of the file.
        part: what has arrived so far; made if it is not there, and kept when this fails.
        size: the published number of bytes; a server that offers another number is refused. None
            takes the server's word.
        on_progress: see :data:`Progress`.
        patience: when to give up.
        secret: the Authorization header, for this server and none that it refers to.

    Raises:
        MissingAsset: it is not to be had there, or not after so many attempts, or the disk is full.
    """
    fruitless = 0
    while True:
        before = size_of(part)
        try:
            if _advance(_request(url, secret), part, size, on_progress, patience.timeout):
                return
            reason = "the connection broke off"
        except HTTPError as error:
            if error.code not in _PASSING:
                raise MissingAsset(
                    f"{url} is not to be had: the server answers {error.code}; look for it at the"
                    " source that `int-bench data fetch` names."
                ) from error
            reason = f"the server answers {error.code}"
        except (OSError, HTTPException) as error:
            _refuse_untrusted(url, part, error)
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        fruitless = 0 if size_of(part) > before else fruitless + 1
        if fruitless >= patience.attempts:
            raise MissingAsset(
                f"{url} broke off at {size_of(part)} bytes and {fruitless} attempts brought no more"
                f" ({reason}); run the same command again to resume."
            )
        time.sleep(patience.wait * 2 ** max(fruitless - 1, 0))


def size_of(path: Path) -> int:
    """Bytes of a file, 0 if it is not there."""
    return path.stat().st_size if path.exists() else 0


def require_space(folder: Path, needed: int) -> None:
    """See that a file system has room.

    Raises:
        MissingAsset: fewer than ``needed`` bytes are free where ``folder`` lies.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise MissingAsset(
            f"{folder} has {in_bytes(free)} free and {in_bytes(needed)} are needed; free some, or"
            " set data_root=DIR to another disk."
        )


def _request(url: str, secret: str | None) -> Request:
    request = Request(url, headers={"Accept-Encoding": "identity"})
    request.add_header("User-Agent", f"int-bench/{__version__}")
    if secret is not None:
        request.add_unredirected_header("Authorization", secret)
    return request


def _advance(
    request: Request, part: Path, size: int | None, on_progress: Progress, timeout: float
) -> bool:
    """One request; True if the file is whole after it."""
    present = size_of(part)
    if size is not None and present >= size:
        return True
    if present:
        request.add_header("Range", f"bytes={present}-")
    try:
        with urlopen(request, timeout=timeout) as response:
            start, total = _extent(response, present)
            if start not in (0, present):
                return False
            _check_total(request.full_url, total, size)
            _receive(response, part, start, total, on_progress)
    except HTTPError as error:
        if error.code != _NOT_SATISFIABLE:
            raise
        # Nothing follows what is here: it is the whole file, or part of another one.
        if _total(error.headers.get("Content-Range")) == present:
            return True
        part.unlink()
        return False
    return total is None or size_of(part) == total


def _extent(response: HTTPResponse, present: int) -> tuple[int, int | None]:
    """Where an answer's bytes start in the file, and how many the whole file has."""
    if response.status == 206:
        match = _RANGE.match(response.headers.get("Content-Range", ""))
        start = int(match[1]) if match and match[1] else -1
        return start, int(match[2]) if match else None
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _total(content_range: str | None) -> int | None:
    match = _RANGE.match(content_range or "")
    return int(match[2]) if match else None


def _check_total(url: str, total: int | None, size: int | None) -> None:
    if None not in (total, size) and total != size:
        raise MissingAsset(
            f"{url} has {total} bytes on the server and {size} were published: it is another file"
            " and is not used; look at the source that `int-bench data fetch` names."
        )


def _receive(
    response: HTTPResponse, part: Path, start: int, total: int | None, on_progress: Progress
) -> None:
    """Append to ``part``; a server that ignores the range (``start`` 0) sends all anew."""
    require_space(part.parent, max((total or 0) - start, 0))
    done = start
    with part.open("ab" if start else "wb") as file:
        while block := response.read(_BLOCK):
            try:
                file.write(block)
                file.flush()
            except OSError as error:
                raise MissingAsset(f"{part} cannot be written: {error.strerror}.") from error
            done += len(block)
            on_progress(part.stem, done, total)


def _refuse_untrusted(url: str, part: Path, error: Exception) -> None:
    """Another attempt does not mend a certificate, and checking is never switched off.

    Raises:
        MissingAsset: the error is one of the server's certificate.
    """
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        raise MissingAsset(
            f"The certificate of {url} cannot be verified ({reason.verify_message}); some servers"
            " leave out an intermediate one, which browsers know: save the file with a browser as"
            f" {part.parent.parent / part.stem} and run the same command again."
        ) from error
