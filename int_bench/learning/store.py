"""Rows that are computed once and kept in a scratch folder: features, targets, points.

A file of equal rows grows by whole blocks, each with a line that counts, so that a sitting that was
killed is gone on with bit for bit: blocks are always of the same items.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from int_bench.core.files import flush, read_plain, write_whole
from int_bench.core.text import many, shown

T = TypeVar("T")
BLOCK = 16
"""Items that are computed and stored together."""
_SAID_EVERY = 64 * BLOCK
Rows = NDArray[Any]


def say(text: str) -> None:
    """One line on stderr."""
    print(shown(text), file=sys.stderr, flush=True)


class Store:
    """``NAME.json`` says whose rows they are, ``NAME.rows`` holds them, ``NAME.blocks`` counts.

    Args:
        place: of the files, without their ending.
        owner: what decides the rows, JSON-ready; rows of another owner are dropped.
        dtype: of a row's entries, or of a whole row with fields.
        shape: of a row.
    """

    def __init__(self, place: Path, owner: Any, dtype: Any, shape: tuple[int, ...] = ()) -> None:
        self._rows, self._log = place.with_suffix(".rows"), place.with_suffix(".blocks")
        self._dtype, self._shape = np.dtype(dtype), shape
        about = place.with_suffix(".json")
        described = f"{json.dumps([owner, str(self._dtype), list(shape)])}\n".encode()
        if not about.is_file() or read_plain(about) != described:
            self._rows.unlink(missing_ok=True)
            self._log.unlink(missing_ok=True)
            write_whole(about, described)
        self._blocks = self._read()
        self._cut()

    @property
    def count(self) -> int:
        """Rows that are stored."""
        return sum(int(block["n"]) for block in self._blocks)

    def fill(
        self,
        items: Sequence[T],
        compute: Callable[[Sequence[T]], tuple[Rows, list[int]]],
        what: str,
    ) -> set[int]:
        """Compute the rows that are not there yet.

        Args:
            items: all of them, in the order of the rows.
            compute: rows of a block, and which of its items could not be computed; their rows are
                anything.
            what: an item is, for what is said of how far it is.

        Returns:
            The items, by number, that could not be computed.
        """
        for start in range(self.count, len(items), BLOCK):
            rows, lost = compute(items[start : start + BLOCK])
            self._append(np.ascontiguousarray(rows, self._dtype), [start + n for n in lost])
            done = start + len(rows)
            if done % _SAID_EVERY == 0 or done == len(items):
                say(f"{done} of {many(len(items), what)} ready.")
        return {number for block in self._blocks for number in block["lost"]}

    def values(self) -> Rows:
        """All rows, (N, *shape), mapped from the disk."""
        return np.memmap(self._rows, self._dtype, "r", shape=(self.count, *self._shape))

    def _append(self, rows: Rows, lost: list[int]) -> None:
        """The rows first, then the line that counts."""
        with self._rows.open("ab") as file:
            file.write(rows.tobytes())
        flush([self._rows])
        self._blocks.append({"n": len(rows), "lost": lost})
        with self._log.open("ab") as file:
            file.write(f"{json.dumps(self._blocks[-1])}\n".encode())
        flush([self._log])

    def _read(self) -> list[dict[str, Any]]:
        lines = read_plain(self._log).split(b"\n")[:-1] if self._log.is_file() else []
        return [json.loads(line) for line in lines]

    def _cut(self) -> None:
        """Drop what a kill has left behind the last whole block."""
        size = self.count * int(np.prod(self._shape)) * self._dtype.itemsize
        if self._rows.is_file() and self._rows.stat().st_size != size:
            os.truncate(self._rows, size)
        whole = "".join(f"{json.dumps(block)}\n" for block in self._blocks).encode()
        if self._log.is_file() and read_plain(self._log) != whole:
            write_whole(self._log, whole)
