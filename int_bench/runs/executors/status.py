"""How far a run is, whoever works on it: read from its folder alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from int_bench.runs.executors.arrays import arrays_of
from int_bench.runs.executors.claims import alive
from int_bench.runs.executors.merge import part_files, records_in
from int_bench.runs.executors.shards import PARTS, open_of
from int_bench.runs.layout import LOCK, Key, shard_of
from int_bench.runs.reader import Run, record_files
from int_bench.runs.records import OK, Record


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
    """

    asked: int | None
    done: int
    failed: int
    running: tuple[Key, ...]
    workers: tuple[str, ...]
    seconds: float | None

    @property
    def left(self) -> float | None:
        """Model seconds until all are done, over what is worked on now; None if unknown."""
        if self.asked is None or self.seconds is None or not self.workers:
            return None
        return (self.asked - self.done - self.failed) * self.seconds / max(1, len(self.running))


def status_of(path: Path) -> Status:
    """The status of a run folder.

    Raises:
        MissingAsset: it is none, or what it holds cannot be read.
    """
    run = Run(path)
    records = _records(run)
    done = [record for record in records.values() if record.status == OK]
    spent = [sum(record.seconds.values()) for record in done if record.seconds]
    return Status(
        asked=_asked(run),
        done=len(done),
        failed=len(records) - len(done),
        running=tuple(sorted(_running(path) - set(records))),
        workers=tuple(_workers(path)),
        seconds=sum(spent) / len(spent) if spent else None,
    )


def _records(run: Run) -> dict[Key, Record]:
    """All records, merged or not; done beats failed."""
    files = [*(record_files(run.path, run.manifest.format) or [])]
    files += [path for paths in part_files(run.path).values() for path in paths]
    records: dict[Key, Record] = {}
    for path in files:
        for record in records_in(path.read_bytes()):
            before = records.get(record.key)
            if before is None or before.status != OK or record.status == OK:
                records[record.key] = record
    return records


def _asked(run: Run) -> int | None:
    n = run.manifest.data.get("n")
    if not isinstance(n, int):
        return None
    known, ids = run.manifest, run.manifest.ids
    samples = len(ids) if ids is not None else min(n, known.limit or n) - known.skip
    return max(0, samples) * run.trials


def _running(path: Path) -> set[Key]:
    """What is begun and not ended in the last claim of each shard of an array."""
    last: dict[tuple[str, str], tuple[int, Path]] = {}
    for file in (path / PARTS).glob("*/*.begun"):
        shard, epoch, _ = file.name.split(".")
        place = (file.parent.name, shard)
        last[place] = max(last.get(place, (-1, file)), (int(epoch), file))
    return {
        key
        for _, file in last.values()
        if not file.with_suffix(".released").exists()
        for key in open_of(file.read_bytes())
        if f"{shard_of(key):02d}" == file.name[:2]
    }


def _workers(path: Path) -> list[str]:
    workers = [f"Slurm job {array.job} with {array.tasks} tasks" for array in arrays_of(path)]
    holder: Mapping[str, object] = {}
    with suppress(OSError, ValueError):
        holder = dict(json.loads((path / LOCK).read_bytes().partition(b"\n")[0]))
    if holder and alive(dict(holder)) is not False:
        workers.append(f"process {holder.get('pid')} on {holder.get('host')}")
    return workers
