"""A worker: the run loop of one process over what it is handed, wherever that process is."""

from __future__ import annotations

import pickle
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from int_bench import errors
from int_bench.config import RunConfig, build_backbones, build_method
from int_bench.config.building import trust
from int_bench.config.exactness import pinned
from int_bench.errors import UsageError, UserError
from int_bench.runs.execute import Item, Product, jobs, product
from int_bench.runs.executors.compute import host_of
from int_bench.runs.executors.inline import broker_of
from int_bench.runs.kept.work import Clock, Spent
from int_bench.runs.prepare import Prepared, prepare
from int_bench.runs.provenance import code
from int_bench.runs.records import OK
from int_bench.runs.variants import RunRequest

Wanted = tuple[int, int, str]
"""An item as it travels: variant, trial, sample id."""
Event = tuple[str, str, float, float, Mapping[str, Any]]
"""What an observer is told, its start in seconds since 1970."""


@dataclass(frozen=True)
class Order:
    """What workers compute.

    Attributes:
        requests: the runs, by variant.
        config: the first one's, with the models of all.
        digests: the names of their folders, which must be the same wherever they are worked out.
        profile: whether calls, steps and storage are told of.
    """

    requests: tuple[RunRequest, ...]
    config: RunConfig
    digests: tuple[str, ...]
    profile: bool = False

    @classmethod
    def of(cls, runs: Sequence[Prepared], config: RunConfig, profile: bool) -> Order:
        """The order for some runs; what ``auto`` devices are is decided here, as all else is."""
        digests = tuple(run.path.name for run in runs)
        requests = tuple(
            replace(run.request, config=_with_devices(run.request.config)) for run in runs
        )
        return cls(requests, _with_devices(config), digests, profile)

    def sealed(self) -> Sealed:
        """The order as it travels."""
        return Sealed(_version(), pickle.dumps(self))


@dataclass(frozen=True)
class Sealed:
    """An order that only the same version opens."""

    version: str
    content: bytes

    def opened(self) -> Order:
        """The order.

        Raises:
            UsageError: this worker is of another version.
        """
        if self.version != _version():
            raise UsageError(
                f"The worker on {platform.node()} has int-bench {_version()} and this command is "
                f"{self.version}; install the same on every machine."
            )
        order = pickle.loads(self.content)
        assert isinstance(order, Order)
        return order


@dataclass(frozen=True)
class Hello:
    """What a worker says of itself before it begins.

    Attributes:
        host: the machine's name.
        device: what it computes on.
        models: by role what the models say of themselves.
    """

    host: str
    device: str
    models: Mapping[str, Mapping[str, Any]]


@dataclass
class Batch:
    """What a worker hands back: products, what they have cost, and what it met.

    Attributes:
        products: in the order in which they were finished.
        counters: of the broker and the models.
        seconds: inside the models' calls, by role.
        events: what an observer would have been told.
        error: what every sample would meet: class and sentence; None if nothing.
        spent: what the images of it took.
    """

    products: list[Product] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    error: tuple[str, str] | None = None
    spent: tuple[Spent, ...] = ()

    def check(self) -> None:
        """Raise what the worker met.

        Raises:
            UserError: every sample would meet it.
        """
        if self.error is not None:
            name, sentence = self.error
            raise getattr(errors, name, UserError)(sentence)


class Worker:
    """One process with its models.

    Args:
        sealed: what is to be computed.

    Raises:
        UserError: of another version, or the same configuration is another run on this machine.
    """

    def __init__(self, sealed: Sealed) -> None:
        self.order = order = sealed.opened()
        for request in order.requests:
            for node in (request.config.dataset, request.config.backbone, request.config.method):
                trust(node)
        self.runs = prepare(order.requests)
        self._check_digests()
        self.host = host_of(order.config)
        self.samples = {sample.id: sample for sample in self.runs[0].samples}
        self._methods = [build_method(request.config) for request in order.requests]
        self._backbones = build_backbones(order.config)
        self._counted: Counter[str] = Counter()

    def _check_digests(self) -> None:
        for run, digest in zip(self.runs, self.order.digests, strict=True):
            if run.path.name != digest:
                raise UsageError(
                    f"On {platform.node()} {run.label} is run {run.path.name}, and {digest} where "
                    "the command was given: data, models or configuration differ; make them the "
                    "same on every machine."
                )

    @property
    def hello(self) -> Hello:
        """What it says before it begins."""
        models = {role: dict(backbone.identity) for role, backbone in self._backbones.items()}
        return Hello(self.host["name"], self.host["device"], models)

    def work(self, wanted: Sequence[Wanted], alone: bool = False) -> Batch:
        """Compute items together, in their order, and with nothing from before.

        What shares a batch, and what is remembered, depends on the items alone.

        Args:
            wanted: what is to be computed.
            alone: one item at a time.
        """
        batch = Batch()
        try:
            batch.products.extend(self.products(wanted, batch, alone=alone))
        except UserError as error:
            batch.error = (type(error).__name__, str(error))
        return batch

    def products(
        self,
        wanted: Sequence[Wanted],
        batch: Batch,
        begun: Callable[[Item], None] = lambda _: None,
        alone: bool = False,
    ) -> Iterator[Product]:
        """As :meth:`work`, one by one; ``batch`` receives all but the products.

        Raises:
            UserError: what every sample would meet.
        """
        items = [Item(variant, trial, self.samples[name]) for variant, trial, name in wanted]
        shift = time.time() - time.perf_counter()

        def observe(
            track: str, name: str, start: float, seconds: float, known: Mapping[str, Any]
        ) -> None:
            batch.events.append((track, name, start + shift, seconds, dict(known)))

        observer = observe if self.order.profile else None
        broker = broker_of(self.order.config, self._backbones, observer, alone)
        plan = self.runs[0]
        clock, images = Clock(self.order.config, len(self.runs)), 0
        clock.watch(self._backbones.values())
        try:
            for outcome in broker.run(jobs(plan, self._methods, items, begun)):
                made = product(outcome, self.order.config.keep)
                images += made.record.status == OK
                yield replace(made, record=replace(made.record, host=self.host))
        finally:
            counted = Counter(broker.counters)
            own = {key: n for key, n in counted.items() if key.count(".") == 1}
            batch.counters = {key: n - self._counted[key] for key, n in counted.items()}
            self._counted = Counter(own)
            batch.seconds = broker.seconds
            batch.spent = (clock.read(images),)


def _with_devices(config: RunConfig) -> RunConfig:
    return replace(config, backbone=pinned(config.backbone))


def _version() -> str:
    """Version and, in a checkout, revision."""
    known = code()
    git = known["git"] or {}
    return " ".join(filter(None, (known["version"], git.get("revision"))))
