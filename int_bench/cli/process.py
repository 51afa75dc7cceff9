"""What surrounds every command: its output that may fail, its end on request, its working folder.

Begins with the standard library alone, so that it stands before everything else has loaded.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from types import FrameType
from typing import Any, NoReturn, TextIO, cast

from int_bench.errors import UsageError

_SLOW = ("run", "ablate", "segment", "train")
_LOOKING = "int-bench: looking at the configuration, the data and what the models need ..."
_SILENCE_S = 0.5
_silent: list[Timer] = []


class OutputFault(UsageError):
    """Standard output cannot be written; what the command has done is stored all the same."""


class ReaderLeft(Exception):
    """Who reads the output (``| head``) has seen enough.

    No BrokenPipeError, which the libraries that print would turn into an exit of their own.
    """


class _Guarded:
    """Standard output whose faults are sentences: a full disk, a closed file."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text."""
        with self._told() as stream:
            return stream.write(text)

    def flush(self) -> None:
        """Hand over what was written."""
        if self._stream is not None:
            with self._told() as stream:
                stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream if self._stream is not None else sys.stderr, name)

    @contextmanager
    def _told(self) -> Iterator[TextIO]:
        try:
            if self._stream is None or self._stream.closed:
                raise OSError("it is closed")
            yield self._stream
        except BrokenPipeError as error:
            raise ReaderLeft from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise OutputFault(
                f"The output cannot be written: {reason}; what was done is stored, and the same "
                "command prints it."
            ) from error


@contextmanager
def output() -> Iterator[None]:
    """Within it faults of standard output are :class:`OutputFault`; a reader that left is none.

    Letters that its encoding does not have are written as escapes.
    """
    _open_the_standard_ones()
    before = sys.stdout
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):
            cast(Any, stream).reconfigure(errors="backslashreplace")
    sys.stdout = cast(TextIO, _Guarded(before))
    try:
        yield
    finally:
        sys.stdout = before


@contextmanager
def announced(words: Sequence[str]) -> Iterator[None]:
    """Within it a command that is still silent after half a second says what it does.

    Args:
        words: the command line; commands that answer at once have nothing to say.
    """
    if words and words[0] in _SLOW and "--dry-run" not in words:
        _silent.append(Timer(_SILENCE_S, print, (_LOOKING,), {"file": sys.stderr}))
        _silent[-1].daemon = True
        _silent[-1].start()
    try:
        yield
    finally:
        has_spoken()


def has_spoken() -> None:
    """The command has said something, or is over."""
    while _silent:
        _silent.pop().cancel()


def drop_output() -> None:
    """Forget what standard output could not take, so that the interpreter's end is silent."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def complain(message: str, code: int) -> int:
    """Print a sentence on stderr and return the code that the command ends with."""
    from int_bench.core.text import shown

    print(shown(f"int-bench: {' '.join(message.split())}"), file=sys.stderr)
    return code


def leave_at_once(code: int) -> NoReturn:
    """End this process without waiting for its threads: a model's call cannot be cut short."""
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code)


def check_working_folder() -> None:
    """Refuse to work in a folder that was deleted.

    Raises:
        UsageError: it is gone.
    """
    try:
        Path.cwd()
    except OSError as error:
        raise UsageError(
            "The working directory is gone; change to one that is there and give the command again."
        ) from error


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


def _open_the_standard_ones() -> None:
    """Else the next file that is opened becomes standard output, and a library prints into it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
