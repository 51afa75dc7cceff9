"""Backbones whose answers depend on the request alone, and that some pictures kill or hang."""

from __future__ import annotations

import os
import signal
import time

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


class Late(RedBox):
    """A detector that takes a quarter of a second a call."""

    def detect(self, requests):
        time.sleep(0.25)
        return super().detect(requests)


class Slow(RedBox):
    """A detector that takes its time: 0.05 s a call."""

    def detect(self, requests):
        time.sleep(0.05)
        return super().detect(requests)
