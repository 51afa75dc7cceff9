"""The broker: runs one coroutine per image and turns their requests into batched model calls.

A method is written for ONE image. Wherever it awaits a request, the broker may let other images run
until each of them waits too; then it takes the fullest queue, calls that backbone once with the
whole batch, and resumes the coroutines. Equal requests are computed once, in flight and later. The
schedule depends on the order of the jobs alone: no clock and no race decides what is in a batch.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import (
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field, fields
from typing import Any, Generic, TypeVar

import numpy as np

from int_bench.errors import OutOfMemory, SampleError, UserError
from int_bench.protocols import Ask, Backbone
from int_bench.types import Picture, Request, Stencil

A = TypeVar("A")
R = TypeVar("R")
Queue = tuple[str, str]
"""The role and the verb that serve a request."""


@dataclass(frozen=True)
class Job(Generic[R]):
    """One unit of work: ``start`` is called when the job is admitted, not before."""

    key: Hashable
    start: Callable[[Ask], Coroutine[Any, Any, R]]


@dataclass(frozen=True)
class Outcome(Generic[R]):
    """What became of a job: its value or its error, its own counters, and seconds by role."""

    key: Hashable
    value: R | None
    error: Exception | None
    counters: dict[str, int]
    seconds: dict[str, float]


class _Call(Generic[A]):
    """Awaiting it hands a request to the broker."""

    def __init__(self, request: Request[A]) -> None:
        self.request = request

    def __await__(self) -> Generator[_Call[A], A, A]:
        return (yield self)


class _Gather(Generic[A]):
    """Awaiting it runs coroutines side by side."""

    def __init__(self, coroutines: Sequence[Awaitable[A]]) -> None:
        self.coroutines = coroutines

    def __await__(self) -> Generator[_Gather[A], list[A], list[A]]:
        return (yield self)


async def _wrap(awaitable: Awaitable[A]) -> A:
    return await awaitable


def gather(awaitables: Iterable[Awaitable[A]]) -> Awaitable[list[A]]:
    """Run awaitables of one image side by side; their answers in the given order.

    The first error is raised and the others are dropped.
    """
    return _Gather(list(awaitables))


def key_of(request: Request[Any]) -> Hashable:
    """What identifies a request: its type and fields, images and masks by content digest."""
    values = (getattr(request, item.name) for item in fields(request))  # type: ignore[arg-type]
    return type(request), *(v.digest if isinstance(v, Picture | Stencil) else v for v in values)


@dataclass
class _Root:
    """A job in flight, and what it has cost so far."""

    key: Hashable
    counters: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))


@dataclass(eq=False)
class _Join:
    """A task that waits for the children it gathered."""

    parent: _Task
    answers: list[Any]
    left: int
    failed: bool = False


@dataclass(eq=False)
class _Task:
    coroutine: Coroutine[Any, Any, Any]
    root: _Root
    join: _Join | None = None
    slot: int = 0

    @property
    def dropped(self) -> bool:
        """Whether a sibling's error has made this task's answer useless."""
        join = self.join
        return join is not None and (join.failed or join.parent.dropped)


class _Memo:
    """Answers by request, the least recently used dropped beyond a byte budget."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._held = 0
        self._answers: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def find(self, key: Hashable) -> tuple[Any, int] | None:
        found = self._answers.get(key)
        if found is not None:
            self._answers.move_to_end(key)
        return found

    def keep(self, key: Hashable, answer: Any) -> None:
        size = _size_of(answer) + 256
        self._answers[key] = (answer, size)
        self._held += size
        while self._held > self._budget and self._answers:
            _, (_, dropped) = self._answers.popitem(last=False)
            self._held -= dropped


def _size_of(answer: Any) -> int:
    if isinstance(answer, np.ndarray):
        return int(answer.nbytes)
    arrays = (v for v in vars(answer).values()) if hasattr(answer, "__dict__") else ()
    return sum(int(v.nbytes) for v in arrays if isinstance(v, np.ndarray))


class Broker:
    """Batches, memoises and counts the model calls of many images.

    Args:
        backbones: the models by role.
        max_batch: most requests in one call, for all roles or by role. 1 makes every answer
            independent of what else is in flight (exactness class E0).
        memo_bytes: budget for remembered answers.
        in_flight: most jobs that run side by side.
    """

    def __init__(
        self,
        backbones: Mapping[str, Backbone],
        max_batch: Mapping[str, int] | int = 1,
        memo_bytes: int = 512 * 2**20,
        in_flight: int = 4,
    ) -> None:
        self._backbones = backbones
        self._limits = {
            role: max_batch if isinstance(max_batch, int) else max_batch.get(role, 1)
            for role in backbones
        }
        self._memo = _Memo(memo_bytes)
        self._in_flight = in_flight
        self._queues: dict[Queue, deque[tuple[Hashable, Request[Any]]]] = {}
        self._waiting: dict[Hashable, list[_Task]] = {}
        self._ready: deque[tuple[_Task, Any, Exception | None]] = deque()
        self._done: deque[Outcome[Any]] = deque()
        self._counters: Counter[str] = Counter()

    @property
    def counters(self) -> dict[str, int]:
        """Totals by role and verb: requests, hits, calls, rows, and what the backbones counted."""
        totals = Counter(self._counters)
        for role, backbone in self._backbones.items():
            totals.update({f"{role}.{name}": n for name, n in backbone.counters.items()})
        return dict(sorted(totals.items()))

    def run(self, jobs: Iterable[Job[R]]) -> Iterator[Outcome[R]]:
        """Run all jobs; yield each outcome as soon as it is there.

        A job's own error is part of its outcome. An error that every job would meet (a missing
        checkpoint, say) is raised.
        """
        source = iter(jobs)
        active: set[Hashable] = set()
        more = True
        while more or active:
            while more and len(active) < self._in_flight:
                job = next(source, None)
                more = job is not None
                if job is not None:
                    active.add(job.key)
                    root = _Root(job.key)
                    self._ready.append((_Task(job.start(_Call), root), None, None))
            self._step_all()
            while self._done:
                outcome = self._done.popleft()
                active.discard(outcome.key)
                yield outcome
            if active and not self._ready:
                self._call_fullest()

    def _step_all(self) -> None:
        while self._ready:
            task, value, error = self._ready.popleft()
            if task.dropped:
                task.coroutine.close()
            else:
                self._step(task, value, error)

    def _step(self, task: _Task, value: Any, error: Exception | None) -> None:
        try:
            effect = task.coroutine.throw(error) if error else task.coroutine.send(value)
        except StopIteration as stop:
            self._finish(task, stop.value, None)
        except UserError as failure:
            if not isinstance(failure, SampleError):
                raise
            self._finish(task, None, failure)
        except Exception as failure:
            self._finish(task, None, failure)
        else:
            self._perform(task, effect)

    def _perform(self, task: _Task, effect: _Call[Any] | _Gather[Any]) -> None:
        if isinstance(effect, _Call):
            self._enqueue(task, effect.request)
            return
        join = _Join(task, [None] * len(effect.coroutines), len(effect.coroutines))
        if not effect.coroutines:
            self._ready.append((task, [], None))
        for slot, awaitable in enumerate(effect.coroutines):
            self._ready.append((_Task(_wrap(awaitable), task.root, join, slot), None, None))

    def _finish(self, task: _Task, value: Any, error: Exception | None) -> None:
        join, root = task.join, task.root
        if join is None:
            counters, seconds = dict(root.counters), dict(root.seconds)
            self._done.append(Outcome(root.key, value, error, counters, seconds))
        elif error is not None:
            join.failed = True
            self._ready.append((join.parent, None, error))
        else:
            join.answers[task.slot] = value
            join.left -= 1
            if join.left == 0:
                self._ready.append((join.parent, join.answers, None))

    def _enqueue(self, task: _Task, request: Request[Any]) -> None:
        key, label = key_of(request), f"{request.role}.{request.verb}"
        self._count(task.root, f"{label}.requests", 1)
        found = self._memo.find(key)
        if found is not None:
            self._count(task.root, f"{label}.hits", 1)
            self._ready.append((task, found[0], None))
        elif key in self._waiting:
            self._count(task.root, f"{label}.hits", 1)
            self._waiting[key].append(task)
        else:
            self._waiting[key] = [task]
            self._queues.setdefault((request.role, request.verb), deque()).append((key, request))

    def _call_fullest(self) -> None:
        queue = max(self._queues, key=lambda name: len(self._queues[name]))
        waiting, limit = self._queues[queue], self._limits.get(queue[0], 1)
        batch = [waiting.popleft() for _ in range(min(limit, len(waiting)))]
        for (key, _), (answer, error) in zip(batch, self._serve(queue, batch), strict=True):
            if error is None:
                self._memo.keep(key, answer)
            for task in self._waiting.pop(key):
                self._ready.append((task, answer, error))

    def _serve(
        self, queue: Queue, batch: list[tuple[Hashable, Request[Any]]]
    ) -> list[tuple[Any, Exception | None]]:
        """Answers of a batch; on failure in halves, so that one bad request fails alone."""
        role, verb = queue
        started = time.perf_counter()
        try:
            answers = getattr(self._backbones[role], verb)([request for _, request in batch])
        except OutOfMemory:
            self._limits[role] = max(1, len(batch) // 2)
            failure: Exception = SampleError(
                f"The {role} ran out of memory on a single request; use a smaller model or image."
            )
        except SampleError as error:
            failure = error
        except UserError:
            raise
        except Exception as error:
            failure = error
        else:
            self._account(queue, batch, time.perf_counter() - started)
            if len(answers) != len(batch):
                raise RuntimeError(f"{role}.{verb} gave {len(answers)} answers to {len(batch)}.")
            return [(answer, None) for answer in answers]
        if len(batch) == 1:
            return [(None, failure)]
        middle = len(batch) // 2
        return self._serve(queue, batch[:middle]) + self._serve(queue, batch[middle:])

    def _account(
        self, queue: Queue, batch: list[tuple[Hashable, Request[Any]]], seconds: float
    ) -> None:
        label = ".".join(queue)
        self._counters[f"{label}.calls"] += 1
        for key, _ in batch:
            root = self._waiting[key][0].root
            self._count(root, f"{label}.rows", 1)
            root.seconds[queue[0]] += seconds / len(batch)

    def _count(self, root: _Root, name: str, number: int) -> None:
        self._counters[name] += number
        root.counters[name] += number
