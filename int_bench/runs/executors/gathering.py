"""What workers hand back, gathered: stored, counted, told, and their logs and traces kept."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress

from int_bench.engine.work import Sharing, Tally, work_of
from int_bench.runs.execute import Product, Variant
from int_bench.runs.executors.compute import Done, Listeners, OnRecord, mended_of
from int_bench.runs.executors.dispatch import Unit
from int_bench.runs.executors.status import Pulse
from int_bench.runs.executors.worker import Batch
from int_bench.runs.kept.work import Sitting, Spent, together
from int_bench.runs.layout import LOGS
from int_bench.runs.records import FAILED, Record


class Gathering:
    """The driver's side of a run that workers compute; the only one that writes.

    Args:
        variants: with their open folders.
        told: told of every stored record.
        listeners: of the command.
    """

    def __init__(self, variants: Sequence[Variant], told: OnRecord, listeners: Listeners) -> None:
        self._variants, self._told, self._listeners = variants, told, listeners
        self._tallies = {variant.name: Tally() for variant in variants}
        self._counters: Counter[str] = Counter()
        self._seconds: Counter[str] = Counter()
        self._spent: list[Spent] = []
        folders = [variant.folder.path for variant in variants]
        self._sitting = Sitting(folders, lambda _: self._spent)
        self.logs = variants[0].folder.path / LOGS
        self.pulse = Pulse(folders)

    def store(self, worker: str, batches: Sequence[Batch]) -> None:
        """Store what a worker has finished, and count what it has cost.

        Raises:
            UserError: what every sample would meet, once all that was finished is stored.
        """
        self._commit([product for batch in batches for product in batch.products])
        for batch in batches:
            self._counters.update(batch.counters)
            self._seconds.update(batch.seconds)
            self._spent = together([*self._spent, *batch.spent])
            self._trace(worker, batch)
        for batch in batches:
            batch.check()

    def give_up(self, unit: Unit, reason: str) -> None:
        """Record a unit's items as failed."""
        products = [
            Product(variant, Record(sample, trial, FAILED, error=reason), ())
            for variant, trial, sample in unit.items
        ]
        self._commit(products)

    def suspect(self, unit: Unit) -> None:
        """Write down that a sample is begun that may end its worker, and with it the command."""
        for variant, trial, sample in unit.items:
            if unit.deaths and not self._variants[variant].folder.finished((trial, sample)):
                self._variants[variant].folder.begin((trial, sample))

    def at_work(self, units: Iterable[Unit]) -> None:
        """Workers are at these units, and no others."""
        self.pulse.only((v, (trial, sample)) for u in units for v, trial, sample in u.items)

    def log(self, worker: str, text: bytes) -> None:
        """Keep what a worker has printed."""
        if text:
            with suppress(OSError):
                self.logs.mkdir(exist_ok=True)
                with (self.logs / f"{worker}.log").open("ab") as file:
                    file.write(text)

    def done(self) -> Done:
        """What all of it has cost."""
        mended = mended_of(self._variants)
        images = sum(tally.images for tally in self._tallies.values())
        counters = dict(sorted((self._counters).items()))
        work = work_of(images, counters, self._seconds)
        self._sitting.write()
        return Done(counters, work, Sharing(self._tallies), mended, tuple(self._spent))

    def _commit(self, products: Sequence[Product]) -> None:
        for index, variant in enumerate(self._variants):
            items = [
                (product.record, product.files)
                for product in products
                if product.variant == index and not variant.folder.finished(product.record.key)
            ]
            for record in variant.folder.commit_all(items) if items else []:
                self._tallies[variant.name].add(record.counters)
                self._sitting.count(index, record)
                self.pulse.end(index, record.key)
                self._told(variant, record)

    def _trace(self, worker: str, batch: Batch) -> None:
        observe = self._listeners.observe
        if observe is not None:
            shift = time.time() - time.perf_counter()
            for track, name, start, seconds, known in batch.events:
                observe(track, name, start - shift, seconds, {**known, "worker": worker})
