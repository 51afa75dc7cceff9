"""What the commands share: quiet libraries, termination as an interrupt, progress on stderr."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

_QUIET = {
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_VERBOSITY": "error",
}
_LINE_SECONDS = 30.0
_NAMED = 5  # messages of one kind


@dataclass(frozen=True)
class Command:
    """A command that runs a method, as it was typed.

    Attributes:
        verb: ``run`` or ``ablate``.
        given: the overrides.
        limit: ``--limit``.
        out: ``--out``.
        dry_run: ``--dry-run``.
        json: ``--json``.
        profile: ``--profile``.
    """

    verb: str
    given: tuple[str, ...]
    limit: str | None = None
    out: Path | None = None
    dry_run: bool = False
    json: bool = False
    profile: Path | None = None

    @property
    def overrides(self) -> list[str]:
        """The overrides, the options among them."""
        options = {"limit": self.limit, "out": self.out}
        added = [f"{key}={value}" for key, value in options.items() if value is not None]
        return [*self.given, *added]

    @property
    def text(self) -> str:
        """The command line that does the same again."""
        words = ["int-bench", self.verb, *self.given]
        if self.limit is not None:
            words += ["--limit", self.limit]
        if self.out is not None:
            words += ["--out", str(self.out)]
        if self.profile is not None:
            words += ["--profile", str(self.profile)]
        return shlex.join(words)


def quiet_libraries() -> None:
    """Ask the model libraries for errors only, unless the user has asked for more."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


@contextmanager
def terminable() -> Iterator[None]:
    """Within it SIGTERM acts as Ctrl-C does, so that a scheduler's notice is heeded."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def say(message: str) -> None:
    """One line on stderr; bytes of a file name that are no text are written as escapes."""
    print(_as_text(message), file=sys.stderr, flush=True)


def say_some(messages: Sequence[str], more: str) -> None:
    """The first few messages on stderr, then how many there are and ``more``: what names all."""
    for message in messages[:_NAMED]:
        say(message)
    if len(messages) > _NAMED:
        say(f"and {len(messages) - _NAMED} more; {more}")


def _as_text(message: str) -> str:
    return message.encode(errors="backslashreplace").decode()


class Meter:
    """Images done, images per minute and time left on stderr: a bar, or lines without a terminal.

    Args:
        total: how many there are in all.
        done: how many of them were done before.
    """

    def __init__(self, total: int, done: int) -> None:
        self._total, self._before, self._done = total, done, done
        self._started = self._said = time.monotonic()
        self._bar = self._make_bar() if sys.stderr.isatty() else None
        self._task = TaskID(0)

    def __enter__(self) -> Meter:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("", total=self._total, completed=self._done, rate="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self) -> None:
        """One more is done."""
        self._done += 1
        if self._bar is not None:
            self._bar.update(self._task, advance=1, rate=self._rate())
        elif time.monotonic() - self._said > _LINE_SECONDS:
            self._said = time.monotonic()
            say(f"{self._done} of {self._total} images, {self._rate()}, {self._left()} left")

    def say(self, message: str) -> None:
        """One line above the bar."""
        if self._bar is not None:
            self._bar.console.print(_as_text(message), markup=False, highlight=False)
        else:
            say(message)

    def _per_second(self) -> float:
        return (self._done - self._before) / max(time.monotonic() - self._started, 1e-9)

    def _rate(self) -> str:
        return f"{60 * self._per_second():.1f} images per minute"

    def _left(self) -> str:
        seconds = (self._total - self._done) / max(self._per_second(), 1e-9)
        return f"{seconds / 60:.1f} min"

    @staticmethod
    def _make_bar() -> Progress:
        return Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
