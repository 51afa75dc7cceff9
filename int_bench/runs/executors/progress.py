"""What a command that computes is told on the way, and what it has cost at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from int_bench.engine.work import Sharing, Work
from int_bench.runs.execute import Variant
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
