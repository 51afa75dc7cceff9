"""A local server that speaks as much of OpenAI's interface as the tests need."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from int_bench.backbones.openai.model import OpenAI

CERTIFICATE = Path(__file__).with_name("localhost.pem")
"""Of this server alone, signed by itself, with its key."""


class Reply:
    """One answer of the server: a status, a body and headers.

    ``before`` is called first; ``drips`` says what never ends and comes byte by byte: ``head`` or
    ``body``, as long as ``until`` is not set. ``{headers}`` in the body is filled with what the
    client sent, as servers do that explain a refusal.
    """

    def __init__(
        self,
        body: Any,
        status: int = 200,
        before: Callable[[], object] = lambda: None,
        drips: str = "",
        until: threading.Event | None = None,
        **headers: str,
    ) -> None:
        self.before, self.drips, self.until = before, drips, until or threading.Event()
        self.body = body if isinstance(body, str) else json.dumps(body)
        self.status = status
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
def serving(*replies: Reply, tls: bool = False) -> Iterator[Endpoint]:
    """A server on a free port of this machine for as long as the block runs."""
    endpoint = Endpoint(list(replies))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            endpoint.bodies.append(json.loads(raw))
            endpoint.keys.append(self.headers.get("Authorization"))
            endpoint.paths.append(self.path)
            reply = endpoint.next()
            reply.before()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            while reply.drips == "head" and not reply.until.is_set():
                self.flush_headers()
                self.wfile.write(b"X")
                reply.until.wait(0.01)
            self.end_headers()
            while reply.drips == "body" and not reply.until.is_set():
                self.wfile.write(b"X")
                reply.until.wait(0.01)
            sent = json.dumps("".join(f"{k}: {v}, " for k, v in self.headers.items()))[1:-1]
            body = reply.body.replace("{headers}", sent)
            self.wfile.write(body.encode())

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *args: None  # type: ignore[method-assign]
    endpoint.url = f"http{'s' * tls}://127.0.0.1:{server.server_port}/v1"
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        server.socket = context.wrap_socket(server.socket, server_side=True)
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
            "timeout_s": 600.0,
            **options,
        },
    )
    made._client.first_pause_s = 0.0
    return made
