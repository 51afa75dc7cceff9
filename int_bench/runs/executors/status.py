"""How far a run is, whoever works on it: read from its folder alone."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from int_bench.core.files import read_plain, write_aside
from int_bench.core.typed import Malformed, Node, parsed
from int_bench.errors import MissingAsset
from int_bench.runs.execute import Item
from int_bench.runs.executors.arrays import arrays_of
from int_bench.runs.executors.claims import alive
from int_bench.runs.executors.merge import part_files, records_in
from int_bench.runs.executors.shards import is_key, open_of, parse_part
from int_bench.runs.layout import LOCK, PARTS, PROGRESS, Key, shard_of
from int_bench.runs.reader import Run, record_files
from int_bench.runs.records import OK, Record

_SLOWEST = 1e9
"""Seconds between two samples; what is more is no pace."""


@dataclass(frozen=True)
class Status:
    """Samples of all trials.

    Attributes:
        asked: how many there are to be, as the last command asked for; None if that is not known.
        done: finished and well.
        failed: recorded as failed.
        running: what workers of an array have begun and not ended.
        workers: who works on it: processes and arrays.
        seconds: inside models for a finished sample, on average; None before the first.
        pace: seconds between two finished samples of a process that is at it; None if none is.
    """

    asked: int | None
    done: int
    failed: int
    running: tuple[Key, ...]
    workers: tuple[str, ...]
    seconds: float | None
    pace: float | None = None

    @property
    def left(self) -> float | None:
        """Seconds until all are done; None if unknown.

        By the pace of the process that is at it, else by the seconds inside models over what tasks
        of an array work on now.
        """
        if self.asked is None or not self.workers:
            return None
        left = self.asked - self.done - self.failed
        if self.pace is not None:
            return left * self.pace
        return None if self.seconds is None else left * self.seconds / max(1, len(self.running))


class Pulse:
    """What a process that holds run folders tells ``status``: what it is at, and how fast.

    Written once a second beside the work, and gone when it ends; a use as a context manager.

    Args:
        folders: by variant.
    """

    SECONDS: ClassVar[float] = 1.0
    """Between two looks whether there is something new; 0: it is written whenever there is."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._at: set[tuple[int, Key]] = set()
        self._ends: list[float] = []
        self._done = 0
        self._told: object = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()
        for folder in self._folders:
            with suppress(OSError):
                (folder / PROGRESS).unlink(missing_ok=True)

    def begin(self, item: Item) -> None:
        """A sample is begun."""
        self._set(self._at | {(item.variant, (item.trial, item.sample.id))})

    def end(self, variant: int, key: Key) -> None:
        """A sample is stored."""
        self._ends = [*self._ends[:1], time.monotonic()] if self._ends else [time.monotonic()]
        self._done += 1
        self._set(self._at - {(variant, key)})

    def only(self, items: Iterable[tuple[int, Key]]) -> None:
        """These are at work, and no others."""
        self._set(set(items))

    def _set(self, items: set[tuple[int, Key]]) -> None:
        self._at = items  # a new set each time, as the thread may be reading the former
        if not self.SECONDS:
            self._write()

    def _live(self) -> None:
        while self.SECONDS and not self._ended.wait(self.SECONDS):
            self._write()

    def _write(self) -> None:
        at, ends, done = self._at, self._ends, self._done
        if (at, done) == self._told:
            return
        self._told = (at, done)
        pace = (ends[1] - ends[0]) / (done - 1) if done > 1 else None
        for variant, folder in enumerate(self._folders):
            running = sorted(key for of, key in at if of == variant)
            with suppress(OSError):
                content = json.dumps({"running": running, "pace": pace}).encode()
                write_aside(folder / PROGRESS, content)


def status_of(path: Path) -> Status:
    """The status of a run folder.

    Raises:
        MissingAsset: it is none, or what it holds cannot be read.
    """
    run = Run(path)
    records = _records(run)
    done = [record for record in records.values() if record.status == OK]
    spent = [sum(record.seconds.values()) for record in done if record.seconds]
    workers, told = _workers(path), _told(path)
    return Status(
        asked=_asked(run),
        done=len(done),
        failed=len(records) - len(done),
        running=tuple(sorted((_running(path, run.manifest.shards) | told[0]) - set(records))),
        workers=tuple(workers),
        seconds=sum(spent) / len(spent) if spent else None,
        pace=told[1],
    )


def _told(path: Path) -> tuple[set[Key], float | None]:
    """What a living process says that it is at, and its pace; see :class:`Pulse`."""
    if not _process(path):
        return set(), None
    with suppress(OSError, Malformed):
        node = Node(parsed(read_plain(path / PROGRESS)))
        keys = node.raw["running"] if isinstance(node.raw.get("running"), list) else []
        running = {(key[0], key[1]) for key in keys if is_key(key)}
        pace = node.raw.get("pace")
        if isinstance(pace, int | float) and 0 <= pace < _SLOWEST:
            return running, float(pace)
        return running, None
    return set(), None


def _records(run: Run) -> dict[Key, Record]:
    """All records, merged or not; done beats failed."""
    files = [*(record_files(run.path, run.manifest.format) or [])]
    files += [path for paths in part_files(run.path).values() for path in paths]
    records: dict[Key, Record] = {}
    for path in files:
        for record in records_in(_content(path)):
            before = records.get(record.key)
            if before is None or before.status != OK or record.status == OK:
                records[record.key] = record
    return records


def _content(path: Path) -> bytes:
    try:
        return read_plain(path)
    except OSError as error:
        raise MissingAsset(f"{path} cannot be read: {error.strerror}.") from error


def _asked(run: Run) -> int | None:
    n = run.manifest.data.get("n")
    if not isinstance(n, int) or isinstance(n, bool) or not 0 <= n < 2**63:
        return None
    known, ids = run.manifest, run.manifest.ids
    samples = len(ids) if ids is not None else min(n, known.limit or n) - known.skip
    return max(0, samples) * run.trials


def _running(path: Path, shards: int) -> set[Key]:
    """What is begun and not ended in the last claim of each shard of an array."""
    last: dict[tuple[str, int], tuple[int, Path]] = {}
    for file in (path / PARTS).glob("*/*.begun"):
        part = parse_part(file.name)
        if part is not None:
            place = (file.parent.name, part[0])
            last[place] = max(last.get(place, (-1, file)), (part[1], file))
    return {
        key
        for (_, shard), (_, file) in last.items()
        if not file.with_suffix(".released").exists()
        for key in open_of(_content(file))
        if shard_of(key, shards) == shard
    }


def _workers(path: Path) -> list[str]:
    arrays = [f"Slurm job {array.known} with {array.tasks} tasks" for array in arrays_of(path)]
    holder = _process(path)
    return arrays + ([f"process {holder.get('pid')} on {holder.get('host')}"] if holder else [])


def _process(path: Path) -> Mapping[str, object]:
    """Who holds the folder, unless it is known to be dead; empty if nobody does."""
    with suppress(OSError, Malformed):
        holder = Node(parsed(read_plain(path / LOCK).partition(b"\n")[0])).raw
        if alive(holder) is not False:
            return holder
    return {}
