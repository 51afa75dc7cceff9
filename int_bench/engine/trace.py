"""A run's trace: what ran when, for chrome://tracing or ui.perfetto.dev.

The file is the JSON array of Chrome's trace event format, complete events (``"ph": "X"``, times in
microseconds), written as things end. The format lets the closing bracket be absent, so that the
trace of a run that was killed opens too.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from int_bench.errors import UsageError

TRACKS = ("models", "methods", "storage")
"""Calls of the backbones; the methods' own work on the CPU; masks and records being written."""


class Trace:
    """An observer of the broker and the run loop that writes to a file; a context manager.

    Args:
        path: the file, e.g. ``trace.json``; its folder is made.

    Raises:
        UsageError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w", encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"The profile cannot be written to {path}: {error.strerror}; choose another file."
            ) from error
        self._lock = threading.Lock()
        self._opened = time.perf_counter()
        self._file.write("[")
        self._processes: dict[str, int] = {}
        self._name_tracks(0, first=True)

    def __enter__(self) -> Trace:
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._file.write("\n]\n")
            self._file.close()

    def __call__(
        self, track: str, name: str, start: float, seconds: float, args: Mapping[str, Any]
    ) -> None:
        """Write one event (see :data:`int_bench.engine.serving.Observer`); from any thread.

        What says ``worker`` among its arguments is of that worker's process.
        """
        worker = str(args.get("worker", ""))
        with self._lock:
            if worker and worker not in self._processes:
                number = self._processes[worker] = len(self._processes) + 1
                head = {"name": "process_name", "ph": "M", "args": {"name": worker}}
                self._write({**head, "pid": number})
                self._name_tracks(number)
            self._complete(self._processes.get(worker, 0), (track, name, start, seconds, args))

    def _complete(
        self, process: int, event: tuple[str, str, float, float, Mapping[str, Any]]
    ) -> None:
        track, name, start, seconds, args = event
        if track not in TRACKS:
            return
        content = {
            "name": name,
            "ph": "X",
            "ts": round((start - self._opened) * 1e6, 1),
            "dur": round(seconds * 1e6, 1),
            "pid": process,
            "tid": TRACKS.index(track),
            "args": dict(args),
        }
        self._write(content)

    def _name_tracks(self, process: int, first: bool = False) -> None:
        for number, track in enumerate(TRACKS):
            head = {"name": "thread_name", "ph": "M", "args": {"name": track}}
            self._write({**head, "pid": process, "tid": number}, first=first and number == 0)

    def _write(self, event: Mapping[str, Any], first: bool = False) -> None:
        self._file.write(("\n" if first else ",\n") + json.dumps(event))
