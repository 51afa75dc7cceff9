"""Steps of ``scripts.gpu_check`` that run whole images: as a run does, and in other orders."""

from __future__ import annotations

import time
from typing import Any

from int_bench.backbones.common.precision import allow_tf32, cuda_name
from int_bench.config.needs.hardware import driver, processor
from int_bench.core.geometry import PATCH_SETS
from int_bench.runs.kept.ceiling import AtCeiling
from scripts.bench.replay import executors
from scripts.bench.replay.executors import Executor, Machine
from scripts.bench.replay.trace import replays
from scripts.gpu_steps import Bench, Found

ITERATIONS = 4


def product(bench: Bench, exactness: str) -> Found:
    """Seconds an image at T=4, as ``int-bench run models=paper exactness=...`` configures it.

    Random weights would steer the method anywhere, so a recorded control flow asks for the calls.
    """
    allow_tf32(exactness == "E2")
    with bench.making():
        executor = executors.product(Machine(bench.device, bench.full), exactness)
    _replayed(bench, executor, 1, 1)  # what is built once: kernels' plans, graphs, prompts
    return _replayed(bench, executor, bench.images if bench.full else 1, ITERATIONS)


def reference(bench: Bench) -> Found:
    """Seconds of one iteration of one image in the predecessor's order; T=4 takes four of them."""
    with bench.making():
        executor = executors.reference(Machine(bench.device, bench.full))
    return _replayed(bench, executor, 1, 1)


def tuned(bench: Bench) -> Found:
    """Seconds of one iteration of one image in the same order, tuned at a batch of one."""
    with bench.making():
        executor = executors.tuned(Machine(bench.device, bench.full))
    if bench.full:
        _replayed(bench, executor, 1, 1)  # compiles
    return _replayed(bench, executor, 1, 1)


def _replayed(bench: Bench, executor: Executor, images: int, iterations: int) -> dict[str, Any]:
    size, sets = ((768, 1024), PATCH_SETS) if bench.full else ((48, 64), PATCH_SETS[:1])
    played = replays(images, size, iterations, sets)
    at_ceiling = _at_ceiling(bench, executor)
    before = executor.flops
    bench.wait()
    started = time.perf_counter()
    executor.run(played)
    bench.wait()
    seconds = (time.perf_counter() - started) / images
    ideal = at_ceiling.seconds() if at_ceiling else None
    share = {}
    if ideal is not None:
        share["TFLOP an image"] = (executor.flops - before) / images / 1e12
        share["share of the ceiling"] = ideal / images / seconds
    work = {name: number / images for name, number in executor.work.items()}
    return {
        "images": images,
        "iterations": iterations,
        "in_flight": executor.schedule.in_flight if executor.schedule else 1,
        "s an image": seconds,
        "s an image at T=4": seconds * ITERATIONS / iterations,
        "by verb": {verb: spent / images for verb, spent in executor.stages.items()},
        "work": work,
        **share,
    }


def _at_ceiling(bench: Bench, executor: Executor) -> AtCeiling | None:
    """As a run reckons its share; the matrices are too large for a device that only seems one."""
    if bench.cuda and not bench.full:
        return None
    kind, name = "cpu", processor()
    if bench.cuda:
        kind, name = "cuda", f"{cuda_name(bench.device)}, driver {driver()}"
    return AtCeiling(executor.backbones.values(), kind, name)
