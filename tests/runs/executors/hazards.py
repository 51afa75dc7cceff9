"""Backbones whose answers depend on the request alone, and that some pictures kill or hang."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from huggingface_hub import constants

from int_bench.errors import UsageError
from tests.fakes import RedBox, RedIsAFrog

KILLS, HANGS = (1, 2, 3), (3, 2, 1)
"""What a picture's first pixel says."""


def mark(pixels):
    return tuple(int(value) for value in pixels[0, 0])


class Fragile(RedIsAFrog):
    """A VLM that dies of a picture, or never answers on one, where its first question is."""

    def answer(self, requests):
        for request in requests:
            if mark(request.image.pixels) == KILLS:
                os.write(1, b"the last words\n")
                os.kill(os.getpid(), signal.SIGKILL)
            if mark(request.image.pixels) == HANGS:
                time.sleep(600)
        return super().answer(requests)


class Offline(RedBox):
    """A detector that the network would be asked for where that is allowed."""

    def detect(self, requests):
        if not constants.HF_HUB_OFFLINE:
            raise UsageError("This worker would ask a hub for its weights.")
        return super().detect(requests)


class Waits(RedBox):
    """A detector that answers some times, and no more before its gate, a file, is there, or, where
    there is none, before Slurm has started its task again."""

    CALLS = 40

    def detect(self, requests):
        self.CALLS -= len(requests)
        while self.CALLS < 0 and not self._released():
            time.sleep(0.05)
        return super().detect(requests)

    @staticmethod
    def _released():
        gate = os.environ.get("INT_BENCH_GATE")
        return Path(gate).exists() if gate else os.environ.get("SLURM_RESTART_COUNT", "0") != "0"


class Slow(RedBox):
    """A detector that takes its time: 0.05 s a call."""

    def detect(self, requests):
        time.sleep(0.05)
        return super().detect(requests)
