"""What arrives from the network, said on stderr as it comes."""

from __future__ import annotations

import time
from collections.abc import Callable

from int_bench.cli.screen import say


class Arriving:
    """Progress of a download as lines: one every few seconds, and one at the end of each file.

    Args:
        bytes_text: bytes for people to read.
        seconds: between two lines.
        indent: before each.
    """

    def __init__(self, bytes_text: Callable[[int], str], seconds: float, indent: str = "") -> None:
        self._bytes_text, self._seconds, self._indent = bytes_text, seconds, indent
        self._said = time.monotonic()

    def __call__(self, name: str, done: int, total: int | None) -> None:
        """A :data:`int_bench.data.fetching.download.Progress`."""
        if done != total and time.monotonic() - self._said < self._seconds:
            return
        self._said = time.monotonic()
        of = f" of {self._bytes_text(total)}" if total else ""
        say(f"{self._indent}{name}: {self._bytes_text(done)}{of}")
