"""One chat completion over HTTP: bounded attempts, a pace, and a reason for every failure."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from functools import partial
from typing import Any

from int_bench.core.text import keep_secret, kept, redact, whole
from int_bench.errors import MissingAsset, SampleError, UsageError

_LONGEST_PAUSE_S = 60.0
_LARGEST_ANSWER = 4 * 2**20
_LONGEST_REASON = 300
_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_REFUSED = frozenset({401, 403, 404})


@dataclass
class Pace:
    """Spaces requests evenly; ``per_minute`` 0 is no limit."""

    per_minute: int
    _next: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self, stopped: threading.Event | None = None) -> None:
        """Return when the next request may be sent, or at once when ``stopped`` is set."""
        if self.per_minute <= 0:
            return
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + 60.0 / self.per_minute
        (stopped or threading.Event()).wait(start - now)


def read_key(variable: str) -> str | None:
    """The key in an environment variable without outer blanks; None if there is none.

    Raises:
        UsageError: it holds what no HTTP header may; the key itself is not told.
    """
    key = os.environ.get(variable, "").strip()
    if not all("!" <= letter <= "~" for letter in key):
        raise UsageError(
            f"The key in {variable} holds a blank, a control character or a letter outside ASCII; "
            f"set {variable} to the key alone."
        )
    keep_secret(key)
    return key or None


class _Request(urllib.request.Request):
    """Knows its connection, so that it can be cut, and the status that it was refused with."""

    connection: http.client.HTTPConnection | None = None
    refusal: urllib.error.HTTPError | None = None

    def cut(self) -> None:
        """Let whatever waits for bytes of this request wait no longer."""
        link = getattr(self.connection, "sock", None)
        if link is not None:
            with suppress(OSError):
                # Not TLS's own shutdown, which is not for another thread than the reader's.
                socket.socket.shutdown(link, socket.SHUT_RDWR)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirection is an error: the key is for this host alone."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Follow nothing."""


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: Any) -> http.client.HTTPResponse:
        return self.do_open(partial(_remembered, req, http.client.HTTPConnection), req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: Any) -> http.client.HTTPResponse:
        context = ssl.create_default_context()
        made = partial(_remembered, req, http.client.HTTPSConnection)
        return self.do_open(made, req, context=context)


def _remembered(
    request: _Request, kind: type[http.client.HTTPConnection], *args: Any, **kwargs: Any
) -> http.client.HTTPConnection:
    request.connection = kind(*args, **kwargs)
    return request.connection


class _TryAgain(Exception):
    """An attempt failed in a way that may pass; ``pause`` is what the endpoint asked for."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


class ChatClient:
    """Sends chat completions to one URL.

    Args:
        url: of the completions; http or https.
        timeout_s: seconds until an attempt is given up, however slowly the answer comes.
        retries: further attempts.
        pace: spaces the attempts.
        count: called with the name of each counted event.
        first_pause_s: before the second attempt; doubled before each further one.
    """

    def __init__(
        self,
        url: str,
        timeout_s: float,
        retries: int,
        pace: Pace,
        count: Callable[[str], None],
        first_pause_s: float = 1.0,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"The endpoint {url!r} is no http or https address.")
        self.url = url
        self.timeout_s = timeout_s
        self.retries = retries
        self.pace = pace
        self.count = count
        self.first_pause_s = first_pause_s
        self.stopped = threading.Event()
        self._opener = urllib.request.build_opener(_NoRedirects, _Http, _Https)
        self._under_way: set[Future[bytes]] = set()

    def stop(self) -> None:
        """Give up what is being asked now, mid-request or in a pause; not what is asked later."""
        stopped, self.stopped = self.stopped, threading.Event()
        stopped.set()
        for attempt in tuple(self._under_way):
            attempt.cancel()

    def ask(self, body: dict[str, Any], key: str | None, stopped: threading.Event) -> str:
        """The text of the answer, outer blanks removed.

        The key is in none of the texts that come back, neither in answers nor in reasons.

        Args:
            body: of the request, JSON-ready.
            key: printable ASCII, see :func:`read_key`; None sends none.
            stopped: ``stopped`` of this client as it was when the question came up.

        Raises:
            SampleError: every attempt failed, or the model refused; with the last reason.
            MissingAsset: the endpoint does not accept the key or knows no such model or address.
            KeyboardInterrupt: :meth:`stop` was called.
        """
        reason = ""
        for attempt in range(self.retries + 1):
            self.pace.wait(stopped)
            if stopped.is_set():
                raise KeyboardInterrupt
            self.count("requests_sent")
            try:
                return _text(self._post(body, key, stopped))
            except _TryAgain as failure:
                reason = str(failure)
                if attempt < self.retries:
                    self.count("retries")
                    wanted = failure.pause or self.first_pause_s * 2**attempt
                    stopped.wait(min(wanted, _LONGEST_PAUSE_S))
        raise SampleError(f"The endpoint failed {self.retries + 1} times, last: {reason}.")

    def _post(self, body: dict[str, Any], key: str | None, stopped: threading.Event) -> Any:
        """The parsed answer to one attempt."""
        headers = {"Content-Type": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        request = _Request(self.url, json.dumps(body).encode(), headers)
        try:
            raw = self._within_time(request, stopped)
        except (OSError, http.client.HTTPException) as error:
            if request.refusal is not None:
                raise self._explain(request.refusal, "without a reason") from error
            cause = getattr(error, "reason", error)
            late = isinstance(cause, TimeoutError)
            reason = _short(str(cause)) or type(cause).__name__
            raise _TryAgain(f"no answer within {self.timeout_s:g} s" if late else reason) from error
        if request.refusal is not None:
            raise self._explain(request.refusal, _short(raw.decode(errors="replace")))
        try:
            # Written anew, so that a key is found however the endpoint has escaped it.
            return json.loads(redact(json.dumps(json.loads(raw)), key))
        except (ValueError, RecursionError) as error:
            raise _TryAgain(f"not JSON: {_short(raw.decode(errors='replace'))!r}") from error

    def _within_time(self, request: _Request, stopped: threading.Event) -> bytes:
        """The body of the answer, or of the refusal, by the deadline.

        A thread of its own looks the name up, connects, and waits for headers and body: any of
        these can outlast a socket's timeout, which begins anew with every address and byte.

        Raises:
            TimeoutError: it is not there by the deadline.
            OSError, HTTPException: The connection failed.
            KeyboardInterrupt: :meth:`stop` was called.
        """
        attempt: Future[bytes] = Future()
        self._under_way.add(attempt)
        threading.Thread(target=self._exchange, args=(request, attempt), daemon=True).start()
        try:
            if stopped.is_set():
                raise CancelledError
            return attempt.result(self.timeout_s)
        except CancelledError:
            raise KeyboardInterrupt from None
        finally:
            self._under_way.discard(attempt)
            if attempt.cancel():
                request.cut()

    def _exchange(self, request: _Request, attempt: Future[bytes]) -> None:
        """Send a request and settle the attempt, unless it has been given up."""
        try:
            try:
                response: Any = self._opener.open(request, timeout=self.timeout_s)
            except urllib.error.HTTPError as refusal:
                response = request.refusal = refusal
            with response:
                raw = _read(response, attempt)
        except Exception as error:
            with suppress(InvalidStateError):
                attempt.set_exception(error)
        else:
            with suppress(InvalidStateError):
                attempt.set_result(raw)

    def _explain(self, refusal: urllib.error.HTTPError, said: str) -> Exception:
        """What an HTTP status means: try again, fail this sample, or fail them all."""
        reason = f"HTTP {refusal.code} {_short(str(refusal.reason))}: {said}"
        if refusal.code in _REFUSED:
            return MissingAsset(
                f"The endpoint {self.url} does not serve this model with this key ({reason}); "
                f"check backbone.vlm.base_url, backbone.vlm.model and the key's variable."
            )
        if refusal.code in _RETRIED:
            return _TryAgain(reason, _retry_after(refusal.headers))
        return SampleError(f"The endpoint refused the request, {reason}.")


def _read(response: Any, attempt: Future[bytes]) -> bytes:
    """The body of a response, cut at the largest answer, or where the attempt was given up."""
    raw = b""
    while len(raw) < _LARGEST_ANSWER and not attempt.done():
        part = response.read1(_LARGEST_ANSWER)
        if not part:
            break
        raw += part
    return raw


def _text(answer: Any) -> str:
    """The text in a completion."""
    try:
        message = answer["choices"][0]["message"]
        content, refusal = message.get("content"), message.get("refusal")
    except (LookupError, TypeError, AttributeError) as error:
        raise _TryAgain(f"not a chat completion: {_short(json.dumps(answer))!r}") from error
    if refusal:
        raise SampleError(f"The model refused: {_short(str(refusal))!r}.")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if not isinstance(content, str) or not content.strip():
        raise _TryAgain("an empty answer")
    if not whole(content):
        raise _TryAgain("half a letter (a lone surrogate) in the answer")
    return content.strip()


def _retry_after(headers: Message) -> float | None:
    """Seconds that the endpoint asks to wait; None if it does not say so as a number."""
    try:
        return max(0.0, float(headers.get("Retry-After", "")))
    except ValueError:
        return None


def _short(text: str) -> str:
    """One line of readable length without secrets; an endpoint's words are anybody's."""
    return kept(" ".join(text.split()), _LONGEST_REASON)
