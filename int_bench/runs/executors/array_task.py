"""One process of an array: takes shard after shard, computes what is left of it, stores it.

Started by :mod:`int_bench.runs.executors.supervisor`, which it tells on standard output what it
begins and ends. It may be started twice, killed at any point and started again anywhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import platform
import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

from int_bench.config.needs.fetching import bring_near
from int_bench.config.needs.weights import weights_of
from int_bench.core.files import make_folder, write_aside
from int_bench.errors import MissingAsset, UsageError, UserError
from int_bench.runs.execute import Item, Product
from int_bench.runs.executors.claims import claim
from int_bench.runs.executors.compute import refuse_other_devices
from int_bench.runs.executors.merge import records_in
from int_bench.runs.executors.shards import Part, Shards
from int_bench.runs.executors.worker import Batch, Sealed, Wanted, Worker
from int_bench.runs.folder import Writer
from int_bench.runs.kept.encoding import Files
from int_bench.runs.kept.work import Sitting, Spent, together
from int_bench.runs.layout import PARTS, Key, file_names, shard_of
from int_bench.runs.prepare import unlimited
from int_bench.runs.records import FAILED, OK, Record

ORDER, MODELS, LATE = "order.pickle", "models.json", "INT_BENCH_LATE"
SIGHT = 30.0
"""Seconds until a host must see what the command wrote before it handed the array in."""
STOPPED = 75
"""The exit code of a task that was asked to stop."""


@dataclass(frozen=True)
class ArrayOrder:
    """What the tasks of an array compute.

    Attributes:
        sealed: for the worker.
        folders: of the runs, by variant.
        wanted: every item that is not finished, in order; outside E0 whole shards, of which
            ``stored`` items are there already.
        stored: what is computed again for its batches and not stored again.
        patience: seconds without a sign of life until a task elsewhere counts as dead.
        sample_seconds: after which the supervisor ends a sample.
        devices: kinds of device that what is done was computed on, with which and with each other
            the tasks must agree; None where they need not.
        shards: of the runs.
        local: a folder on a disk of each node, to which weights are copied; None: they are not.
    """

    sealed: Sealed
    folders: tuple[Path, ...]
    wanted: tuple[Wanted, ...]
    stored: frozenset[Wanted]
    patience: float
    sample_seconds: float
    devices: frozenset[str] | None
    shards: int
    local: str | None = None


class Lost(Exception):
    """The shard was taken over by somebody else."""


class Task:
    """The process, with its models.

    Args:
        folder: ``parts/<array>`` of the first run.
        index: of the task in its array.
        digest: of the order.
        late: samples that the supervisor has ended because they took too long.
        told: where the supervisor reads.
    """

    def __init__(
        self, folder: Path, index: int, digest: str, late: frozenset[Key], told: int
    ) -> None:
        self._folder, self._late, self._told = folder, late, told
        self.order = _read_order(folder, digest)
        if self.order.local is not None:
            here = Path(os.path.expandvars(self.order.local)).expanduser()
            bring_near(weights_of(self.order.sealed.opened().config), here)
        self.worker = Worker(self.order.sealed)
        claim(folder / MODELS, json.dumps(self.worker.hello.models).encode())
        if self.order.devices is not None:
            refuse_other_devices(self.worker.host, self.order.devices)
            _refuse_other_devices(folder / "device", self.worker.host)
        self._by_shard: dict[int, list[Wanted]] = {}
        for wanted in self.order.wanted:
            self._by_shard.setdefault(shard_of(wanted[1:], self.order.shards), []).append(wanted)
        numbers = sorted(self._by_shard)
        start = index * 7919 % max(len(numbers), 1)
        self._part: Part | None = None
        self.shards = Shards(folder, numbers[start:] + numbers[:start], self.order.patience)
        self._spent: list[Spent] = []
        self._sitting = Sitting(self.order.folders, lambda _: self._spent)
        whole = unlimited(self.worker.runs[0].dataset)
        self._names = file_names(sample.id for sample in whole.samples())

    def run(self) -> None:
        """Work until nothing is left, or nothing has become free for a while.

        Raises:
            UserError: what every sample would meet.
        """
        beating = self.shards.beating()
        idle_since = time.monotonic()
        while self.shards.left:
            part = self.shards.take()
            if part is not None:
                self._compute(part)
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since > 2 * self.order.patience:
                break
            else:
                time.sleep(min(1.0, self.order.patience / 4))
        beating.set()

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Give back what is under way and end at once: a model's call cannot be cut short."""
        if self._part is not None:
            self._part.release()
        os._exit(STOPPED)

    def _compute(self, part: Part) -> None:
        batch = Batch()
        self._part = part
        try:
            self._items(part, batch)
        except Lost:
            return
        except BaseException:
            with suppress(OSError):  # its process ends, which others will see
                part.release()
            raise
        finally:
            self._part = None
        work = {"counters": batch.counters, "seconds": batch.seconds, "events": batch.events}
        write_aside(part.file("work"), json.dumps(work).encode())
        self._sitting.write()
        part.finish()

    def _items(self, part: Part, batch: Batch) -> None:
        """What is left of a shard: first together, then alone what has ended a worker.

        In E0 what was begun when a worker died is under suspicion. Otherwise it is tried together
        once more, as batches decide the bits.
        """
        writers = self._writers(part)
        done = self._done(part)
        times = part.interrupted()
        patient = 0 if self.worker.order.config.exactness == "E0" else 1
        left = [wanted for wanted in self._by_shard[part.shard] if wanted not in done]
        given_up = [w for w in left if times[w[1:]] > 1 + patient or w[1:] in self._late]
        self._store(part, writers, [self._failure(wanted) for wanted in given_up])
        left = [wanted for wanted in left if wanted not in given_up]
        alone = [wanted for wanted in left if times[wanted[1:]] > patient]
        others = [wanted for wanted in left if wanted not in alone]
        for group, apart in ((others, False), *(([wanted], True) for wanted in alone)):
            self._run(part, writers, group, batch, apart)

    def _run(
        self,
        part: Part,
        writers: Sequence[Writer],
        group: Sequence[Wanted],
        batch: Batch,
        apart: bool,
    ) -> None:
        def begun(item: Item) -> None:
            part.note("begin", (item.trial, item.sample.id))
            self._tell("begin", (item.trial, item.sample.id))

        cost = Batch(events=batch.events)
        waiting: Counter[Key] = Counter(wanted[1:] for wanted in group)
        for product in self.worker.products(group, cost, begun, apart):
            self._store(part, writers, [product])
            waiting[product.record.key] -= 1
            if not waiting[product.record.key]:
                part.note("end", product.record.key)
                self._tell("end", product.record.key)
        self._spent = together([*self._spent, *cost.spent])
        for name, number in cost.counters.items():
            batch.counters[name] = batch.counters.get(name, 0) + number
        for name, seconds in cost.seconds.items():
            batch.seconds[name] = batch.seconds.get(name, 0.0) + seconds

    def _store(self, part: Part, writers: Sequence[Writer], products: Sequence[Product]) -> None:
        if products and part.lost():
            raise Lost
        for product in products:
            record = product.record
            if (product.variant, *record.key) not in self.order.stored:
                items: list[tuple[Record, Files]] = [(record, product.files)]
                writers[product.variant].commit_all(items)
                self._sitting.count(product.variant, record)

    def _tell(self, what: str, key: Key) -> None:
        os.write(self._told, json.dumps([what, *key]).encode() + b"\n")

    def _failure(self, wanted: Wanted) -> Product:
        variant, trial, sample = wanted
        reason = "It ended two workers that computed it; see the logs of this run."
        if (trial, sample) in self._late:
            limit = f"executor.sample_seconds={self.order.sample_seconds:g}"
            reason = f"It took longer than {limit} and was ended."
        record = Record(sample, trial, FAILED, error=reason, host=self.worker.host)
        return Product(variant, record, ())

    def _writers(self, part: Part) -> list[Writer]:
        writers = []
        keep = self.worker.order.config.keep
        for folder in self.order.folders:
            place = folder / PARTS / self._folder.name
            make_folder(place)
            lines = partial(_same, place / part.file("jsonl").name)
            writers.append(Writer(folder, keep, self._names, self.worker.host, lines))
        return writers

    def _done(self, part: Part) -> set[Wanted]:
        """What earlier owners have finished; outside E0 a shard counts as a whole."""
        done: set[Wanted] = set()
        for variant, folder in enumerate(self.order.folders):
            for epoch in range(part.epoch):
                file = folder / PARTS / self._folder.name / part.file("jsonl", epoch).name
                if file.is_file():
                    records = records_in(file.read_bytes())
                    done |= {(variant, *r.key) for r in records if r.status in (OK, FAILED)}
        wanted = set(self._by_shard[part.shard]) - self.order.stored
        whole = self.worker.order.config.exactness != "E0"
        return set() if whole and wanted - done else done


def _read_order(folder: Path, digest: str) -> ArrayOrder:
    """What an array computes, if it is what was handed in: nothing else is unpacked."""
    until = time.monotonic() + SIGHT
    while (content := _content(folder / ORDER)) is None:
        if time.monotonic() > until:
            raise MissingAsset(
                f"{folder} is not seen on {platform.node()}; put --out on a file system that all "
                "nodes share."
            )
        time.sleep(min(0.2, SIGHT))
    if hashlib.sha256(content).hexdigest() != digest:
        raise UsageError(f"{folder / ORDER} is not what was handed in; give the command again.")
    order = pickle.loads(content)
    assert isinstance(order, ArrayOrder)
    return order


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _refuse_other_devices(file: Path, host: Mapping[str, str]) -> None:
    """All tasks compute on the kind of device on which the first of them does."""
    claim(file, json.dumps(dict(host)).encode())
    first = json.loads(file.read_bytes())
    if first["device"] != host["device"]:
        raise UsageError(
            f"{host['name']} computes on {host['device']} and {first['name']} on "
            f"{first['device']}, which agree up to rounding only; take nodes of one kind with "
            "executor.constraint, or say executor.mixed=true."
        )


def _same(file: Path, key: Key) -> Path:
    """All lines of a claim lie in one file."""
    return file


def main(words: Sequence[str], told: int = 1) -> int:
    """Work as a task; see the module. ``told`` is the file that the supervisor reads."""
    folder, index = Path(words[0]), int(words[1])
    late = frozenset((trial, sample) for trial, sample in json.loads(os.environ.get(LATE, "[]")))
    try:
        task = Task(folder, index, words[2], late, told)
        for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGUSR1, signal.SIGINT):
            signal.signal(number, task.stop)
        task.run()
    except UserError as error:
        return _give_up(folder, index, error)
    except OSError as error:
        reason = f"{error.filename or folder}: {error.strerror or error}"
        return _give_up(folder, index, UsageError(f"A file cannot be used: {reason}."))
    return 0


def _give_up(folder: Path, index: int, error: UserError) -> int:
    """Say what was met, in the log and, if that can be written, to the command."""
    sentence = f"On {platform.node()}: {error}"
    os.write(2, f"{sentence}\n".encode())
    with suppress(OSError):
        claim(folder / f"error.{index}", json.dumps([type(error).__name__, sentence]).encode())
    return int(error.exit_code)
