"""Which worker computes what, and what follows when one dies: decisions alone, no process."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from int_bench.runs.executors.worker import Wanted

_DEATHS = 2
"""Workers that a sample may end."""


@dataclass(frozen=True)
class Unit:
    """Items that one worker computes together.

    Attributes:
        items: variant, trial and sample of each, in order.
        deaths: how many workers it has ended.
    """

    items: tuple[Wanted, ...]
    deaths: int = 0

    @property
    def samples(self) -> tuple[str, ...]:
        """Its samples, each once."""
        return tuple(dict.fromkeys(sample for _, _, sample in self.items))

    def split(self) -> list[Unit]:
        """A unit for each of its samples, each under suspicion."""
        return [
            Unit(tuple(item for item in self.items if item[2] == sample), deaths=_DEATHS - 1)
            for sample in self.samples
        ]


@dataclass
class _Hand:
    """What a worker has been given, first to last, and since when it is at the first."""

    units: deque[Unit]
    since: float
    finished: int = 0


class Dispatcher:
    """Hands units to workers and takes back those of the dead.

    A unit of several samples that has ended two workers is handed out again sample by sample; a
    sample that has ended two is given up.

    Args:
        units: what is to be done, in order.
        depth: most units that a worker has at once: one to compute and the next ones.
    """

    def __init__(self, units: Iterable[Unit], depth: int = 2) -> None:
        self._waiting = deque(units)
        self._hands: dict[str, _Hand] = {}
        self._depth = depth

    @property
    def left(self) -> int:
        """Units that are not finished."""
        return len(self._waiting) + sum(len(hand.units) for hand in self._hands.values())

    @property
    def waiting(self) -> int:
        """Units that no worker has."""
        return len(self._waiting)

    def computing(self) -> dict[str, Unit]:
        """What each worker is at."""
        return {name: hand.units[0] for name, hand in self._hands.items() if hand.units}

    def take(self, worker: str, now: float) -> Unit | None:
        """The next unit for a worker; None if it has enough, or nothing waits."""
        hand = self._hands.setdefault(worker, _Hand(deque(), now))
        # At the end nobody waits in vain behind another.
        depth = self._depth if len(self._waiting) > len(self._hands) else 1
        if not self._waiting or len(hand.units) >= depth:
            return None
        if not hand.units:
            hand.since = now
        unit = self._waiting.popleft()
        hand.units.append(unit)
        return unit

    def finished(self, worker: str, now: float) -> None:
        """A worker is done with the first that it has."""
        hand = self._hands[worker]
        hand.units.popleft()
        hand.since, hand.finished = now, hand.finished + 1

    def late(self, now: float, seconds: float, start: float) -> list[str]:
        """Workers that are at a unit for longer than they may.

        Args:
            now: in seconds, of any clock that only this host reads.
            seconds: for each sample.
            start: more for a worker's first unit, before which it loads its models.
        """
        return [
            name
            for name, hand in self._hands.items()
            if hand.units
            and now - hand.since
            > seconds * len(hand.units[0].samples) + (0 if hand.finished else start)
        ]

    def died(self, worker: str) -> Unit | None:
        """A worker is gone; what it had is handed out again.

        Returns:
            The unit that is given up, if there is one: it has ended its second worker.
        """
        return self._gone(worker, _DEATHS)

    def stopped(self, worker: str) -> Unit | None:
        """A worker was ended because it was late.

        Returns:
            The unit that is given up; None if it held several samples, which are tried one by one.
        """
        return self._gone(worker, 1)

    def _gone(self, worker: str, deaths: int) -> Unit | None:
        hand = self._hands.pop(worker, None)
        if hand is None or not hand.units:
            return None
        first, *rest = hand.units
        first = replace(first, deaths=first.deaths + 1)
        given_up = None
        if first.deaths < deaths:
            rest = [first, *rest]
        elif len(first.samples) > 1:
            rest = [*first.split(), *rest]
        else:
            given_up = first
        self._waiting.extendleft(reversed(rest))
        return given_up
