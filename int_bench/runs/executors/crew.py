"""The actors of a run: hired, handed work, replaced when they die, ended when they hang."""

from __future__ import annotations

import faulthandler
import os
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from int_bench.errors import UsageError, UserError
from int_bench.runs.executors.compute import refuse_other_devices
from int_bench.runs.executors.dispatch import Dispatcher, Unit
from int_bench.runs.executors.gathering import Gathering
from int_bench.runs.executors.worker import Batch, Hello, Order, Sealed, Wanted, Worker
from int_bench.runs.layout import LOGS

_TICK = 0.5
"""Seconds between two looks at what hangs and at how large the cluster is."""
_BORN_DEAD = 3
"""Workers in a row that may die before they have begun."""


class Limits(NamedTuple):
    """How many workers there may be, what each takes, and how long a sample may."""

    workers: int | Literal["auto"]
    threads: int
    gpus: int
    sample_seconds: float
    start_seconds: float


class Printed(NamedTuple):
    """What a process has printed since it was last asked, and the file that holds all of it."""

    text: bytes
    file: str
    end: int


class Actor:
    """One process that computes; standard output and error go to a file of its own.

    Args:
        sealed: what is to be computed.
    """

    def __init__(self, sealed: Sealed) -> None:
        os.environ["INT_BENCH_TURNS"] = "1"  # several read the same weights
        os.environ["HF_HUB_OFFLINE"] = "1"  # the command has seen to it that all weights are here
        handle, self._path = tempfile.mkstemp(prefix="int-bench-worker-", suffix=".log")
        for stream in (1, 2):
            os.dup2(handle, stream)
        os.close(handle)
        faulthandler.enable(2)
        self._end = 0
        self._sealed = sealed

    def hello(self) -> tuple[Hello | Batch, Printed]:
        """What it says before it begins, or what it met."""
        try:
            self._worker = Worker(self._sealed)
        except UserError as error:
            return Batch(error=(type(error).__name__, str(error))), self._printed()
        return self._worker.hello, self._printed()

    def work(self, wanted: Sequence[Wanted], alone: bool) -> tuple[Batch, Printed]:
        """Compute items together; see :meth:`int_bench.runs.executors.worker.Worker.work`."""
        return self._worker.work(wanted, alone), self._printed()

    def _printed(self) -> Printed:
        with open(self._path, "rb") as file:  # noqa: PTH123
            file.seek(self._end)
            text = file.read()
        self._end += len(text)
        return Printed(text, self._path, self._end)


@dataclass
class _Member:
    """An actor: what it was asked and has not answered, first to last."""

    handle: Any
    answers: deque[Any]
    hello: Hello | None = None
    printed: Printed | None = field(default=None)


class Crew:
    """Actors of Ray that compute one order.

    Args:
        ray: the library, connected.
        order: what is computed.
        limits: how many workers, and how long.
        devices: kinds of device that what is done was computed on, with which and with each other
            all must agree; None if that does not matter.
    """

    def __init__(
        self, ray: Any, order: Order, limits: Limits, devices: frozenset[str] | None
    ) -> None:
        self._ray, self._limits, self._devices = ray, limits, devices
        self._sealed = ray.put(order.sealed())
        resources = {"num_cpus": limits.threads, "num_gpus": limits.gpus}
        self._actor = ray.remote(**resources, max_restarts=0, max_task_retries=0)(Actor)
        self._members: dict[str, _Member] = {}
        self._hired = self._born_dead = 0
        self._dead: list[str] = []

    def meet(self, most: int) -> Mapping[str, Mapping[str, Any]]:
        """Hire workers, ``most`` at most, and wait for the first.

        Returns:
            By role what its models say of themselves.

        Raises:
            UserError: it cannot begin: another version, another configuration, weights that lack.
        """
        while True:
            self._hire(most)
            self._wait()
            for name, _, _ in self._arrived():
                hello = self._members[name].hello if name in self._members else None
                if hello is not None:
                    return hello.models
            for name in self._dead:
                self._lose(name)
            self._dead.clear()

    def work(self, units: Iterable[Unit], gathering: Gathering) -> None:
        """Have units computed and stored.

        Raises:
            UserError: what every sample would meet; all that was finished is stored.
        """
        dispatcher = Dispatcher(units)
        while dispatcher.left:
            self._hire(dispatcher.left)
            self._hand_out(dispatcher, gathering)
            gathering.at_work(dispatcher.computing().values())
            self._wait()
            for name, batch, printed in self._arrived():
                gathering.log(name, printed.text)
                if batch is not None:
                    dispatcher.finished(name, time.monotonic())
                    gathering.at_work(dispatcher.computing().values())
                    gathering.store(name, [batch])
            self._bury(dispatcher, gathering)
            self._end_late(dispatcher, gathering)

    def end(self) -> None:
        """End all workers."""
        for member in self._members.values():
            self._ray.kill(member.handle)
            if member.printed is not None:
                Path(member.printed.file).unlink(missing_ok=True)

    def _hire(self, most: int) -> None:
        wanted = min(most, self._most())
        while len(self._members) < wanted:
            name = f"ray-{self._hired}"
            handle = self._actor.remote(self._sealed)
            self._members[name] = _Member(handle, deque([handle.hello.remote()]))
            self._hired += 1

    def _most(self) -> int:
        """Workers that the cluster has room for now; it may grow and shrink."""
        if self._limits.workers != "auto":
            return self._limits.workers
        there = self._ray.cluster_resources()
        if self._limits.gpus:
            return max(1, int(there.get("GPU", 0)))
        return max(1, int(there.get("CPU", 0)) // self._limits.threads)

    def _hand_out(self, dispatcher: Dispatcher, gathering: Gathering) -> None:
        handed = True
        while handed:  # one to each before anybody has two
            handed = False
            for name, member in self._members.items():
                unit = dispatcher.take(name, time.monotonic()) if member.hello else None
                if unit is not None:
                    gathering.suspect(unit)
                    answer = member.handle.work.remote(unit.items, unit.deaths > 0)
                    member.answers.append(answer)
                    handed = True

    def _wait(self) -> None:
        """Until something has arrived, or for a moment."""
        answers = [member.answers[0] for member in self._members.values() if member.answers]
        if answers:
            self._ray.wait(answers, num_returns=1, timeout=_TICK)
        else:
            time.sleep(_TICK)

    def _arrived(self) -> Iterable[tuple[str, Batch | None, Printed]]:
        """What has arrived, worker by worker in the order of asking; the dead are remembered."""
        lost = self._ray.exceptions
        for name, member in list(self._members.items()):
            while member.answers and self._ray.wait([member.answers[0]], timeout=0)[0]:
                try:
                    content, member.printed = self._ray.get(member.answers.popleft())
                except lost.RayTaskError:
                    raise
                except lost.RayError:
                    self._dead.append(name)
                    break
                if isinstance(content, Hello):
                    self._welcome(member, content)
                    yield name, None, member.printed
                elif member.hello is None:
                    content.check()
                else:
                    yield name, content, member.printed

    def _welcome(self, member: _Member, hello: Hello) -> None:
        """Refuse a device of another kind than the others'."""
        self._born_dead = 0
        member.hello = hello
        if self._devices is None:
            return
        refuse_other_devices({"name": hello.host, "device": hello.device}, self._devices)
        others = [other.hello for other in self._members.values() if other.hello]
        if others[0].device != hello.device:
            raise UsageError(
                f"{hello.host} computes on {hello.device} and {others[0].host} on "
                f"{others[0].device}, which agree up to rounding only; take machines of one kind, "
                "or say executor.mixed=true."
            )

    def _bury(self, dispatcher: Dispatcher, gathering: Gathering) -> None:
        for name in self._dead:
            self._keep_last_words(name, self._lose(name), gathering)
            unit = dispatcher.died(name)
            if unit is not None:
                said = f"It ended two workers that computed it; see {LOGS}/{name}.log."
                gathering.give_up(unit, said)
        self._dead.clear()

    def _lose(self, name: str) -> _Member:
        member = self._members.pop(name)
        self._born_dead += member.hello is None
        if self._born_dead >= _BORN_DEAD:
            raise UsageError(
                f"{_BORN_DEAD} workers died before they had begun; look at the logs of Ray, or try "
                "executor=inline."
            )
        return member

    def _end_late(self, dispatcher: Dispatcher, gathering: Gathering) -> None:
        limits = self._limits
        for name in dispatcher.late(time.monotonic(), limits.sample_seconds, limits.start_seconds):
            member = self._members.pop(name)
            self._ray.kill(member.handle)
            self._keep_last_words(name, member, gathering)
            unit = dispatcher.stopped(name)
            if unit is not None:
                allowed = f"executor.sample_seconds={limits.sample_seconds:g}"
                gathering.give_up(unit, f"It took longer than {allowed} and was ended.")

    @staticmethod
    def _keep_last_words(name: str, member: _Member, gathering: Gathering) -> None:
        """What a dead worker printed since it last answered, where its file is on this machine."""
        if member.printed is not None:
            with suppress(OSError):
                file = Path(member.printed.file)
                gathering.log(name, file.read_bytes()[member.printed.end :])
                file.unlink()
