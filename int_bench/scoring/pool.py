"""Worker processes for scoring: none outlives the process that started it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from int_bench.errors import UsageError

T = TypeVar("T")
R = TypeVar("R")

_CHUNK = 8


def mapped(function: Callable[[T], R], items: Sequence[T], workers: int) -> list[R]:
    """``function`` of each item, in order, computed by ``workers`` processes.

    They are spawned, not forked, because the caller may hold threads and a GPU. They end at once
    if the caller is interrupted, and also if it is killed.

    Raises:
        UsageError: a process died.
    """
    earlier = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_stay_a_child
    )
    try:
        results = list(pool.map(function, items, chunksize=_CHUNK))
    except BaseException as error:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - earlier:
            child.kill()
        if isinstance(error, BrokenProcessPool):
            raise UsageError(
                "A scoring process died, probably out of memory; take fewer than these"
                f" {workers}: `int-bench eval --workers 1`."
            ) from error
        raise
    pool.shutdown()
    return results


def cpus() -> int:
    """How many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _stay_a_child() -> None:
    """In a worker: leave Ctrl-C to the parent, and end when it ends, in whatever way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
