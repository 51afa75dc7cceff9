"""The one reader of run folders, of format 1 and 2: what they hold is data, and is checked."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from int_bench.core.files import hash_of, plain
from int_bench.core.typed import Malformed
from int_bench.errors import MissingAsset
from int_bench.runs.layout import (
    MASKS,
    OLD_RECORDS,
    RECORDS,
    SCORES,
    Key,
    mask_file,
    trace_file,
)
from int_bench.runs.manifest import Manifest, read_manifest
from int_bench.runs.records import FAILED, INTENT, OK, FileMark, Record, record_of

_LONGEST = 2**26  # bytes; a record is some kilobytes


class Damage(NamedTuple):
    """Something of a run folder that is not as it was written.

    ``key`` is the sample of a trial that it concerns, None for the folder's own; ``what`` says it
    in a sentence without its full stop.
    """

    what: str
    key: Key | None = None
    path: Path | None = None


class _Line(NamedTuple):
    """Where a record lies, and what is needed of it to know whether it is done."""

    file: Path
    offset: int
    length: int
    status: str
    name: str
    mask: FileMark | None


class Records(Mapping[Key, Record]):
    """The records of a run folder by trial and sample, sorted; each is read when it is asked for.

    Args:
        files: the files of lines.
        form: the folder's format.
        mend: leave out lines that are no records (and remember them), instead of refusing.
        on_record: told each record but intents, with its file, as it is read; of a sample that was
            tried again the last one counts.

    Raises:
        MissingAsset: a line is not a record; the sentence names file and line. A torn last line is
            left out.
    """

    def __init__(
        self,
        files: Iterable[Path],
        form: int,
        mend: bool = False,
        on_record: Callable[[Record, Path], None] = lambda record, path: None,
    ) -> None:
        self._form = form
        self.damaged: list[tuple[Path, int]] = []
        self.intents: dict[Key, int] = {}
        lines: dict[Key, _Line] = {}
        for path in files:
            for number, offset, line in _lines(path):
                try:
                    record = record_of(line, form)
                except Malformed as error:
                    if not mend:
                        raise MissingAsset(
                            f"{path}, line {number}, is not a record: {error}; see "
                            f"`int-bench check {_folder_of(path)}`."
                        ) from error
                    self.damaged.append((path, number))
                    continue
                place = (path, offset, len(line), record.status, record.name, record.mask)
                self._add(lines, record, _Line(*place))
                if record.status != INTENT:
                    on_record(record, path)
        self._lines = {key: lines[key] for key in sorted(lines)}

    def _add(self, lines: dict[Key, _Line], record: Record, line: _Line) -> None:
        if record.status == INTENT:
            self.intents[record.key] = self.intents.get(record.key, 0) + 1
        else:
            self.intents.pop(record.key, None)
            lines[record.key] = line

    def __getitem__(self, key: Key) -> Record:
        line = self._lines[key]
        try:
            with line.file.open("rb") as file:
                file.seek(line.offset)
                return record_of(file.read(line.length), self._form)
        except (OSError, Malformed) as error:
            raise MissingAsset(f"{line.file} changed while it was read; try again.") from error

    def __iter__(self) -> Iterator[Key]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def __contains__(self, key: object) -> bool:
        return key in self._lines

    def status(self, key: Key) -> str | None:
        """``ok`` or ``failed``; None without a record."""
        line = self._lines.get(key)
        return line.status if line else None

    def mark(self, key: Key) -> FileMark | None:
        """The mark of the final mask; None without one, and in format 1."""
        line = self._lines.get(key)
        return line.mask if line else None

    def name(self, key: Key) -> str:
        """The name of a sample's files, without ending."""
        return self._lines[key].name

    def written(self, key: Key) -> int:
        """When the file that holds a record was last written, ns since 1970."""
        return self._lines[key].file.stat().st_mtime_ns


class Run:
    """A run folder, read only.

    Args:
        path: the folder.

    Raises:
        MissingAsset: it is no run folder, of a newer version, or was edited; in one sentence.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise MissingAsset(f"{path}: there is no such run folder.")
        self.path = path
        self.manifest: Manifest = read_manifest(path)

    @property
    def name(self) -> str:
        """The method, e.g. ``int-no_pnm``."""
        return self.manifest.name

    @property
    def label(self) -> str:
        """What tables print."""
        return self.manifest.label

    @property
    def dataset(self) -> str:
        """The data set's name."""
        return self.manifest.dataset

    @property
    def trials(self) -> int:
        """Repetitions of every sample."""
        return self.manifest.trials

    @cached_property
    def records(self) -> Records:
        """All records, the last one of each trial and sample.

        Raises:
            MissingAsset: there are none, or a line is not a record.
        """
        files = record_files(self.path, self.manifest.format)
        if files is None:
            raise MissingAsset(f"{self.path} holds no {RECORDS}: nothing of it was run yet.")
        return Records(files, self.manifest.format)

    @property
    def failures(self) -> dict[Key, str]:
        """The samples that failed, and why."""
        failed = (key for key in self.records if self.records.status(key) == FAILED)
        return {key: self.records[key].error or "failed" for key in failed}

    def mask(self, trial: int, sample_id: str, which: str = "final") -> Path:
        """Where a mask lies, whether it is there or not.

        Args:
            trial: from 0.
            sample_id: the sample.
            which: ``final``, the number of an iteration from 1, or ``soft_`` and that number.

        Raises:
            MissingAsset: there is no record of the sample.
        """
        if (trial, sample_id) not in self.records:
            raise MissingAsset(f"{self.path} has no record of {sample_id!r}, trial {trial}.")
        return self.path / mask_file(trial, which, self.records.name((trial, sample_id)))

    def trace(self, trial: int, sample_id: str, number: int) -> Path | None:
        """Where the sheet of what an iteration saw lies, from 1; None if none was kept.

        Raises:
            MissingAsset: there is no record of the sample.
        """
        record = self.records[trial, sample_id]
        inside = trace_file(trial, number, record.name)
        return self.path / inside if inside in record.files else None

    def masks(self, trial: int = 0) -> dict[str, Path]:
        """The final masks of the finished samples of a trial, by sample."""
        return {
            sample_id: self.mask(trial, sample_id)
            for of, sample_id in self.records
            if of == trial and self.records.status((of, sample_id)) == OK
        }

    @property
    def mask_folder(self) -> Path:
        """Where all masks lie."""
        return self.path / MASKS

    def records_hash(self, keys: Iterable[Key] | None = None) -> str:
        """A hash (hex sha256) of what can be scored: sample, trial, status and mask of each record.

        Order of lines, seconds and machines do not matter. In format 1, whose records do not know
        their masks, the files themselves are read.

        Args:
            keys: the trials and samples that count; all if None. What has no record counts as
                absent.
        """
        digest = hashlib.sha256()
        for key in sorted(self.records if keys is None else set(keys)):
            status = self.records.status(key)
            mark = self.records.mark(key)
            content = mark.hash if mark else ""
            if status == OK and mark is None:
                content = hash_of(self.mask(*key)) or "gone"
            line = f"{key[0]}\0{key[1]}\0{status}\0{content}\n"
            digest.update(line.encode(errors="surrogatepass"))
        return digest.hexdigest()

    def scores(self, protocol: str, trial: int = 0) -> Path:
        """Where the scores of a protocol and trial lie, in format 2."""
        return self.path / SCORES / f"{protocol}.{trial}.csv"

    def verify(self, thorough: bool = False, keys: Iterable[Key] | None = None) -> list[Damage]:
        """What of the finished samples is not as it was recorded; see :func:`broken_files`."""
        wanted = self.records if keys is None else keys
        return [
            damage
            for key in wanted
            if self.records.status(key) == OK
            for damage in broken_files(
                self.path, self.records[key], self.records.written(key), thorough
            )
        ]


def broken_files(path: Path, record: Record, written: int, thorough: bool) -> Iterator[Damage]:
    """What of a record's files is gone or changed.

    Sizes are compared always; bytes where a file was touched after its record (a file that was
    swapped keeps its dates, but not the one of its last change of any kind), or ``thorough``.

    Args:
        path: the run folder.
        record: a finished sample.
        written: when the record's file was last written, ns since 1970.
        thorough: compare all bytes.
    """
    marks = [(mask_file(record.trial, which, record.name), mark) for which, mark in record.marks]
    if not marks:
        final = path / mask_file(record.trial, "final", record.name)
        if not final.is_file():
            yield Damage("is gone", record.key, final)
    for name, mark in [*marks, *record.files.items()]:
        file = path / name
        try:
            state = file.stat()
        except OSError:
            yield Damage("is gone", record.key, file)
            continue
        if state.st_size != mark.size:
            yield Damage(f"has {state.st_size} bytes, not {mark.size}", record.key, file)
        elif (thorough or state.st_ctime_ns > written) and hash_of(file) != mark.hash:
            yield Damage("holds other bytes than were recorded", record.key, file)


def record_files(folder: Path, form: int) -> list[Path] | None:
    """The files of records that are there; None if the folder never held any."""
    if form == 1:
        path = folder / OLD_RECORDS
        return [path] if path.is_file() else None
    if not (folder / RECORDS).is_dir():
        return None
    return sorted(p for p in (folder / RECORDS).glob("*.jsonl") if p.stem.isdecimal())


def ends_whole(path: Path) -> bool:
    """Whether a file is empty or ends with a whole line."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """The whole lines of a file, with number and offset; they end at the newline byte alone."""
    number = offset = 0
    try:
        with plain(path) as file:
            while line := file.readline(_LONGEST):
                number += 1
                if line.endswith(b"\n"):
                    yield number, offset, line
                elif len(line) == _LONGEST:
                    raise MissingAsset(f"{path}, line {number}, is longer than any record.")
                offset += len(line)
    except OSError as error:
        raise MissingAsset(f"{path} cannot be read: {error.strerror}.") from error


def _folder_of(path: Path) -> Path:
    return path.parent.parent if path.parent.name == RECORDS else path.parent
