"""A server of files for the tests of downloads, which breaks and lies on request."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from int_bench.data.fetching.download import Patience

SWIFT = Patience(attempts=3, wait=0.001, timeout=600.0)


@dataclass
class Host:
    """What the server has and how it behaves; ``log`` is the Range header of each request."""

    files: dict[str, bytes] = field(default_factory=dict)
    break_after: int | None = None
    statuses: list[int] = field(default_factory=list)
    ranges: bool = True
    sized: bool = True
    shift: int = 0
    log: list[str | None] = field(default_factory=list)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    host: Host

    def do_GET(self):
        host, asked = self.host, self.headers.get("Range")
        host.log.append(asked)
        content = host.files.get(self.path.lstrip("/"))
        status = host.statuses.pop(0) if host.statuses else 200
        if content is None or status != 200:
            self.send_error(404 if content is None else status)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and host.ranges else 0
        if start >= len(content) > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            extent = f"bytes {start + host.shift}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", extent)
        if host.sized:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = len(content) if host.break_after is None else start + host.break_after
        self.wfile.write(content[start:end])

    def log_message(self, *args):
        pass


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server that runs within the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def hosting() -> Iterator[Host]:
    """A host whose files and behaviour the block sets."""
    host = Host()
    with serving(type("Bound", (Handler,), {"host": host})) as host.url:
        yield host


def zipped(files, **options):
    """A zip archive in memory; values are bytes."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return memory.getvalue()
