"""What is not finished of some runs, computed by the executor that the configuration names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial

from int_bench.config import RunConfig, build
from int_bench.core.protocols import Method
from int_bench.engine.serving import Observer
from int_bench.engine.work import Sharing, Work
from int_bench.runs.execute import Variant
from int_bench.runs.executors import Executor
from int_bench.runs.executors.arrays import absorb
from int_bench.runs.kept.work import Spent
from int_bench.runs.prepare import Prepared
from int_bench.runs.records import Record

OnRecord = Callable[[Variant, Record], None]
"""Told of every record that has been stored."""
Watch = Callable[[int, int], AbstractContextManager[OnRecord]]
"""Told how many samples, over trials and runs, there are and were done before."""


@contextmanager
def unwatched(total: int, done: int) -> Iterator[OnRecord]:
    """A :data:`Watch` that looks at nothing."""
    yield lambda variant, record: None


@dataclass(frozen=True)
class Listeners:
    """Who is told of what while it happens.

    Attributes:
        watch: of the progress; entered once what was done before has been counted.
        left: samples, over trials and runs, that are to be done.
        observe: of every call, step and stored sample; None if nobody is.
        tell: what a user should know at once, in a sentence.
    """

    watch: Callable[[], AbstractContextManager[OnRecord]]
    left: int
    observe: Observer | None
    tell: Callable[[str], None]


@dataclass(frozen=True)
class Done:
    """What running has cost: the broker's counters, the models' work, what variants shared.

    ``mended`` says what was torn, gone or changed, and was mended or computed again; ``spent`` how
    fast the images were made and on what, a part for each kind of device.
    """

    counters: dict[str, int] = field(default_factory=dict)
    work: Work = field(default_factory=Work)
    sharing: Sharing = field(default_factory=Sharing)
    mended: tuple[str, ...] = ()
    spent: tuple[Spent, ...] = ()


def compute(
    runs: Sequence[Prepared],
    methods: Sequence[Method],
    config: RunConfig,
    watch: Watch = unwatched,
    observe: Observer | None = None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> Done:
    """Run what is not finished, and mend what is torn.

    Args:
        runs: what is asked for, of one data set.
        methods: their methods, built.
        config: the first of them, with the models of all.
        watch: told of the progress.
        observe: told of every call, step and stored sample.
        tell: told what a user should know at once.

    Raises:
        UserError: what every sample would meet; all finished samples are stored.
    """
    executor: Executor = build(config.executor, "executor")
    for prepared in runs:
        absorb(prepared.path, executor.attaches)
    total = sum(len(prepared.keys) for prepared in runs)
    standings = [prepared.standing() for prepared in runs]
    for prepared, standing in zip(runs, standings, strict=True):
        if standing.lacking and not config.refill:
            tell(
                f"{prepared.label}: {standing.lacking} images were finished before with less than"
                " keep asks for and stay so; refill=true computes them again."
            )
    done = sum(standing.done for standing in standings)
    if done == total:
        for prepared in runs:
            prepared.settle()
        return Done()
    listeners = Listeners(partial(watch, total, done), total - done, observe, tell)
    return executor.compute(runs, methods, config, listeners)
