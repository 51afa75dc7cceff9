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
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

from int_bench.core.text import keep_secret, redact
from int_bench.errors import MissingAsset, SampleError, UsageError

_LONGEST_PAUSE_S = 60.0
_LARGEST_ANSWER = 4 * 2**20
_LONGEST_REASON = 200
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
        UsageError: It holds what no HTTP header may; the key itself is not told.
    """
    key = os.environ.get(variable, "").strip()
    if not all("!" <= letter <= "~" for letter in key):
        raise UsageError(
            f"The key in {variable} holds a blank, a control character or a letter outside ASCII; "
            f"set {variable} to the key alone."
        )
    keep_secret(key)
    return key or None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirection is an error: the key is for this host alone."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Follow nothing."""


class _TimedHeaders(http.client.HTTPConnection):
    """Gives up when the headers are not there by the deadline, however steadily bytes come.

    A socket's own timeout begins anew with every byte.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline = time.monotonic() + float(self.timeout or 0)

    def getresponse(self) -> http.client.HTTPResponse:
        late, link = threading.Event(), self.sock

        def cut() -> None:
            late.set()
            with suppress(OSError):
                # Not TLS's own shutdown, which is not for another thread than the reader's.
                socket.socket.shutdown(link, socket.SHUT_RDWR)

        timer = threading.Timer(max(self._deadline - time.monotonic(), 0.0), cut)
        timer.daemon = True
        timer.start()
        try:
            response = super().getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise (TimeoutError() if late.is_set() else error) from error
        finally:
            timer.cancel()
        if late.is_set():  # headers that were cut look like headers that ended
            raise TimeoutError
        return response


class _TimedHeadersTls(_TimedHeaders, http.client.HTTPSConnection):
    pass


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_TimedHeaders, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_TimedHeadersTls, req, context=ssl.create_default_context())


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
        self._opener = urllib.request.build_opener(_NoRedirects, _Http, _Https)
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the pauses of what is being asked now; later questions are not concerned."""
        stopped, self._stopped = self._stopped, threading.Event()
        stopped.set()

    def ask(self, body: dict[str, Any], key: str | None) -> str:
        """The text of the answer, outer blanks removed.

        The key is in none of the texts that come back, neither in answers nor in reasons.

        Args:
            body: of the request, JSON-ready.
            key: printable ASCII, see :func:`read_key`; None sends none.

        Raises:
            SampleError: Every attempt failed, or the model refused; with the last reason.
            MissingAsset: The endpoint does not accept the key or knows no such model or address.
            KeyboardInterrupt: :meth:`stop` was called between two attempts.
        """
        reason, stopped = "", self._stopped
        for attempt in range(self.retries + 1):
            self.pace.wait(stopped)
            if stopped.is_set():
                raise KeyboardInterrupt
            self.count("requests_sent")
            try:
                return _text(self._post(body, key))
            except _TryAgain as failure:
                reason = str(failure)
                if attempt < self.retries:
                    self.count("retries")
                    wanted = failure.pause or self.first_pause_s * 2**attempt
                    stopped.wait(min(wanted, _LONGEST_PAUSE_S))
        raise SampleError(f"The endpoint failed {self.retries + 1} times, last: {reason}.")

    def _post(self, body: dict[str, Any], key: str | None) -> Any:
        """The parsed answer to one attempt."""
        headers = {"Content-Type": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self.url, json.dumps(body).encode(), headers)
        deadline = time.monotonic() + self.timeout_s
        try:
            with self._opener.open(request, timeout=self.timeout_s) as response:
                raw = _read(response, deadline)
        except urllib.error.HTTPError as error:
            raise self._explain(error, deadline, key) from error
        except (OSError, http.client.HTTPException) as error:
            cause = getattr(error, "reason", error)
            late = isinstance(cause, TimeoutError)
            reason = _short(redact(str(cause), key)) or type(cause).__name__
            raise _TryAgain(f"no answer within {self.timeout_s:g} s" if late else reason) from error
        try:
            # Written anew, so that a key is found however the endpoint has escaped it.
            return json.loads(redact(json.dumps(json.loads(raw)), key))
        except (ValueError, RecursionError) as error:
            said = _short(redact(raw.decode(errors="replace"), key))
            raise _TryAgain(f"not JSON: {said!r}") from error

    def _explain(
        self, error: urllib.error.HTTPError, deadline: float, key: str | None
    ) -> Exception:
        """What an HTTP status means: try again, fail this sample, or fail them all."""
        try:
            said = _short(redact(_read(error, deadline).decode(errors="replace"), key))
        except (OSError, http.client.HTTPException):
            said = "without a reason"
        reason = f"HTTP {error.code} {_short(redact(str(error.reason), key))}: {said}"
        if error.code in _REFUSED:
            return MissingAsset(
                f"The endpoint {self.url} does not serve this model with this key ({reason}); "
                f"check backbone.vlm.base_url, backbone.vlm.model and the key's variable."
            )
        if error.code in _RETRIED:
            return _TryAgain(reason, _retry_after(error.headers))
        return SampleError(f"The endpoint refused the request, {reason}.")


def _read(response: Any, deadline: float) -> bytes:
    """The body of a response, cut at the largest answer.

    Raises:
        TimeoutError: It is not there by the deadline (``time.monotonic``).
    """
    raw = b""
    while len(raw) < _LARGEST_ANSWER and (part := response.read1(_LARGEST_ANSWER)):
        raw += part
        if time.monotonic() > deadline:
            raise TimeoutError
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
    if any("\ud800" <= letter <= "\udfff" for letter in content):
        raise _TryAgain("half a letter (a lone surrogate) in the answer")
    return content.strip()


def _retry_after(headers: Message) -> float | None:
    """Seconds that the endpoint asks to wait; None if it does not say so as a number."""
    try:
        return max(0.0, float(headers.get("Retry-After", "")))
    except ValueError:
        return None


def _short(text: str) -> str:
    """One line of readable length."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_REASON else line[: _LONGEST_REASON - 3] + "..."
