"""The folder of a training: ``run.json``, a line a report, the last checkpoint, the adapter.

::

    results/train/<data set>/<method>/<hash>/
        run.json        what is trained, on what, with which frozen models and versions
        train.jsonl     a line a report, and one where a batch was halved
        last.ckpt       of the last step that was kept; gone when the adapter is there
        scratch/        frozen features; may be removed when the adapter is there
        final/          the adapter: config.json, model.safetensors, card.json

The loop goes on from ``last.ckpt``; lines of steps that it will do again are dropped.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from int_bench.core.files import flush, make_folder, read_plain, refuse_link, write_whole
from int_bench.core.typed import Malformed, parsed
from int_bench.errors import UsageError
from int_bench.runs.folder import describe, locked

LOG, CHECKPOINT, SCRATCH, FINAL, CARD = "train.jsonl", "last", "scratch", "final", "card.json"
_PART = ".final.part"


class TrainFolder:
    """A training's folder; written to inside :meth:`open` only, by one process.

    Args:
        path: the folder, made when it is opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def final(self) -> Path:
        """The folder of the adapter; there when the training is done."""
        return self.path / FINAL

    @property
    def scratch(self) -> Path:
        """The folder of what is computed once."""
        return self.path / SCRATCH

    @property
    def done(self) -> bool:
        """Whether the adapter is there, whole."""
        return (self.final / CARD).is_file()

    @contextmanager
    def open(self, description: Mapping[str, Any]) -> Iterator[TrainFolder]:
        """Make the folder and hold it.

        Args:
            description: of ``run.json``; its ``created`` stays that of the first sitting.

        Raises:
            UsageError: it cannot be written, or another process trains in it.
        """
        try:
            make_folder(self.path)
        except OSError as error:
            reason = error.strerror or error
            sentence = f"Cannot write to {self.path}: {reason}; choose another folder with --out."
            raise UsageError(sentence) from error
        with locked(self.path):
            for name in (LOG, SCRATCH, FINAL, _PART):
                refuse_link(self.path / name)
            describe(self.path, description)
            make_folder(self.scratch)
            yield self

    def lines(self) -> list[dict[str, Any]]:
        """What was told so far, without what a kill has torn."""
        try:
            content = read_plain(self.path / LOG)
        except OSError:
            return []
        records = []
        for line in content.split(b"\n")[:-1]:
            try:
                record = parsed(line)
            except Malformed:
                break
            if not isinstance(record, dict):
                break
            records.append(record)
        return records

    def resume(self, step: int) -> None:
        """Drop the lines of steps that are done again, and what is torn."""
        kept = [line for line in self.lines() if int(line.get("step", 0)) <= step]
        write_whole(self.path / LOG, b"".join(map(_line_of, kept)))

    def tell(self, record: Mapping[str, Any]) -> None:
        """Append a line."""
        with (self.path / LOG).open("ab") as file:
            file.write(_line_of(record))
        flush([self.path / LOG])

    def finish(self, card: Mapping[str, Any]) -> None:
        """Name the exported adapter ``final``, with its card; the checkpoint goes.

        Raises:
            UsageError: it cannot be written.
        """
        part = self.path / _PART
        write_whole(part / CARD, f"{json.dumps(card, indent=1)}\n".encode())
        if self.final.exists():
            shutil.rmtree(self.final)
        part.rename(self.final)
        flush([self.path])
        for checkpoint in self.path.glob(f"{CHECKPOINT}.ckpt*"):  # and what kills left beside it
            checkpoint.unlink(missing_ok=True)

    def export_place(self) -> Path:
        """An empty folder to export into; :meth:`finish` gives it its name."""
        part = self.path / _PART
        shutil.rmtree(part, ignore_errors=True)
        make_folder(part)
        return part


def hash_of_ids(ids: Sequence[str]) -> str:
    """The sha256 (hex) of a list of samples, in order, an id a line."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()


def _line_of(record: Mapping[str, Any]) -> bytes:
    return f"{json.dumps(record, allow_nan=False)}\n".encode()
