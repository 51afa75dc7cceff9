"""``executor=ray``: workers of Ray compute, this process stores.

The one writer is the driver, so nothing is asked of a shared file system. In exactness class E0 a
unit of work is a sample; otherwise it is a shard as a whole, so that the same samples share batches
however many workers there are.
"""

from __future__ import annotations

import os
import socket
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, ClassVar, Literal

from int_bench.config import RunConfig
from int_bench.config.exactness import on_cuda
from int_bench.core.limits import Above, AtLeast, Count, Within
from int_bench.core.protocols import Method
from int_bench.errors import MissingAsset
from int_bench.runs.execute import Variant, unfinished
from int_bench.runs.executors.compute import Done, Listeners, of_one_kind, shards_of
from int_bench.runs.executors.crew import Crew, Limits
from int_bench.runs.executors.dispatch import Unit
from int_bench.runs.executors.gathering import Gathering
from int_bench.runs.executors.worker import Order, Wanted
from int_bench.runs.layout import shard_of
from int_bench.runs.prepare import Prepared

_ANSWER = 5.0
"""Seconds within which the head of a cluster takes a connection."""
_STORE = 256 * 2**20
"""Bytes of a local cluster's memory for what is on its way; masks are small."""


@dataclass(frozen=True)
class Ray:
    """Ray Core actors, one a device.

    Attributes:
        workers: how many at most; ``auto``: the cluster's GPUs, or its cores over ``threads``.
        threads: of a worker on a CPU.
        address: of a cluster's head, ``host:port`` or ``auto``; None starts Ray on this machine.
        sample_seconds: after which a sample is ended and recorded as failed.
        start_seconds: what a worker's first sample may take longer, for loading the models.
        mixed: whether workers may compute on different kinds of GPU.
        shards: files that a new run's records are spread over; outside E0 one worker takes all of
            a shard.
    """

    attaches: ClassVar[bool] = False
    LIBRARY: ClassVar[str] = "ray"

    workers: Annotated[int, AtLeast(1)] | Literal["auto"] = "auto"
    threads: Count = 1
    address: str | None = None
    sample_seconds: Annotated[float, Above(0)] = 3600
    start_seconds: Annotated[float, AtLeast(0)] = 900
    mixed: bool = False
    shards: Annotated[int, Within(1, 65536)] | None = None

    def compute(
        self,
        runs: Sequence[Prepared],
        methods: Sequence[Method],
        config: RunConfig,
        listeners: Listeners,
    ) -> Done:
        """See :func:`int_bench.runs.executors.compute.compute`."""
        shards_of(runs)
        order = Order.of(runs, config, profile=listeners.observe is not None)
        gpus = 1 if on_cuda(config.backbone) else 0
        limits = Limits(self.workers, self.threads, gpus, self.sample_seconds, self.start_seconds)
        with _unheard(), self._cluster() as ray, ExitStack() as stack:
            alike = of_one_kind(config, self.mixed)
            crew = Crew(ray, order, limits, listeners.devices if alike else None)
            stack.callback(crew.end)
            models = crew.meet(listeners.left)
            variants = [
                Variant(run.label, method, stack.enter_context(run.open(models)))
                for run, method in zip(runs, methods, strict=True)
            ]
            told = stack.enter_context(listeners.watch())
            gathering = Gathering(variants, told, listeners)
            stack.enter_context(gathering.pulse)
            crew.work(_units(runs[0], variants, config.exactness), gathering)
        return gathering.done()

    @contextmanager
    def _cluster(self) -> Iterator[Any]:
        """Ray, connected; disconnected at the end, and ended where it was started here."""
        ray = _library()
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        common = {"log_to_driver": False, "logging_level": "ERROR", "namespace": "int-bench"}
        try:
            if self.address:
                _refuse_silence(self.address)
                ray.init(address=self.address, **common)
            else:
                cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
                wanted = 1 if self.workers == "auto" else self.workers * self.threads
                ray.init(
                    address="local",
                    num_cpus=max(cores or os.cpu_count() or 1, wanted),
                    include_dashboard=False,
                    object_store_memory=_STORE,
                    **common,
                )
        except (ConnectionError, OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise MissingAsset(
                f"Ray does not start ({self.address or 'on this machine'}): {reason}; look at "
                "`ray status`, or leave executor=ray out."
            ) from error
        try:
            yield ray
        finally:
            ray.shutdown()


def _units(plan: Prepared, variants: Sequence[Variant], exactness: str) -> list[Unit]:
    """What is to be computed, in the order of the samples.

    In E0 a unit is what is left of a sample. Otherwise it is a shard of which something is left, as
    a whole: what is there already shares the batches again, and is not stored again.
    """
    left: list[Wanted] = [
        (item.variant, item.trial, item.sample.id) for item in unfinished(plan, variants)
    ]
    groups: defaultdict[object, list[Wanted]] = defaultdict(list)
    if exactness == "E0":
        for wanted in left:
            groups[wanted[2]].append(wanted)
    else:
        torn = {shard_of(wanted[1:], plan.shards) for wanted in left}
        for sample in plan.samples:
            for trial in range(plan.trials):
                shard = shard_of((trial, sample.id), plan.shards)
                if shard in torn:
                    groups[shard] += [(v, trial, sample.id) for v in range(len(variants))]
    begun = variants[0].folder.begun
    return [
        Unit(tuple(items), deaths=min(1, max(begun(item[1:]) for item in items)))
        for items in groups.values()
    ]


@contextmanager
def _unheard() -> Iterator[None]:
    """Ray tells of every dead worker on standard output, where the command's results go."""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):  # noqa: PTH123
        yield


def _library() -> Any:
    try:
        return import_module("ray")
    except ImportError as error:
        raise MissingAsset(
            "executor=ray needs Ray, which is not installed; install it with "
            "pip install 'int-bench[ray]'."
        ) from error


def _refuse_silence(address: str) -> None:
    """Ray itself waits for minutes where nobody answers."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER).close()
    except OSError as error:
        raise MissingAsset(
            f"No Ray cluster answers at {address} ({error.strerror or 'no answer'}); start one "
            "with `ray start --head`, or leave executor.address and RAY_ADDRESS out."
        ) from error
