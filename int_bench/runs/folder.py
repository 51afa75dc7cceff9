"""The writer of run folders, format 2: masks whole or not at all, then the line that counts.

A record's line is its commit point: masks are written aside, flushed to the disk, renamed, and
their folders flushed, before the line is appended and flushed, so a run that is killed at any
point, also by the loss of power, loses at most the samples in flight and never keeps half of one.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from int_bench.core.files import (
    flush,
    make_folder,
    read_plain,
    refuse_link,
    write_aside,
    write_whole,
)
from int_bench.core.types import Prediction
from int_bench.errors import UsageError
from int_bench.runs.executors.claims import Held, Lock
from int_bench.runs.kept.encoding import Files, encoded
from int_bench.runs.kept.standing import unfinished
from int_bench.runs.layout import (
    LOCK,
    LOGS,
    MANIFEST,
    MASKS,
    PARTS,
    RECORDS,
    SCORES,
    SHARDS,
    TRACES,
    WORK,
    Keep,
    Key,
    file_name,
    kept_file,
    records_file,
    shard_of,
)
from int_bench.runs.manifest import sealed
from int_bench.runs.reader import Damage, Records, record_files
from int_bench.runs.records import FAILED, INTENT, OK, FileMark, Record, cleaned, line_of


class Writer:
    """Stores masks and records in a run folder: masks first, then the lines that count.

    Args:
        path: the folder.
        keep: ``final``, ``iterations`` or ``soft`` masks, or the ``trace`` with them.
        names: the samples' file names, see :func:`int_bench.runs.layout.file_names`.
        host: ``name`` and ``device`` of this machine, for the records.
        lines: the file of a record's line, which nobody else writes.
    """

    def __init__(
        self,
        path: Path,
        keep: Keep,
        names: Mapping[str, str],
        host: Mapping[str, str],
        lines: Callable[[Key], Path],
    ) -> None:
        self.path, self.keep = path, keep
        self._names, self._host, self._lines = names, host, lines

    def commit_all(self, items: Sequence[tuple[Record, Files]]) -> list[Record]:
        """Store samples: all their masks first, then all their lines; each is there or is not.

        What is flushed together costs little more than one sample alone.

        Returns:
            The records as they were kept.

        Raises:
            UsageError: the folder cannot be written (a full disk, say).
        """
        kept = []
        with _told(self.path):
            places: list[Path] = []
            for record, files in items:
                record = cleaned(replace(record, host=record.host or self._host))
                if record.status == OK:
                    record = replace(record, keep=record.keep or self.keep)
                    record = self._write(record, files, places)
                kept.append(record)
            flush(places)
            self._append(kept)
        return kept

    def _write(self, record: Record, files: Files, places: list[Path]) -> Record:
        """Write a sample's files; the record with their marks; ``places`` are to be flushed."""
        name = self._names.get(record.id) or file_name(record.id)
        marks: dict[str, FileMark] = {}
        traces: dict[str, FileMark] = {}
        for which, content in files:
            inside = kept_file(record.trial, which, name)
            path = self.path / inside
            make_folder(path.parent)
            write_aside(path, content)
            places += [path, path.parent]
            mark = FileMark(_sha256(content), len(content))
            if inside.startswith(f"{TRACES}/"):
                traces[inside] = mark
            else:
                marks[which] = mark
        return replace(record, file=name, files={**record.files, **traces}).with_marks(marks)

    def _append(self, records: Sequence[Record]) -> None:
        """Append lines; where one cannot be written none of its file's stays."""
        lines: dict[Path, bytes] = {}
        for record in records:
            path = self._lines(record.key)
            lines[path] = lines.get(path, b"") + line_of(record)
        before = {path: path.stat().st_size if path.exists() else None for path in lines}
        try:
            for path, line in lines.items():
                with path.open("ab", buffering=0) as file:
                    if file.write(line) != len(line):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            new = {path.parent for path, size in before.items() if size is None}
            flush([*lines, *new])
        except BaseException:
            for path, size in before.items():
                if path.exists():
                    os.truncate(path, size or 0)
            raise


class RunFolder(Writer):
    """A run folder open for writing, by this process only.

    Use as a context manager. Opening makes the folder, takes the lock, writes ``run.json``, cuts
    torn lines, and finds out what is finished: a line says ok and its files are as it says.

    Args:
        path: the folder.
        content: of ``run.json``, see :func:`int_bench.runs.manifest.sealed`.
        keep: ``final``, ``iterations`` or ``soft`` masks, or the ``trace`` with them.
        names: the samples' file names, see :func:`int_bench.runs.layout.file_names`.
        host: ``name`` and ``device`` of this machine, for the records.
        refill: whether finished samples of which less is kept, or whose traces are broken, count as
            unfinished.

    Raises:
        UsageError: the folder cannot be written, or another process writes to it.
    """

    def __init__(
        self,
        path: Path,
        content: Mapping[str, Any],
        keep: Keep = "iterations",
        names: Mapping[str, str] | None = None,
        host: Mapping[str, str] | None = None,
        refill: bool = False,
    ) -> None:
        super().__init__(path, keep, names or {}, host or {}, self._file_of)
        self.damages: list[Damage] = []
        self._refill = refill
        self._shards = int(content.get("shards", SHARDS))
        self._status: dict[Key, str] = {}
        self._begun: dict[Key, int] = {}
        with _told(path):
            make_folder(path)
            self._lock = _locked(path)
            try:
                refuse_links(path)
                write_whole(path / MANIFEST, sealed(content))
                make_folder(path / RECORDS)
                self._mend()
            except BaseException:
                self._lock.release()
                raise

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def finished(self, key: Key) -> bool:
        """Whether a sample of a trial is done and well; a failed one is tried again."""
        return self._status.get(key) == OK

    def begun(self, key: Key) -> int:
        """How often an unfinished sample was begun by a worker that said so, and did not end it."""
        return self._begun.get(key, 0)

    def begin(self, key: Key) -> None:
        """Say that a sample is begun that may kill its worker; see :meth:`begun`.

        Raises:
            UsageError: the folder cannot be written.
        """
        with _told(self.path):
            self._append([Record(key[1], key[0], INTENT, host=self._host)])
        self._begun[key] = self.begun(key) + 1

    def commit(self, record: Record, prediction: Prediction | None = None) -> Record:
        """Store the masks of a prediction, then the record's line; see :meth:`commit_all`."""
        return self.commit_all([(record, encoded(prediction, self.keep))])[0]

    def commit_all(self, items: Sequence[tuple[Record, Files]]) -> list[Record]:
        """As of every writer; only while the lock is held."""
        if not self._lock.mine():
            raise UsageError(f"{self.path} was taken over by another process; this one stops.")
        kept = super().commit_all(items)
        for record in kept:
            self._status[record.key] = record.status
            self._begun.pop(record.key, None)
        return kept

    def _file_of(self, key: Key) -> Path:
        return self.path / records_file(shard_of(key, self._shards))

    def _mend(self) -> None:
        """Cut what is torn, remove what was never finished, and find out what is done."""
        for kind in (MASKS, TRACES):
            for aside in (self.path / kind).glob("*/*/.*.part"):
                aside.unlink(missing_ok=True)
        files = record_files(self.path, form=2) or []
        for path in files:
            _cut_torn_line(path)
        broken: dict[Key, list[Damage]] = {}

        def look(record: Record, path: Path) -> None:
            lost: list[Damage] = []
            if record.status == OK:
                lost = unfinished(self.path, record, path.stat().st_mtime_ns, self._refill)
            lacking = self._refill and record.lacks(self.keep)
            self._status[record.key] = FAILED if lost or lacking else record.status
            broken[record.key] = lost

        records = Records(files, form=2, mend=True, on_record=look)
        for path, number in records.damaged:
            self.damages.append(Damage(f"held no record in line {number}", path=path))
        for path in dict.fromkeys(path for path, _ in records.damaged):
            _drop_lines(path, {number for file, number in records.damaged if file == path})
        self.damages += [damage for key in sorted(broken) for damage in broken[key]]
        self._begun = dict(records.intents)


def describe(path: Path, content: Mapping[str, Any]) -> None:
    """Write a ``run.json`` alone: anybody's masks whose scores are kept have no records.

    Raises:
        UsageError: it cannot be written.
    """
    with _told(path):
        make_folder(path)
        write_whole(path / MANIFEST, sealed(content))


def write_records(path: Path, content: Mapping[str, bytes]) -> None:
    """Write whole files of records by their path in the run folder, in place of all that was there.

    Raises:
        UsageError: they cannot be written.
    """
    with _told(path):
        make_folder(path / RECORDS)
        for old_file in (path / RECORDS).iterdir():
            old_file.unlink()
        for name, lines in content.items():
            write_aside(path / name, lines)
        flush([*(path / name for name in content), path / RECORDS])


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What the system refuses is one sentence."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        sentence = f"Cannot write to {path}: {reason}; choose another folder with --out."
        raise UsageError(sentence) from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Within it nobody else writes a run folder.

    Raises:
        UsageError: somebody does.
    """
    lock = _locked(path)
    try:
        yield
    finally:
        lock.release()


def _locked(path: Path) -> Lock:
    try:
        with _told(path):
            return Lock(path / LOCK)
    except Held as held:
        raise UsageError(f"{path} is being written by {held}; wait for it or end it.") from None


def refuse_links(path: Path) -> None:
    """Refuse a run folder that leads elsewhere: it may come from a stranger, and it is written to.

    Raises:
        UsageError: a folder of it, or a file that is written to, is a link.
    """
    for kind in (RECORDS, MASKS, TRACES, SCORES, WORK, PARTS):
        for place in (path / kind, *(path / kind).glob("*"), *(path / kind).glob("*/*")):
            refuse_link(place)
    for place in (path / LOGS, *(path / LOGS).glob("*.log")):  # submitit keeps links of its own
        refuse_link(place)


def _cut_torn_line(path: Path) -> None:
    content = read_plain(path)
    whole = content.rfind(b"\n") + 1
    if whole != len(content):
        os.truncate(path, whole)


def _drop_lines(path: Path, numbers: set[int]) -> None:
    lines = path.read_bytes().split(b"\n")
    kept = [line for number, line in enumerate(lines, start=1) if number not in numbers]
    write_whole(path, b"\n".join(kept))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
