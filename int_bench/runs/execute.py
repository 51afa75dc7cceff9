"""The run loop: samples in, stored masks and records out.

Several variants of a method run over one broker, sample by sample, so that every request they have
in common is computed once. One bad sample never ends a run; an error that every sample would meet
(a missing checkpoint) does.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol

from int_bench.core.protocols import Ask, Method
from int_bench.core.seeding import derive_seed
from int_bench.core.types import Iteration, Picture, Prediction, Sample
from int_bench.data.dataset import Dataset, SampleFile, objects_of
from int_bench.engine.broker import Broker
from int_bench.engine.jobs import Job, Outcome
from int_bench.engine.serving import Observer
from int_bench.errors import SampleError
from int_bench.runs.folder import RunFolder
from int_bench.runs.kept.encoding import Files, encoded, places
from int_bench.runs.layout import Keep
from int_bench.runs.records import FAILED, OK, Record, Step

_WAITING = 4
"""Finished samples that may wait for the disk."""


class Plan(Protocol):
    """What is to be done."""

    @property
    def dataset(self) -> Dataset:
        """Where images and ground truth come from."""
        ...

    @property
    def samples(self) -> Sequence[SampleFile]:
        """The samples to run, in order (already limited)."""
        ...

    @property
    def task_prompt(self) -> str:
        """The task-generic prompt."""
        ...

    @property
    def seed(self) -> int:
        """The run seed."""
        ...

    @property
    def trials(self) -> int:
        """Repetitions of every sample, each with its own seed."""
        ...

    @property
    def traced(self) -> bool:
        """Whether methods tell what they see and weigh."""
        ...


@dataclass(frozen=True)
class Variant:
    """One method and the folder that its results go to."""

    name: str
    method: Method
    folder: RunFolder


@dataclass(frozen=True)
class Item:
    """A sample of a trial for a variant, by its place among those of the command."""

    variant: int
    trial: int
    sample: SampleFile

    def __str__(self) -> str:
        return self.sample.id


@dataclass(frozen=True)
class Product:
    """What an item has come to, wherever it was computed: its record, and its encoded masks."""

    variant: int
    record: Record
    files: Files


def run(  # noqa: PLR0913 - who is told of what
    plan: Plan,
    variants: Sequence[Variant],
    broker: Broker,
    on_record: Callable[[Variant, Record], None] = lambda *_: None,
    observe: Observer | None = None,
    plans: Sequence[Plan] = (),
    begun: Callable[[Item], None] = lambda _: None,
) -> None:
    """Run what is not finished yet.

    One thread stores what is finished, in order, while the others go on.

    Args:
        plan: what to do.
        variants: methods with their folders; they share the broker.
        broker: calls the models.
        on_record: called after each record has been stored.
        observe: told of every sample that has been stored.
        plans: of each variant, where their seeds or prompts differ; the samples are the same.
        begun: told of each item when it begins.

    Raises:
        UserError: an error that every sample would meet; all finished samples are stored.
    """
    methods = [variant.method for variant in variants]

    def iterated() -> None:
        if observe is not None:
            observe("iterations", "iteration", time.perf_counter(), 0.0, {})

    items = unfinished(plan, variants)
    arrived: deque[Outcome[Prediction]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="storage") as disk:
        waiting: deque[Future[list[tuple[Variant, Record]]]] = deque()
        try:
            for outcome in broker.run(jobs(plan, methods, items, begun, plans, iterated)):
                arrived.append(outcome)
                waiting.append(disk.submit(_store, variants, arrived, observe))
                while waiting and (len(waiting) > _WAITING or waiting[0].done()):
                    _tell(waiting.popleft(), on_record)
        finally:  # what is stored is told of, also when the rest is interrupted
            for stored in waiting:
                _tell(stored, on_record)


def jobs(
    plan: Plan,
    methods: Sequence[Method],
    items: Iterable[Item],
    begun: Callable[[Item], None] = lambda _: None,
    plans: Sequence[Plan] = (),
    iterated: Callable[[], None] = lambda: None,
) -> Iterator[Job[Prediction]]:
    """What a broker runs for some items, in their order.

    Args:
        plan: where samples come from.
        methods: of the variants.
        items: what is to be computed.
        begun: told of each when it begins.
        plans: of each variant, where their seeds or prompts differ.
        iterated: called after each iteration of any.
    """
    for item in items:
        own = plans[item.variant] if plans else plan
        start = _start(own, methods[item.variant], item, begun, iterated)
        yield Job(item, start, owner=item.variant, topic=item.sample.topic)


def product(outcome: Outcome[Prediction], keep: Keep) -> Product:
    """What is stored of an outcome; ``keep`` as in :class:`int_bench.runs.folder.RunFolder`."""
    item = outcome.key
    assert isinstance(item, Item)
    return Product(item.variant, _record(item, outcome), encoded(outcome.value, keep))


def unfinished(plan: Plan, variants: Sequence[Variant]) -> Iterator[Item]:
    """Sample by sample, so that what the variants and trials share is still remembered."""
    for sample in plan.samples:
        for trial in range(plan.trials):
            for index, variant in enumerate(variants):
                if not variant.folder.finished((trial, sample.id)):
                    yield Item(index, trial, sample)


def _tell(
    stored: Future[list[tuple[Variant, Record]]], on_record: Callable[[Variant, Record], None]
) -> None:
    for variant, record in stored.result():
        on_record(variant, record)


def _store(
    variants: Sequence[Variant], arrived: deque[Outcome[Prediction]], observe: Observer | None
) -> list[tuple[Variant, Record]]:
    """Store all that has arrived by now, flushed together: what it belongs to, and its record."""
    started, items = time.perf_counter(), dict[int, list[tuple[Record, Files]]]()
    while arrived:
        made = product(arrived.popleft(), variants[0].folder.keep)
        items.setdefault(made.variant, []).append((made.record, made.files))
    stored = []
    for index, of in items.items():
        records = variants[index].folder.commit_all(of)
        stored += [(variants[index], record) for record in records]
    share = (time.perf_counter() - started) / max(len(stored), 1)
    for number, (_, record) in enumerate(stored):
        if observe is not None:
            observe("storage", record.id, started + number * share, share, {})
    return stored


def _start(
    plan: Plan,
    method: Method,
    item: Item,
    begun: Callable[[Item], None],
    iterated: Callable[[], None],
) -> Callable[[Ask], Any]:
    async def segment(ask: Ask) -> Prediction:
        begun(item)
        return await method.segment(_sample(plan, method, item, iterated), ask)

    return segment


def _sample(plan: Plan, method: Method, item: Item, iterated: Callable[[], None]) -> Sample:
    """The sample as a method sees it; the ground truth is decoded for oracle methods only."""
    wants_truth = bool(getattr(method, "wants_truth", False))
    return Sample(
        id=item.sample.id,
        image=Picture(plan.dataset.load_image(item.sample)),
        task=plan.task_prompt,
        seed=derive_seed(plan.seed, item.trial, item.sample.id),
        truth=plan.dataset.load_mask(item.sample) if wants_truth else None,
        truth_name=item.sample.truth_name if wants_truth else None,
        traced=plan.traced,
        iterated=iterated,
        objects=objects_of(plan.dataset, item.sample) if wants_truth else (),
    )


def _record(item: Item, outcome: Outcome[Prediction]) -> Record:
    prediction = outcome.value
    if prediction is None:
        bare = Record(item.sample.id, item.trial, FAILED, error=_sentence(outcome.error))
    else:
        final = prediction.final
        bare = Record(
            item.sample.id,
            item.trial,
            OK,
            size=(final.masks.hard.shape[0], final.masks.hard.shape[1]),
            prompt=final.prompt,
            box=final.box_image,
            chosen=prediction.chosen,
            iterations=tuple(_described(item) for item in prediction.iterations),
        )
    return replace(bare, seconds=outcome.seconds, counters=outcome.counters)


def _described(item: Iteration) -> Step:
    details = item.details
    if item.pictures:
        details = {**details, "pictures": places(item.pictures)}
    return Step(item.prompt, item.box_image, details)


def _sentence(error: Exception | None) -> str:
    """One line: a sample's own error as it is, anything else with its type."""
    if error is None:
        return "The method gave no prediction."
    text = " ".join(str(error).split())[:500]
    return text if isinstance(error, SampleError) else f"{type(error).__name__}: {text}"
