"""``executor=inline``: this process computes, sample by sample over one broker."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import ClassVar

from int_bench.config import RunConfig, build_backbones
from int_bench.config.needs.devices import idle
from int_bench.config.schedule import schedule
from int_bench.core.protocols import Backbone, Method
from int_bench.engine.broker import Broker
from int_bench.engine.serving import Observer
from int_bench.engine.work import Sharing, Tally, work_of
from int_bench.runs.execute import Variant, run
from int_bench.runs.executors.compute import (
    Done,
    Listeners,
    host_of,
    mended_of,
    of_one_kind,
    refuse_other_devices,
)
from int_bench.runs.executors.status import Pulse
from int_bench.runs.kept.work import Clock, Sitting
from int_bench.runs.prepare import Prepared
from int_bench.runs.records import Record


@dataclass(frozen=True)
class Inline:
    """One process, one device.

    Attributes:
        mixed: whether a run may go on on another kind of device than it was begun on.
    """

    attaches: ClassVar[bool] = False

    mixed: bool = False

    def compute(
        self,
        runs: Sequence[Prepared],
        methods: Sequence[Method],
        config: RunConfig,
        listeners: Listeners,
    ) -> Done:
        """See :func:`int_bench.runs.executors.compute.compute`."""
        if sentence := idle(config.backbone):
            listeners.tell(sentence)
        clock = Clock(config, len(runs))
        backbones = build_backbones(config)
        clock.watch(backbones.values())
        if of_one_kind(config, self.mixed):
            refuse_other_devices(host_of(config), listeners.devices)
        broker = broker_of(config, backbones, listeners.observe)
        models = {role: dict(backbone.identity) for role, backbone in backbones.items()}
        with ExitStack() as stack:
            variants = [
                Variant(prepared.label, method, stack.enter_context(prepared.open(models)))
                for prepared, method in zip(runs, methods, strict=True)
            ]
            tallies = {variant.name: Tally() for variant in variants}
            mended = mended_of(variants)
            on_record = stack.enter_context(listeners.watch())
            folders = [variant.folder.path for variant in variants]
            sitting = stack.enter_context(Sitting(folders, lambda images: [clock.read(images)]))
            pulse = stack.enter_context(Pulse(folders))

            def count(variant: Variant, record: Record) -> None:
                tallies[variant.name].add(record.counters)
                sitting.count(variants.index(variant), record)
                pulse.end(variants.index(variant), record.key)
                on_record(variant, record)

            run(runs[0], variants, broker, count, listeners.observe, runs, pulse.begin)
        images = sum(tally.images for tally in tallies.values())
        work = work_of(images, broker.counters, broker.seconds)
        spent = tuple(sitting.spent)
        return Done(broker.counters, work, Sharing(tallies), mended, spent)


def broker_of(
    config: RunConfig,
    backbones: dict[str, Backbone],
    observe: Observer | None = None,
    alone: bool = False,
) -> Broker:
    """The broker of a process, as the configuration's schedule has it; ``alone``: no batches."""
    using = schedule(config, backbones)
    return Broker(
        backbones,
        max_batch=using.max_batch,
        memo_bytes=config.memo_mb * 2**20,
        in_flight=1 if alone else using.in_flight,
        overlap=using.overlap and not alone,
        observe=observe,
    )
