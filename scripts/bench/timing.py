"""Timing that holds on a busy machine: process time, one thread, both sides in turn.

Under other load the wall time of the same pair of programs swings by a factor of two; the ratio of
their CPU times hardly moves.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeVar

import cv2
import torch

A = TypeVar("A")
B = TypeVar("B")
Clock = Callable[[], float]


@dataclass(frozen=True)
class Pair:
    """Seconds of two programs that ran in turn, round by round."""

    slow: tuple[float, ...]
    fast: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """How many times faster the fast one is: the median over rounds."""
        return median(a / b for a, b in zip(self.slow, self.fast, strict=True))


def one_thread() -> None:
    """Let torch and OpenCV compute on one thread (NumPy: ``OMP_NUM_THREADS=1``)."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def timed(work: Callable[[], A], clock: Clock = time.process_time) -> tuple[float, A]:
    """Seconds and value of one call, without garbage of earlier calls on its bill."""
    gc.collect()
    started = clock()
    value = work()
    return clock() - started, value


def in_turn(
    slow: Callable[[], A],
    fast: Callable[[], B],
    rounds: int,
    clock: Clock = time.process_time,
) -> tuple[Pair, A, B]:
    """Run A, B, A, B, ...; the seconds of all rounds and the values of the last."""
    times = []
    for _ in range(rounds):
        (a, value_a), (b, value_b) = timed(slow, clock), timed(fast, clock)
        times.append((a, b))
    first, second = zip(*times, strict=True)
    return Pair(first, second), value_a, value_b


def resident_bytes() -> int:
    """Memory of this process in use now (Linux; 0 elsewhere)."""
    return _status_bytes("VmRSS")


def peak_resident_bytes() -> int:
    """The most memory that this process has used (Linux; 0 elsewhere).

    Not ``ru_maxrss``: that begins with what the process that started this one had in use.
    """
    return _status_bytes("VmHWM")


def _status_bytes(name: str) -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    line = next(line for line in status.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024
