"""Serving a batch: one call to a backbone, in halves where it fails, and what it took."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from int_bench.core.protocols import Backbone
from int_bench.core.requests import Request
from int_bench.errors import OutOfMemory, SampleError, UserError

Observer = Callable[[str, str, float, float, Mapping[str, Any]], None]
"""Told of what has ended: track, name, start (``time.perf_counter``), seconds, and what is known.

Tracks are ``models``, ``methods``, ``storage`` and, of no duration, ``iterations``. Calls come from
several threads.
"""


@dataclass(frozen=True)
class Served:
    """One request's outcome: its answer or its error, and its share of the call's seconds.

    ``calls`` is 1 for one request of each successful call and 0 for the others, so that sums count.
    """

    answer: Any
    error: Exception | None
    seconds: float = 0.0
    calls: int = 0


class Server:
    """Calls the backbones and remembers what fits into their memory.

    Args:
        backbones: the models by role.
        limits: most requests in one call, by role.
        observe: told of every call.

    Attributes:
        seconds: inside calls so far, by role.
        failed_calls: calls so far that gave no answers, by ``<role>.<verb>``.
    """

    def __init__(
        self,
        backbones: Mapping[str, Backbone],
        limits: Mapping[str, int],
        observe: Observer | None = None,
    ) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.failed_calls: Counter[str] = Counter()
        self._observe = observe
        self._backbones = backbones
        self._limits = dict(limits)

    def limit(self, role: str) -> int:
        """The most requests that a call of this role takes now."""
        return self._limits.get(role, 1)

    def serve(self, role: str, verb: str, requests: Sequence[Request[Any]]) -> list[Served]:
        """Outcomes in the order of the requests.

        Out of memory halves the batch and the role's limit; a single request is tried once more
        when all models have dropped what they keep between calls. Any other failure halves the
        batch too, so that one bad request fails alone.

        Raises:
            UserError: what every request would meet (a missing checkpoint, say).
        """
        started = time.perf_counter()
        try:
            answers = self._in_memory(role, verb, requests)
        except OutOfMemory:
            self._limits[role] = max(1, len(requests) // 2)
            failure: Exception = SampleError(
                f"The {role} ran out of memory on a single request; use a smaller model or image "
                "(`int-bench models plan` says what is needed)."
            )
        except SampleError as error:
            failure = error
        except UserError:
            raise
        except Exception as error:
            failure = error
        else:
            if len(answers) != len(requests):
                raise RuntimeError(f"{role}.{verb}: {len(answers)} answers, {len(requests)} asked.")
            share = (time.perf_counter() - started) / len(requests)
            return [Served(answer, None, share, int(i == 0)) for i, answer in enumerate(answers)]
        if len(requests) == 1:
            return [Served(None, failure)]
        middle = len(requests) // 2
        first = self.serve(role, verb, requests[:middle])
        return first + self.serve(role, verb, requests[middle:])

    def stop(self) -> None:
        """Tell the backbones that wait for others (``stop``) that nobody waits for them now."""
        for backbone in self._backbones.values():
            getattr(backbone, "stop", lambda: None)()

    def _in_memory(self, role: str, verb: str, requests: Sequence[Request[Any]]) -> list[Any]:
        """A call; one of a single request that does not fit is made again in more memory."""
        try:
            return self._call(role, verb, requests)
        except OutOfMemory:
            if len(requests) > 1:
                raise
        for backbone in self._backbones.values():
            getattr(backbone, "forget", lambda: None)()
        return self._call(role, verb, requests)

    def _call(self, role: str, verb: str, requests: Sequence[Request[Any]]) -> list[Any]:
        """One call of a backbone, timed and counted whether it fails or not."""
        started, failed = time.perf_counter(), 1
        try:
            answers: list[Any] = getattr(self._backbones[role], verb)(requests)
            failed = 0
            return answers
        finally:
            spent = time.perf_counter() - started
            self.seconds[role] += spent
            self.failed_calls[f"{role}.{verb}"] += failed
            if self._observe is not None:
                rows = {"rows": len(requests), "failed": bool(failed)}
                self._observe("models", f"{role}.{verb}", started, spent, rows)
