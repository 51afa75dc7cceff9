"""A hub of models for the tests of downloads: as much of its interface as its library uses."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.file_host import serving

COMMIT = "c0ffee" + 34 * "0"


@dataclass
class Hub:
    """Repositories by name, each a dict of files; large files (``.safetensors``) are LFS's.

    ``break_after`` cuts every answer after so many bytes, once for each entry; ``damaged`` are
    files whose bytes arrive changed, so many times. A large file stops after ``stall_after`` bytes,
    which sets ``stalled``, and goes on when ``go_on`` is set.
    """

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    break_after: list[int] = field(default_factory=list)
    damaged: dict[str, int] = field(default_factory=dict)
    log: list[tuple[str, str, str | None]] = field(default_factory=list)
    url: str = ""
    stall_after: int | None = None
    stalled: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)


def _sibling(name: str, content: bytes) -> dict[str, object]:
    told = {"rfilename": name, "size": len(content), "blobId": _git(content)}
    if name.endswith(".safetensors"):
        told["lfs"] = {"sha256": _sha256(content), "size": len(content), "pointerSize": 130}
    return told


def _git(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = self.path.partition("?")[0].strip("/")
        self.hub.log.append((self.command, path, self.headers.get("Range")))
        for name, files in self.hub.repositories.items():
            if path in (f"api/models/{name}", f"api/models/{name}/revision/main"):
                siblings = [_sibling(file, content) for file, content in files.items()]
                told = {"id": name, "sha": COMMIT, "siblings": siblings}
                return self._send(json.dumps(told).encode(), {}, body)
            for revision in ("main", COMMIT):
                start = f"{name}/resolve/{revision}/"
                if path.startswith(start) and path.removeprefix(start) in files:
                    return self._file(path.removeprefix(start), files, body)
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def _file(self, name: str, files: dict[str, bytes], body: bool) -> None:
        content = files[name]
        large = name.endswith(".safetensors")
        etag = _sha256(content) if large else _git(content)
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}
        if body and self.hub.damaged.get(name):
            self.hub.damaged[name] -= 1
            content = bytes(byte ^ 1 for byte in content)
        self._send(content, headers, body)

    def _send(self, content: bytes, headers: dict[str, str], body: bool) -> None:
        asked = self.headers.get("Range")
        start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        part = content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            cut = self.hub.break_after.pop(0) if headers and self.hub.break_after else None
            stall = self.hub.stall_after
            if stall is not None and len(part) > stall:
                self.wfile.write(part[:stall])
                self.hub.stalled.set()
                self.hub.go_on.wait()
                return
            self.wfile.write(part[:cut])
            if cut is not None:
                self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def hub() -> Iterator[Hub]:
    """A hub on this machine within the block."""
    made = Hub()
    with serving(type("Bound", (Handler,), {"hub": made})) as made.url:
        yield made
