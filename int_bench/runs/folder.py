"""The run folder: identity, append-only records, atomic masks.

A record's line is its commit point: masks are written aside, flushed to the disk and renamed before
the line is appended, so a run that is killed at any point loses at most the samples in flight and
never keeps half of one. Layout::

    run.json                        what was run, with what, and where
    records.jsonl                   one line per finished sample and trial; a key's last line counts
    masks/<trial>/final/<id>.png    0 and 255, at the image's size
    masks/<trial>/<1..I>/<id>.png   the same for each iteration
    masks/<trial>/soft_<1..I>/<id>.png   soft masks, 0..255 (keep=soft)
    lock                            held by the process that writes
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from int_bench.core.types import Box, Prediction
from int_bench.errors import MissingAsset, UsageError

RECORDS, MANIFEST, MASKS, LOCK = "records.jsonl", "run.json", "masks", "lock"
_NO_TEXT = (
    "Its name or an answer for it holds what is no Unicode text; rename the file or run again."
)
Key = tuple[int, str]
"""Trial and sample id."""


@dataclass(frozen=True)
class Record:
    """One sample of one trial: what came out, how, and at what cost.

    Attributes:
        id: the sample.
        trial: from 0.
        status: ``ok`` or ``failed``.
        error: what went wrong, one sentence; None if nothing did.
        size: (height, width) of the image and its masks, pixels.
        prompt: the chosen iteration's instance-specific prompt.
        box: its box in the image frame, pixels.
        chosen: for each number of iterations the index of the final mask.
        iterations: per iteration prompt, box and details.
        seconds: model seconds by role.
        counters: requests, hits, shared and rows by role and verb.
    """

    id: str
    trial: int
    status: str
    error: str | None = None
    size: tuple[int, int] | None = None
    prompt: str | None = None
    box: Box | None = None
    chosen: tuple[int, ...] = ()
    iterations: tuple[Mapping[str, Any], ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """What a record is found by."""
        return self.trial, self.id


def read_records(folder: Path) -> dict[Key, Record]:
    """The records of a run folder, the last one of each key; a torn last line is left out.

    Raises:
        MissingAsset: The folder holds no records.
        UsageError: A line in the middle is not a record.
    """
    path = folder / RECORDS
    if not path.is_file():
        raise MissingAsset(f"{folder} is not a run folder: it holds no {RECORDS}.")
    records: dict[Key, Record] = {}
    for number, line in enumerate(_whole_lines(path), start=1):
        try:
            record = Record(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise UsageError(
                f"{path}, line {number}, is not a record; restore or remove it."
            ) from error
        records[record.key] = record
    return records


def read_manifest(folder: Path) -> dict[str, Any]:
    """The ``run.json`` of a run folder.

    Raises:
        MissingAsset: There is none, or it cannot be read.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MissingAsset(f"{folder} is not a run folder: {path} cannot be read.") from error
    if not isinstance(content, dict):
        raise MissingAsset(f"{folder} is not a run folder: {path} is not a run's description.")
    return content


def find_runs(root: Path) -> list[Path]:
    """All run folders under a root, sorted."""
    return sorted(path.parent for path in root.glob(f"*/*/*/{MANIFEST}"))


def final_masks(folder: Path, trial: int = 0) -> Path:
    """Where the final masks of a trial lie."""
    return folder / MASKS / str(trial) / "final"


def _whole_lines(path: Path) -> list[bytes]:
    """Lines end at the newline byte alone: names and answers may hold U+2028 and its like."""
    return path.read_bytes().split(b"\n")[:-1]


class RunFolder:
    """A run folder open for writing, by this process only.

    Use as a context manager. Opening makes the folder, takes the lock, cuts a torn last line and
    reads what is finished.

    Args:
        path: the folder.
        manifest: what ``run.json`` will hold.
        keep: ``final``, ``iterations`` or ``soft`` masks.

    Raises:
        UsageError: The folder cannot be written, or another process writes to it.
    """

    def __init__(self, path: Path, manifest: Mapping[str, Any], keep: str = "iterations") -> None:
        self.path = path
        self._keep = keep
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = self._take_lock()
            self._cut_torn_line()
            _write_whole(path / MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())
            self._lines = (path / RECORDS).open("ab")
        except OSError as error:
            raise _unwritable(path, error) from error
        self.records = read_records(path)

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lines.close()
        os.close(self._lock)

    def finished(self, key: Key) -> bool:
        """Whether a sample of a trial is done and well; a failed one is tried again."""
        record = self.records.get(key)
        return record is not None and record.status == "ok"

    def commit(self, record: Record, prediction: Prediction | None = None) -> Record:
        """Store the masks of a prediction, then the record's line.

        Returns:
            The record as it was kept: a failed one where a text of it cannot be stored.

        Raises:
            UsageError: The folder cannot be written (a full disk, say).
        """
        masks = self._masks_of(prediction) if prediction else ()
        return self.commit_files(record, ((name, _png(mask)) for name, mask in masks))

    def commit_files(self, record: Record, masks: Iterable[tuple[str, bytes]]) -> Record:
        """Store encoded masks by their folder (``final``, ``1``, ...), then the record's line.

        Raises:
            UsageError: The folder cannot be written (a full disk, say).
        """
        try:
            line = _line(record)
        except UnicodeEncodeError:  # half a letter: in a file's name, or in a model's answer
            record, masks = Record(record.id, record.trial, "failed", error=_NO_TEXT), ()
            line = _line(record, ensure_ascii=True)
        folder = self.path / MASKS / str(record.trial)
        try:
            for name, content in masks:
                path = folder / name / f"{record.id}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                _write_whole(path, content)
            self._lines.write(line)
            self._lines.flush()
            os.fsync(self._lines.fileno())
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self.records[record.key] = record
        return record

    def _masks_of(self, prediction: Prediction) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        if self._keep != "final":
            for number, item in enumerate(prediction.iterations, start=1):
                yield str(number), item.hard.astype(np.uint8) * 255
                if self._keep == "soft":
                    yield f"soft_{number}", np.rint(item.soft * 255).astype(np.uint8)
        yield "final", prediction.final.hard.astype(np.uint8) * 255

    def _take_lock(self) -> int:
        handle = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 200).decode(errors="replace").strip() or "another process"
            os.close(handle)
            raise UsageError(
                f"{self.path} is being written by {holder}; wait for it or end it."
            ) from None
        os.truncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        return handle

    def _cut_torn_line(self) -> None:
        path = self.path / RECORDS
        content = path.read_bytes() if path.exists() else b""
        whole = content.rfind(b"\n") + 1
        if whole != len(content):
            os.truncate(path, whole)


def _line(record: Record, ensure_ascii: bool = False) -> bytes:
    text = json.dumps(asdict(record), default=_plain, ensure_ascii=ensure_ascii)
    return f"{text}\n".encode()


def _unwritable(path: Path, error: OSError) -> UsageError:
    reason = error.strerror or str(error)
    return UsageError(f"Cannot write to {path}: {reason}; choose another folder with --out.")


def _write_whole(path: Path, content: bytes) -> None:
    """Write aside, flush to the disk, rename: the file is there whole or not at all."""
    aside = path.with_name(f".{path.name}.part")
    with aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def _png(mask: NDArray[np.uint8]) -> bytes:
    _, encoded = cv2.imencode(".png", mask)
    return bytes(encoded.tobytes())


def _plain(value: Any) -> Any:
    """What ``json`` cannot write: NumPy's scalars and arrays."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be part of a record")
