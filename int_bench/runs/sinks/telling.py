"""Tells the trackers of a command's runs what becomes of them, on a thread of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from int_bench.config import RunConfig, build
from int_bench.core.text import kept_value
from int_bench.runs.execute import Variant
from int_bench.runs.labels import flat
from int_bench.runs.prepare import Prepared
from int_bench.runs.records import OK, Record
from int_bench.runs.sinks import Log, Sink, Told

_PATIENCE = 60.0
"""Seconds that a command waits at its end for what is not sent yet."""
_UNTOLD = ("label", "executor", "sink")
"""Keys of the configuration that say nothing about a run."""
Tell = Callable[[str], None]


@dataclass
class _State:
    """What is known of a run that a tracker is told of; ``log`` is of the thread alone."""

    library: str
    done: int
    failed: int = 0
    log: Log | None = None
    refused: bool = False


class Trackers:
    """Runs in their trackers, by run folder.

    Every call but the last returns at once; what a tracker raises is told in a sentence, and its
    run goes on without it.

    Args:
        tell: told what a tracker refuses.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._runs: dict[Path, _State] = {}
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="trackers", daemon=True)

    def begin(self, run: Prepared) -> None:
        """A run begins, or goes on, in the tracker that its configuration names."""
        config = run.config
        if config.sink is None:
            return
        sink: Sink = build(config.sink, "sink")
        folder = str(run.path.absolute())
        told = Told(run.label, run.path.name, config.dataset_name, folder, _told(config))
        state = self._runs[run.path] = _State(sink.LIBRARY, run.standing().done)

        def opened() -> None:
            state.log = sink.open(told)

        self._later(state, opened)
        if not self._thread.is_alive():
            self._thread.start()

    def record(self, folder: Path, record: Record) -> None:
        """A sample of a run has been stored."""
        state = self._runs.get(folder)
        if state is None:
            return
        state.done += 1
        state.failed += record.status != OK
        step = state.done
        values = {"failed": float(state.failed), "seconds": sum(record.seconds.values())}
        self._later(state, lambda: _of(state).add(values, step))

    @contextmanager
    def watch(self, total: int, done: int) -> Iterator[Callable[[Variant, Record], None]]:
        """A :data:`int_bench.runs.executors.compute.Watch` of nothing else."""
        yield lambda variant, record: self.record(variant.folder.path, record)

    def scored(self, folder: Path, metrics: Mapping[str, Mapping[str, float]]) -> None:
        """A run has come to its end: its numbers by protocol and measure, if it has any."""
        values = metrics.items()
        scores = {f"{rules}.{name}": v for rules, of in values for name, v in of.items()}
        self._end(folder, scores, True)

    def leave(self) -> None:
        """End what was not ended, and wait for what is not sent yet."""
        for folder in list(self._runs):
            self._end(folder, {}, False)
        if not self._thread.is_alive():
            return
        self._jobs.put(None)
        self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            self._tell(f"A tracker has not answered for {_PATIENCE:.0f} s and is not waited for.")

    def _end(self, folder: Path, scores: Mapping[str, float], whole: bool) -> None:
        state = self._runs.pop(folder, None)
        if state is not None:
            self._later(state, lambda: _of(state).end(scores, whole))

    def _later(self, state: _State, job: Callable[[], None]) -> None:
        """Have the thread do it, unless the run's tracker has refused something by then."""

        def guarded() -> None:
            if state.refused:
                return
            try:
                job()
            except (Exception, SystemExit) as error:  # whatever somebody's library raises
                state.refused = True
                reason = " ".join(str(error).split())[:300] or type(error).__name__
                if isinstance(error, ModuleNotFoundError) and error.name == state.library:
                    reason = f"it is not installed; pip install 'int-bench[{state.library}]'"
                self._tell(f"{state.library} is told no more, and the run goes on: {reason}")

        self._jobs.put(guarded)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


@contextmanager
def trackers(runs: Sequence[Prepared], tell: Tell) -> Iterator[Trackers]:
    """The trackers of runs, for as long as these are computed and scored.

    Libraries that print do so on standard error: the command's result is on standard output alone.
    """
    told = Trackers(tell)
    if all(run.config.sink is None for run in runs):
        yield told
        return
    with redirect_stdout(sys.stderr):
        try:
            for run in runs:
                told.begin(run)
            yield told
        finally:
            told.leave()


def _of(state: _State) -> Log:
    assert state.log is not None  # opened first, or refused
    return state.log


def _told(config: RunConfig) -> dict[str, Any]:
    """The configuration by dotted key, as trackers take it."""
    values = flat(asdict(config)).items()
    plain = {
        key: str(value) if isinstance(value, Path) else value
        for key, value in values
        if key.partition(".")[0] not in _UNTOLD
    }
    told: dict[str, Any] = kept_value(plain)
    return told
