"""INT on the shipped models over drawn scenes, in memory: predictions, counters, memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from int_bench.config import RunConfig, build_backbones, build_method, load_config
from int_bench.core.protocols import Ask, Backbone
from int_bench.core.seeding import derive_seed
from int_bench.core.types import HardMask, Picture, Prediction, Sample
from int_bench.data.world.dataset import DrawnScenes
from int_bench.engine.broker import Broker
from int_bench.engine.jobs import Job
from scripts.bench.plain import one_by_one, run_plain
from scripts.bench.timing import resident_bytes

E0, E1 = 1, 64
"""Requests per call: alone, or as many as there are (each backbone has its own bound)."""
Start = Callable[[Ask], Coroutine[Any, Any, Prediction]]
Masks = dict[str, list[HardMask]]
"""The hard masks of all iterations by sample."""


@dataclass(frozen=True)
class Zoo:
    """The full method with all its patches, and scenes to run it on.

    Attributes:
        images: how many scenes.
        iterations: of the cycle.
        options: further overrides of the configuration.
        device: where the models compute.
    """

    images: int
    iterations: int
    options: tuple[str, ...] = ()
    device: str = "cpu"

    def backbones(self) -> dict[str, Backbone]:
        """Fresh backbones with empty caches; the weights are shared."""
        return build_backbones(_configured(self))

    def jobs(self) -> dict[str, Start]:
        """What to run, by sample id."""
        config = _configured(self)
        method = build_method(config)
        scenes = DrawnScenes(count=self.images)
        samples = [
            Sample(
                scene.id,
                Picture(scenes.load_image(scene)),
                config.task.prompt,
                derive_seed(0, 0, scene.id),
            )
            for scene in scenes.samples()
        ]
        return {sample.id: partial(method.segment, sample) for sample in samples}


@cache
def _configured(zoo: Zoo) -> RunConfig:
    """Composed once: reading YAML is no part of what is timed."""
    places = ["models=tiny", f"device={zoo.device}"]
    return load_config([*places, f"method.iterations={zoo.iterations}", *zoo.options])


def plain(zoo: Zoo, forgetful: bool = True) -> Masks:
    """One call per request, in the predecessor's order."""
    jobs = zoo.jobs()
    done = run_plain(jobs.values(), one_by_one(zoo.backbones(), forgetful))
    return {name: _masks(value) for name, value in zip(jobs, done, strict=True)}


@dataclass(frozen=True)
class Finished:
    """A run of the engine: masks, totals, and the most memory seen between two images.

    ``inside`` are the CPU seconds of the models' thread, which does nothing but their calls.
    """

    masks: Masks
    counters: Mapping[str, int]
    bytes: int
    inside: float


def engine(
    zoo: Zoo, most: int, in_flight: int, memo_mb: int = 512, ids: Sequence[str] | None = None
) -> Finished:
    """The same through the broker.

    Args:
        zoo: what to run.
        most: requests per call.
        in_flight: images side by side.
        memo_mb: budget of remembered answers, MiB.
        ids: which samples, in which order; None for all.
    """
    jobs = zoo.jobs()
    inside = {"models": 0.0}

    def observe(track: str, *_: object) -> None:
        if track in inside:
            inside[track] = time.thread_time()

    overlap = zoo.device != "cpu"
    broker = Broker(zoo.backbones(), most, memo_mb * 2**20, in_flight, overlap, observe)
    masks: Masks = {}
    peak = 0
    for outcome in broker.run(Job(name, jobs[name]) for name in ids or jobs):
        if outcome.value is None:
            raise outcome.error or RuntimeError(f"no prediction of {outcome.key}")
        masks[str(outcome.key)] = _masks(outcome.value)
        peak = max(peak, resident_bytes())
    return Finished(masks, broker.counters, peak, inside["models"])


def _masks(prediction: Prediction) -> list[HardMask]:
    return [item.masks.hard for item in prediction.iterations] + [prediction.final.masks.hard]


def identical(first: Masks, second: Masks) -> bool:
    """Whether the samples of the second have the bytes of the first."""
    return all(
        np.array_equal(a, b)
        for name, masks in second.items()
        for a, b in zip(first[name], masks, strict=True)
    )


def agreement(first: Masks, second: Masks) -> float:
    """The share of equal pixels over all masks."""
    pairs = [(a, b) for name in first for a, b in zip(first[name], second[name], strict=True)]
    return sum(int((a == b).sum()) for a, b in pairs) / sum(a.size for a, _ in pairs)
