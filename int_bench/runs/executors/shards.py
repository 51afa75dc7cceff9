"""The shards of an array, claimed one by one by workers on any host, and taken from the dead.

In ``parts/<array>/``, all named by shard and epoch: ``.claim`` says who owns it (made by link(2),
so one alone), ``.jsonl`` holds the owner's records, ``.begun`` what it began and ended, and
``.released`` is there where it gave the rest back. A shard that is finished has a ``.done``. Taking
a shard over is claiming its next epoch: nobody ever writes a file of another's.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from int_bench.core.files import read_plain
from int_bench.core.typed import Malformed, Node, parsed
from int_bench.runs.executors.claims import BEAT, PATIENCE, alive, claim, myself
from int_bench.runs.layout import Key


def parse_part(name: str) -> tuple[int, int] | None:
    """Shard and epoch of a file's name; None if it says none.

    >>> parse_part("07.2.claim"), parse_part("job.json")
    ((7, 2), None)
    """
    shard, _, rest = name.partition(".")
    epoch = rest.partition(".")[0]
    return (int(shard), int(epoch)) if shard.isdecimal() and epoch.isdecimal() else None


class Part:
    """One claim of a shard.

    Args:
        folder: ``parts/<array>``.
        shard: the number.
        epoch: how many owned it before.
    """

    def __init__(self, folder: Path, shard: int, epoch: int) -> None:
        self._folder, self.shard, self.epoch = folder, shard, epoch

    def file(self, kind: str, epoch: int | None = None) -> Path:
        """A file of the claim, or of an earlier one."""
        number = self.epoch if epoch is None else epoch
        return self._folder / f"{self.shard:02d}.{number}.{kind}"

    def note(self, what: str, key: Key) -> None:
        """Write down that a sample is begun, or ended."""
        with self.file("begun").open("ab") as file:
            file.write(json.dumps([what, *key]).encode() + b"\n")

    def interrupted(self) -> Counter[Key]:
        """How often a sample was begun by an earlier owner that died before its end."""
        times: Counter[Key] = Counter()
        for epoch in range(self.epoch):
            if _read(self.file("released", epoch)) is None:
                times.update(open_of(_read(self.file("begun", epoch)) or b""))
        return times

    def lost(self) -> bool:
        """Whether somebody has taken it over."""
        return _read(self.file("claim", self.epoch + 1)) is not None

    def release(self) -> None:
        """Give back what is not finished; what was begun is under no suspicion."""
        claim(self.file("released"), b"")

    def finish(self) -> None:
        """Say that the shard is done."""
        claim(self._folder / f"{self.shard:02d}.done", b"")


def open_of(content: bytes) -> set[Key]:
    """What a ``.begun`` file says was begun and not ended; a torn last line says nothing."""
    begun: set[Key] = set()
    for line in content.splitlines():
        with suppress(Malformed):
            said = parsed(line)
            if isinstance(said, list) and is_key(said[1:]):
                (begun.add if said[0] == "begin" else begun.discard)((said[1], said[2]))
    return begun


def is_key(value: Any) -> bool:
    """Whether what a file says is a trial and a sample."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and type(value[0]) is int
        and (isinstance(value[1], str))
    )


class Shards:
    """The shards that are left, as one worker sees them.

    Args:
        folder: ``parts/<array>``.
        numbers: the shards of the array, the worker's first choice first.
        patience: seconds without a sign of life until a holder elsewhere counts as dead.
        clock: seconds; only this worker's own are compared.
    """

    def __init__(
        self,
        folder: Path,
        numbers: Sequence[int],
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._left = folder, list(numbers)
        self._patience, self._clock = patience, clock
        self._known: dict[int, int] = {}
        self._seen: dict[tuple[int, int], tuple[bytes | None, float]] = {}
        self.token = secrets.token_hex(8)

    @property
    def left(self) -> bool:
        """Whether any of them is not known to be done."""
        return bool(self._left)

    def take(self) -> Part | None:
        """Claim the next shard that nobody alive holds; None if there is none now."""
        for shard in list(self._left):
            if _read(self._folder / f"{shard:02d}.done") is not None:
                self._left.remove(shard)
                continue
            epoch = self._latest(shard)
            if epoch is not None and not self._free(shard, epoch):
                continue
            part = Part(self._folder, shard, 0 if epoch is None else epoch + 1)
            holder = json.dumps(self._me()).encode()
            if claim(part.file("claim"), holder):
                self._known[shard] = part.epoch
                return part
        return None

    def beat(self, number: int) -> None:
        """Show a sign of life; ``number`` differs from the last one's."""
        path = self._folder / f"beat.{self.token}"
        with path.open("wb") as file:
            file.write(b"%d" % number)

    def beating(self, seconds: float = BEAT) -> threading.Event:
        """Show signs of life until the event is set, or this process ends."""
        ended = threading.Event()

        def live() -> None:
            number = 0
            while not ended.wait(seconds if number else 0):
                number += 1
                with suppress(OSError):
                    self.beat(number)

        threading.Thread(target=live, daemon=True).start()
        return ended

    def _me(self) -> dict[str, Any]:
        return {**myself(), "token": self.token}

    def _latest(self, shard: int) -> int | None:
        """The last epoch that can be seen; a later one may be there, which claiming tells."""
        epoch = self._known.get(shard, -1)
        while _read(self._folder / f"{shard:02d}.{epoch + 1}.claim") is not None:
            epoch += 1
        self._known[shard] = epoch
        return None if epoch < 0 else epoch

    def _free(self, shard: int, epoch: int) -> bool:
        """Whether the owner has given it back or is dead."""
        part = Part(self._folder, shard, epoch)
        if _read(part.file("released")) is not None:
            return True
        holder: dict[str, Any] = {}
        with suppress(Malformed):
            holder = dict(Node(parsed(_read(part.file("claim")) or b"{}")).raw)
        there = alive(holder)
        if there is not None:
            return not there
        beat, now = _read(self._folder / f"beat.{holder.get('token')}"), self._clock()
        before = self._seen.setdefault((shard, epoch), (beat, now))
        if before[0] != beat:
            self._seen[shard, epoch] = (beat, now)
            return False
        return now - before[1] > self._patience


def _read(path: Path) -> bytes | None:
    """What a file holds; asked by name, as a folder's list may lag behind on other hosts."""
    try:
        return read_plain(path)
    except FileNotFoundError:
        return None
