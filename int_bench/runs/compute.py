"""What is not finished of some runs, computed over one set of models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field

from int_bench.config import RunConfig, build_backbones
from int_bench.config.schedule import schedule
from int_bench.core.protocols import Backbone, Method
from int_bench.engine.broker import Broker
from int_bench.engine.serving import Observer
from int_bench.engine.work import Sharing, Tally, Work, work_of
from int_bench.runs.check import said
from int_bench.runs.execute import Variant, run
from int_bench.runs.prepare import Prepared
from int_bench.runs.records import Record

OnRecord = Callable[[Variant, Record], None]
"""Told of every record that has been stored."""
Watch = Callable[[int, int], AbstractContextManager[OnRecord]]
"""Told how many samples, over trials and runs, there are and were done before."""


@dataclass(frozen=True)
class Done:
    """What running has cost: the broker's counters, the models' work, what variants shared.

    ``mended`` says what was torn, gone or changed, and was mended or computed again.
    """

    counters: dict[str, int] = field(default_factory=dict)
    work: Work = field(default_factory=Work)
    sharing: Sharing = field(default_factory=Sharing)
    mended: tuple[str, ...] = ()


@contextmanager
def unwatched(total: int, done: int) -> Iterator[OnRecord]:
    """A :data:`Watch` that looks at nothing."""
    yield lambda variant, record: None


def compute(
    runs: Sequence[Prepared],
    methods: Sequence[Method],
    config: RunConfig,
    watch: Watch = unwatched,
    observe: Observer | None = None,
) -> Done:
    """Run what is not finished, sample by sample over one broker, and mend what is torn.

    Args:
        runs: what is asked for, of one data set.
        methods: their methods, built.
        config: the first of them, with the models of all.
        watch: told of the progress.
        observe: told of every call, step and stored sample.

    Raises:
        UserError: An error that every sample would meet; all finished samples are stored.
    """
    total = sum(len(prepared.keys) for prepared in runs)
    done = sum(prepared.standing().done for prepared in runs)
    if done == total:
        for prepared in runs:
            prepared.settle()
        return Done()
    backbones = build_backbones(config)
    broker = _broker(config, backbones, observe)
    models = {role: dict(backbone.identity) for role, backbone in backbones.items()}
    with ExitStack() as stack:
        variants = [
            Variant(prepared.label, method, stack.enter_context(prepared.open(models)))
            for prepared, method in zip(runs, methods, strict=True)
        ]
        tallies = {variant.name: Tally() for variant in variants}
        mended = [f"{v.name}: {said(d, v.folder.path)}" for v in variants for d in v.folder.damages]
        on_record = stack.enter_context(watch(total, done))

        def count(variant: Variant, record: Record) -> None:
            tallies[variant.name].add(record.counters)
            on_record(variant, record)

        run(runs[0], variants, broker, count, observe)
    images = sum(tally.images for tally in tallies.values())
    work = work_of(images, broker.counters, broker.seconds)
    return Done(broker.counters, work, Sharing(tallies), tuple(mended))


def _broker(config: RunConfig, backbones: dict[str, Backbone], observe: Observer | None) -> Broker:
    using = schedule(config, backbones)
    return Broker(
        backbones,
        max_batch=using.max_batch,
        memo_bytes=config.memo_mb * 2**20,
        in_flight=using.in_flight,
        overlap=using.overlap,
        observe=observe,
    )
