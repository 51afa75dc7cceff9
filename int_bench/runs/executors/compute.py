"""What is not finished of some runs, computed by the executor that the configuration names."""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial

from int_bench.config import RunConfig, build
from int_bench.core.protocols import Method
from int_bench.engine.serving import Observer
from int_bench.engine.work import Sharing, Work
from int_bench.errors import UsageError
from int_bench.runs.check import said
from int_bench.runs.execute import Variant
from int_bench.runs.executors import Executor
from int_bench.runs.executors.arrays import absorb
from int_bench.runs.folder import describe
from int_bench.runs.kept.standing import Standing
from int_bench.runs.kept.work import Spent
from int_bench.runs.manifest import read_manifest
from int_bench.runs.preflight.stamps import MIXED
from int_bench.runs.prepare import Prepared
from int_bench.runs.provenance import device
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
        devices: kinds of device that what is done was computed on.
    """

    watch: Callable[[], AbstractContextManager[OnRecord]]
    left: int
    observe: Observer | None
    tell: Callable[[str], None]
    devices: frozenset[str] = frozenset()


UNHEARD = Listeners(partial(unwatched, 0, 0), 0, None, lambda sentence: None)
"""Nobody listens."""


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


def mended_of(variants: Sequence[Variant]) -> tuple[str, ...]:
    """What was torn, gone or changed in open folders, and is mended or computed again."""
    return tuple(
        f"{variant.name}: {said(damage, variant.folder.path)}"
        for variant in variants
        for damage in variant.folder.damages
    )


def host_of(config: RunConfig) -> dict[str, str]:
    """This machine's name, and the kind of device that the models compute on in this process."""
    return {"name": platform.node(), "device": device(config.backbone)}


def shards_of(runs: Sequence[Prepared]) -> int:
    """Files that the records of runs are spread over, by which work is handed out.

    Raises:
        UsageError: they were begun with different numbers.
    """
    numbers = {run.shards: run for run in runs}
    if len(numbers) > 1:
        said = " and ".join(f"{run.path} with {count}" for count, run in numbers.items())
        raise UsageError(f"These runs were begun with other shards, {said}; run them one by one.")
    return runs[0].shards


def of_one_kind(config: RunConfig, mixed: bool) -> bool:
    """Whether all samples of a run must be computed on one kind of device.

    In E0 no device decides a bit.
    """
    return not mixed and config.exactness != "E0"


def refuse_other_devices(host: Mapping[str, str], before: Collection[str]) -> None:
    """Outside E0 a run goes on on the kind of device that it was begun on.

    Args:
        host: see :func:`host_of`.
        before: kinds of device that what is done was computed on.

    Raises:
        UsageError: there is another one among them.
    """
    others = sorted(set(before) - {host["device"]})
    if others:
        raise UsageError(
            f"{host['name']} computes on {host['device']}, and what is done already was computed "
            f"on {' and '.join(others)}; they agree up to rounding only. Go on where it was begun, "
            "or say executor.mixed=true."
        )


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
    own = [prepared.path for prepared in runs]
    for path in own:
        absorb(path, executor.attaches, own, tell)
    total = sum(len(prepared.keys) for prepared in runs)
    standings = [prepared.standing() for prepared in runs]
    for prepared, standing in zip(runs, standings, strict=True):
        _tell_of(prepared, standing, config, tell)
    done = sum(standing.done for standing in standings)
    if done == total:
        for prepared, standing in zip(runs, standings, strict=True):
            prepared.settle()
            _stamp(prepared, standing.devices)
        return Done()
    devices = frozenset[str]().union(*(standing.devices for standing in standings))
    listeners = Listeners(partial(watch, total, done), total - done, observe, tell, devices)
    cost = executor.compute(runs, methods, config, listeners)
    if executor.mixed:
        for prepared in runs:
            _stamp(prepared, prepared.standing().devices)
    return cost


def _tell_of(
    run: Prepared, standing: Standing, config: RunConfig, tell: Callable[[str], None]
) -> None:
    """What stays as it was begun, whatever is asked for now."""
    if standing.lacking and not config.refill:
        tell(
            f"{run.label}: {standing.lacking} images were finished before with less than"
            " keep asks for and stay so; refill=true computes them again."
        )
    if config.executor.get("shards") not in (None, run.shards):
        tell(f"{run.path} was begun with {run.shards} shards and keeps them.")


def _stamp(run: Prepared, devices: Collection[str]) -> None:
    """Have every table say that a run's samples were computed on different kinds of device."""
    if len(devices) < 2 or run.config.exactness == "E0" or not run.writable:
        return
    content = read_manifest(run.path).content
    others = [stamp for stamp in content["stamps"] if not str(stamp).startswith(MIXED)]
    stamp = f"{MIXED}: {' and '.join(sorted(devices))}, which agree up to rounding only"
    describe(run.path, {**content, "stamps": [*others, stamp]})
