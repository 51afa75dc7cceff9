"""A worker as an actor of Ray: its process, and what it prints."""

from __future__ import annotations

import faulthandler
import os
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

from int_bench.errors import UserError
from int_bench.runs.executors.worker import Batch, Hello, Sealed, Wanted, Worker


class Printed(NamedTuple):
    """What a process has printed since it was last asked, and the file that holds all of it."""

    text: bytes
    file: str
    end: int


class Actor:
    """One process that computes; standard output and error go to a file of its own.

    Args:
        sealed: what is to be computed.
    """

    def __init__(self, sealed: Sealed) -> None:
        handle, self._path = tempfile.mkstemp(prefix="int-bench-worker-", suffix=".log")
        for stream in (1, 2):
            os.dup2(handle, stream)
        os.close(handle)
        faulthandler.enable(2)
        self._end = 0
        self._sealed = sealed

    def hello(self) -> tuple[Hello | Batch, Printed]:
        """What it says before it begins, or what it met."""
        try:
            self._worker = Worker(self._sealed)
        except UserError as error:
            return Batch(error=(type(error).__name__, str(error))), self._printed()
        return self._worker.hello, self._printed()

    def work(self, wanted: Sequence[Wanted], alone: bool) -> tuple[Batch, Printed]:
        """Compute items together; see :meth:`int_bench.runs.executors.worker.Worker.work`."""
        return self._worker.work(wanted, alone), self._printed()

    def _printed(self) -> Printed:
        with open(self._path, "rb") as file:  # noqa: PTH123
            file.seek(self._end)
            text = file.read()
        self._end += len(text)
        return Printed(text, self._path, self._end)
