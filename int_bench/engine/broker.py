"""The broker: runs one coroutine per image and turns their requests into batched model calls.

A method is written for ONE image. Wherever it awaits a request, the broker may let other images run
until each of them waits too; then it takes the fullest queue, calls that backbone once with the
whole batch, and resumes the coroutines. Equal requests are computed once, in flight and later. The
schedule depends on the order of the jobs alone: no clock and no race decides what is in a batch.
"""

from __future__ import annotations

import gc
import os
import time
from bisect import insort
from collections import Counter, defaultdict, deque
from collections.abc import (
    Awaitable,
    Coroutine,
    Generator,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
)
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Generic, TypeVar

from int_bench.core.protocols import Backbone, Gather
from int_bench.core.requests import Request, key_of
from int_bench.engine.heap import keep, trim
from int_bench.engine.jobs import Job, Outcome
from int_bench.engine.memo import Memo
from int_bench.engine.serving import Observer, Served, Server
from int_bench.errors import SampleError, UserError

A = TypeVar("A")
R = TypeVar("R")
_Queue = tuple[int, str, str]
"""The group of images that asks, and the role and the verb that serve it."""
_Batch = list[tuple[int, Hashable, Request[Any]]]
"""The place of the image that asked first, what identifies the request, and the request."""
_place = itemgetter(0)


class _Call(Generic[A]):
    """Awaiting it hands a request to the broker."""

    def __init__(self, request: Request[A]) -> None:
        self.request = request

    def __await__(self) -> Generator[_Call[A], A, A]:
        return (yield self)


def _helpers() -> int:
    """Threads that prepare what is queued: all cores but that of the methods, at most eight."""
    return max(1, min(8, (os.cpu_count() or 2) - 1))


async def _wrap(awaitable: Awaitable[A]) -> A:
    return await awaitable


@dataclass
class _Root:
    """A job in flight, and what it has cost so far."""

    key: Hashable
    group: int
    place: int
    owner: Hashable = None
    topic: Hashable = None
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


class Broker:
    """Batches, memoises and counts the model calls of many images.

    Args:
        backbones: the models by role.
        max_batch: most requests in one call, for all roles or by role. 1 makes every answer
            independent of what else is in flight (exactness class E0).
        memo_bytes: budget for remembered answers.
        in_flight: most jobs that run side by side.
        overlap: work on one half of the images in flight while a model computes for the other, and
            on other threads on what its next calls will need. The halves take turns by order of
            admission, so the batches are still the same every time. Where models compute on the
            processor that all would share, it costs more seconds of it than it saves.
        observe: told of every call and of every step of a job.
    """

    def __init__(
        self,
        backbones: Mapping[str, Backbone],
        max_batch: Mapping[str, int] | int = 1,
        memo_bytes: int = 512 * 2**20,
        in_flight: int = 4,
        overlap: bool = False,
        observe: Observer | None = None,
    ) -> None:
        limits = (
            dict.fromkeys(backbones, max_batch) if isinstance(max_batch, int) else dict(max_batch)
        )
        self._backbones = backbones
        self._server = Server(backbones, limits, observe)
        self._observe = observe
        self._memo = Memo(memo_bytes)
        self._in_flight = in_flight
        self._groups = 2 if overlap else 1
        self._queues: defaultdict[_Queue, _Batch] = defaultdict(list)
        self._waiting: dict[Hashable, list[_Task]] = {}
        self._ready: deque[tuple[_Task, Any, Exception | None]] = deque()
        self._done: deque[Outcome[Any]] = deque()
        self._counters: Counter[str] = Counter()
        self._topics: Counter[Hashable] = Counter()
        self._newest: Hashable = None

    @property
    def counters(self) -> dict[str, int]:
        """Totals by role and verb: requests, hits, calls, rows, and what the backbones counted.

        ``shared`` are each owner's first hits on what was computed for another, so that its
        ``rows`` and ``shared`` are together what it would have computed alone.
        """
        totals = Counter(self._counters)
        failed = self._server.failed_calls.items()
        totals.update({f"{label}.failed_calls": number for label, number in failed if number})
        for role, backbone in self._backbones.items():
            totals.update({f"{role}.{name}": n for name, n in backbone.counters.items()})
        return dict(sorted(totals.items()))

    @property
    def seconds(self) -> dict[str, float]:
        """Wall-clock seconds inside the models' calls so far, by role."""
        return dict(sorted(self._server.seconds.items()))

    def run(self, jobs: Iterable[Job[R]]) -> Iterator[Outcome[R]]:
        """Run all jobs; yield each outcome as soon as it is there.

        A job's own error is part of its outcome. An error that every job would meet (a missing
        checkpoint, say) is raised.
        """
        # The libraries' objects are millions: the collector need not visit them at every turn.
        gc.freeze()
        keep()
        source, active, admitted = iter(jobs), 0, 0
        more, last = True, self._groups - 1
        worker = ThreadPoolExecutor(1, thread_name_prefix="models")
        self._helpers = ThreadPoolExecutor(_helpers(), thread_name_prefix="ahead")
        try:
            while more or active:
                while more and active < self._in_flight:
                    job = next(source, None)
                    more = job is not None
                    if job is not None:
                        self._admit(job, admitted)
                        active, admitted = active + 1, admitted + 1
                queue = self._fullest(last) if not self._ready or self._groups > 1 else None
                flight = self._dispatch(queue, worker) if queue else None
                self._step_all()
                while self._done:
                    active -= 1
                    yield self._done.popleft()
                if queue and flight:
                    last = queue[0]
                    self._deliver(queue, *flight)
        except BaseException as error:
            self._server.stop()
            # Ctrl-C, and closing this generator, wait for no call: it may take minutes.
            worker.shutdown(wait=isinstance(error, Exception), cancel_futures=True)
            raise
        finally:
            worker.shutdown(wait=False)
            self._helpers.shutdown(wait=False, cancel_futures=True)
            self._close()
            gc.unfreeze()

    def _admit(self, job: Job[Any], place: int) -> None:
        group = place % self._groups
        before, self._newest = self._newest, job.topic
        self._topics[job.topic] += 1
        self._forget(before)
        task = _Task(job.start(_Call), _Root(job.key, group, place, job.owner, job.topic))
        self._ready.append((task, None, None))

    def _forget(self, topic: Hashable) -> None:
        """Drop the answers about a topic of which no job is in flight and none is to come."""
        if topic != self._newest and not self._topics[topic]:
            del self._topics[topic]
            self._memo.forget(topic)
            trim()

    def _fullest(self, last: int) -> _Queue | None:
        """The fullest queue, of another group than the last call's if one waits."""
        waiting = [queue for queue, requests in self._queues.items() if requests]
        if not waiting:
            return None
        return max(waiting, key=lambda queue: (queue[0] != last, len(self._queues[queue])))

    def _dispatch(
        self, queue: _Queue, worker: ThreadPoolExecutor
    ) -> tuple[_Batch, Future[list[Served]]]:
        """Call a model with what waits, the images of longest ago first.

        So an image's dialogue is over before those of later ones push its prefixes out of memory.
        """
        _, role, verb = queue
        waiting, most = self._queues[queue], self._server.limit(role)
        batch, self._queues[queue] = waiting[:most], waiting[most:]
        call = worker.submit(self._server.serve, role, verb, [request for *_, request in batch])
        return batch, call

    def _deliver(self, queue: _Queue, batch: _Batch, call: Future[list[Served]]) -> None:
        """Wait for a call; count it, remember its answers, and wake who asked."""
        _, role, verb = queue
        for (_, key, _), served in zip(batch, call.result(), strict=True):
            tasks = self._waiting.pop(key)
            root = tasks[0].root
            self._counters[f"{role}.{verb}.calls"] += served.calls
            self._count(root, f"{role}.{verb}.rows", int(served.error is None))
            root.seconds[role] += served.seconds
            if served.error is None:
                # The first task of each owner: reversed, it is the one that stays.
                owners = {task.root.owner: task.root for task in reversed(tasks)}
                self._memo.keep(key, served.answer, owners, root.topic)
                for other in owners.keys() - {root.owner}:
                    self._count(owners[other], f"{role}.{verb}.shared", 1)
            self._ready.extend((task, served.answer, served.error) for task in tasks)

    def _step_all(self) -> None:
        while self._ready:
            task, value, error = self._ready.popleft()
            if task.dropped:
                task.coroutine.close()
            elif self._observe is None:
                self._step(task, value, error)
            else:
                started = time.perf_counter()
                self._step(task, value, error)
                spent = time.perf_counter() - started
                self._observe("methods", str(task.root.key), started, spent, {})

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

    def _perform(self, task: _Task, effect: _Call[Any] | Gather[Any]) -> None:
        if isinstance(effect, _Call):
            self._enqueue(task, effect.request)
            return
        join = _Join(task, [None] * len(effect.awaitables), len(effect.awaitables))
        if not effect.awaitables:
            self._ready.append((task, [], None))
        for slot, awaitable in enumerate(effect.awaitables):
            child = awaitable if isinstance(awaitable, Coroutine) else _wrap(awaitable)
            self._ready.append((_Task(child, task.root, join, slot), None, None))

    def _finish(self, task: _Task, value: Any, error: Exception | None) -> None:
        join, root = task.join, task.root
        if join is None:
            counters, seconds = dict(root.counters), dict(root.seconds)
            self._done.append(Outcome(root.key, value, error, counters, seconds))
            self._topics[root.topic] -= 1
            self._forget(root.topic)
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
        remembered = self._memo.find(key, task.root.owner, task.root.topic)
        if remembered is not None:
            answer, first_of_owner = remembered
            self._count(task.root, f"{label}.hits", 1)
            if first_of_owner:
                self._count(task.root, f"{label}.shared", 1)
            self._ready.append((task, answer, None))
        elif key in self._waiting:
            self._count(task.root, f"{label}.hits", 1)
            self._waiting[key].append(task)
        else:
            self._waiting[key] = [task]
            queue = self._queues[task.root.group, request.role, request.verb]
            insort(queue, (task.root.place, key, request), key=_place)
            prepare = getattr(self._backbones.get(request.role), "prepare", None)
            if prepare is not None and self._groups > 1:
                prepare(request, self._helpers.submit)

    def _count(self, root: _Root, name: str, number: int) -> None:
        self._counters[name] += number
        root.counters[name] += number

    def _close(self) -> None:
        """End what is still under way, so that nothing is left un-awaited."""
        left = [task for task, _, _ in self._ready]
        left += [task for tasks in self._waiting.values() for task in tasks]
        for task in left:
            while True:
                task.coroutine.close()
                if task.join is None:
                    break
                task = task.join.parent
        for held in (self._ready, self._waiting, self._queues):
            held.clear()
