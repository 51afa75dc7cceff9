"""A local server that speaks as much of OpenAI's interface as the tests need."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from int_bench.backbones.openai.model import OpenAI


class Reply:
    """One answer of the server: a status, a body, headers, and seconds to wait before it.

    ``drip`` are the seconds to wait before every byte of the body, ``head_drip`` before every byte
    of a header that never ends, ``before`` is called first; ``{headers}`` in the body is
    filled with what the client sent, as servers do that explain a refusal.
    """

    def __init__(
        self,
        body: Any,
        status: int = 200,
        wait: float = 0.0,
        drip: float = 0.0,
        head_drip: float = 0.0,
        before: Callable[[], object] = lambda: None,
        **headers: str,
    ) -> None:
        self.head_drip, self.before = head_drip, before
        self.body = body if isinstance(body, str) else json.dumps(body)
        self.status, self.wait, self.drip = status, wait, drip
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def says(text: Any, **message: Any) -> Reply:
    """A completion with this content."""
    return Reply({"choices": [{"message": {"content": text, **message}}]})


class Endpoint:
    """Gives its replies one after the other, the last one for ever; keeps what it was asked."""

    def __init__(self, replies: list[Reply]) -> None:
        self.replies = replies
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.paths: list[str] = []
        self.url = ""

    def next(self) -> Reply:
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@contextmanager
def serving(*replies: Reply) -> Iterator[Endpoint]:
    """A server on a free port of this machine for as long as the block runs."""
    endpoint = Endpoint(list(replies))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            endpoint.bodies.append(json.loads(raw))
            endpoint.keys.append(self.headers.get("Authorization"))
            endpoint.paths.append(self.path)
            reply = endpoint.next()
            time.sleep(reply.wait)
            reply.before()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            while reply.head_drip:
                self.flush_headers()
                time.sleep(reply.head_drip)
                self.wfile.write(b"X")
            self.end_headers()
            sent = json.dumps("".join(f"{k}: {v}, " for k, v in self.headers.items()))[1:-1]
            body = reply.body.replace("{headers}", sent)
            for part in [body] if not reply.drip else body:
                time.sleep(reply.drip)
                self.wfile.write(part.encode())

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *args: None  # type: ignore[method-assign]
    endpoint.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def vlm(endpoint: Endpoint, tmp_path: Path, **options: Any) -> OpenAI:
    """A client of the server that keeps its answers under ``tmp_path`` and does not pause."""
    made = OpenAI(
        "eye-1",
        endpoint.url,
        **{
            "cache_dir": str(tmp_path / "answers"),
            "requests_per_minute": 0,
            "timeout_s": 5.0,
            **options,
        },
    )
    made._client.first_pause_s = 0.0
    return made
