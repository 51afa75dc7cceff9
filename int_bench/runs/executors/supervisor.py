"""A task of an array, watched: its process is started again when it dies, ended when it hangs."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from int_bench.runs.executors.array_task import LATE, STOPPED
from int_bench.runs.layout import Key

_FRUITLESS = 10
"""Deaths in a row after which it is not the samples."""
_TASK = """
import os, sys
from int_bench.runs.executors.array_task import main
told = os.dup(1)
os.dup2(2, 1)
sys.exit(main(sys.argv[1:], told))
"""
"""What a task runs; a module run by name would not be the one that orders are packed with. What a
library prints goes to the log, and not among what the supervisor is told."""
_NOTICE = 5.0
"""Seconds in which the scheduler's notice, if it is one, calls :meth:`Supervisor.checkpoint`."""
_STOPPING = 20.0
"""Seconds that a process may take to end."""


class Allowed(NamedTuple):
    """How long a sample may take, what the first one may take longer, and threads."""

    sample_seconds: float
    start_seconds: float
    threads: int


class Supervisor:
    """What the scheduler runs; picklable, so that it can be handed in again.

    Args:
        folder: ``parts/<array>`` of the first run.
        index: of the task.
        digest: of the order.
        allowed: its limits.
    """

    def __init__(self, folder: Path, index: int, digest: str, allowed: Allowed) -> None:
        self._folder, self._index, self._digest = folder, index, digest
        self._allowed = allowed
        self._process: subprocess.Popen[bytes] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_process": None}

    def __call__(self) -> int:
        """Have the task's share computed.

        Returns:
            0 if nothing was left to be done.

        Raises:
            RuntimeError: the process ended otherwise; its log says why.
        """
        late: list[Key] = []
        fruitless = 0
        while fruitless < _FRUITLESS:
            ended, code, key = self._once(late)
            if code == 0:
                return code
            if code in (STOPPED, -signal.SIGTERM, -signal.SIGUSR2):
                time.sleep(_NOTICE)  # the notice may have reached the process before this one
                return code
            if code in (1, 2, 3):
                raise RuntimeError(f"the task ended with {code}")
            late += [key] if key else []
            fruitless = 0 if ended else fruitless + 1
        raise RuntimeError(f"{_FRUITLESS} processes died one after the other")

    def checkpoint(self) -> Any:
        """Stop in time, to be started again: the scheduler's notice has come."""
        self._stop()
        return import_module("submitit.helpers").DelayedSubmission(self)

    def _once(self, late: list[Key]) -> tuple[int, int, Key | None]:
        """One process to its end: samples ended, its code, and the sample that took too long."""
        words = [sys.executable, "-c", _TASK, str(self._folder), str(self._index), self._digest]
        threads = {f"{name}_NUM_THREADS": str(self._allowed.threads) for name in ("OMP", "MKL")}
        offline = {"HF_HUB_OFFLINE": "1", "INT_BENCH_TURNS": "1", LATE: json.dumps(late)}
        environment = {**threads, **os.environ, **offline}
        with subprocess.Popen(words, stdout=subprocess.PIPE, env=environment) as process:
            self._process = process
            ended, key = self._watch(process)
            return ended, process.wait(), key

    def _watch(self, process: subprocess.Popen[bytes]) -> tuple[int, Key | None]:
        """Read what is begun and ended; end the process where that takes too long."""
        limits = self._allowed
        begun: dict[Key, float] = {}
        ended, since, rest = 0, time.monotonic(), b""
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                if selector.select(timeout=0.5):
                    text = os.read(process.stdout.fileno(), 65536)
                    if not text:
                        return ended, None
                    *lines, rest = (rest + text).split(b"\n")
                    for line in lines:
                        what, trial, sample = json.loads(line)
                        if what == "begin":
                            begun.setdefault((trial, sample), time.monotonic())
                        else:
                            begun.pop((trial, sample), None)
                            ended, since = ended + 1, time.monotonic()
                allowed = limits.sample_seconds * max(1, len(begun))
                allowed += 0 if ended else limits.start_seconds
                if begun and time.monotonic() - max(since, min(begun.values())) > allowed:
                    process.kill()
                    return ended, next(iter(begun)) if len(begun) == 1 else None

    def _stop(self) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOPPING)
            except subprocess.TimeoutExpired:
                process.kill()
