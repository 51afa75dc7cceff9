"""Steps of ``scripts.gpu_check`` that say where a GPU's time goes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, supported_activities

from int_bench.backbones.common.kernels import PLAIN, TOLERANCE, differences, kernels
from int_bench.backbones.common.lru import Lru
from int_bench.backbones.common.precision import allow_tf32
from int_bench.core.geometry import PATCH_SETS
from scripts.bench.replay import executors
from scripts.bench.replay.executors import VERBS, Clocked, Machine
from scripts.bench.replay.trace import replays
from scripts.gpu_steps import Bench, Found

TOP, NAME = 14, 200
"""Kernels that are listed, and characters of their names."""
SHAPES: dict[str, tuple[tuple[int, ...], ...]] = {
    "group_norm": ((4, 4096, 320), (4, 320)),
    "add_": ((4, 4096, 320), (4, 4096, 320), (320,)),
    "geglu": ((4, 4096, 320), (2560, 320), (2560,)),
    "swiglu": ((10836, 13824), (10836, 13824)),
    "turned": ((18, 602, 40, 128), (18, 602, 128), (18, 602, 128)),
}
"""Of the first level of the UNet for two pictures, and of LLaVA-13B's prefill of 18."""


def fused(bench: Bench) -> Found:
    """Each fused kernel against what torch makes of it: milliseconds, and how far apart."""
    place = torch.device(bench.device)
    given, steps = kernels(place), {}
    for name, shapes in SHAPES.items():
        if not bench.full:
            shapes = tuple((*(min(size, 32) for size in shape[:-1]), 32) for shape in shapes)
        tensors = [
            torch.randn(shape, device=place).to(getattr(torch, bench.half)) for shape in shapes
        ]
        arguments = _arguments(name, tensors)
        for kind, functions in (("fused", given), ("plain", PLAIN)):
            work = getattr(functions, name)
            steps[f"{name}, {kind}: ms"] = 1e3 * bench.clock(partial(work, *arguments), 5)
    apart = differences(given, place)
    gates = {name: gap <= TOLERANCE for name, gap in apart.items()}
    if bench.full:
        gates["compiled"] = given is not PLAIN
    return {**steps, "apart": apart, "gates": gates}


def _arguments(name: str, tensors: list[Any]) -> tuple[Any, ...]:
    if name == "group_norm":
        norm = torch.nn.GroupNorm(32, tensors[0].shape[-1])
        norm = norm.to(tensors[0].device, tensors[0].dtype).requires_grad_(False)
        return norm, *tensors, True
    if name == "turned":
        return tensors[0].transpose(1, 2), *tensors[1:]
    return tuple(tensors)


@dataclass
class _Largest(Clocked):
    """A backbone that remembers the largest call of each verb."""

    asked: dict[str, Sequence[Any]] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        verb = super().__getattr__(name)
        if name not in VERBS:
            return verb

        def call(requests: Sequence[Any]) -> Any:
            if len(requests) > len(self.asked.get(name, ())):
                self.asked[name] = requests
            return verb(requests)

        return call


def verbs(bench: Bench) -> Found:
    """The largest call of each verb of a run in E2, once more under torch's profiler.

    By verb: requests, wall and busy milliseconds, launches, and the kernels that took longest with
    their milliseconds and launches. What was kept of the pictures is dropped before; graphs stay.
    """
    allow_tf32(True)
    with bench.making():
        executor = executors.product(Machine(bench.device, bench.full), "E2")
    largest = {
        role: _Largest(clocked.wrapped, clocked.machine)
        for role, clocked in executor.backbones.items()
    }
    object.__setattr__(executor, "backbones", largest)
    size, sets = ((768, 1024), PATCH_SETS) if bench.full else ((48, 64), PATCH_SETS[:1])
    executor.run(replays(4 if bench.full else 1, size, 1, sets))
    said = {}
    for backbone in largest.values():
        for verb, requests in backbone.asked.items():
            said[verb] = _profiled(bench, backbone.wrapped, verb, requests)
    return said


def _profiled(bench: Bench, backbone: Any, verb: str, requests: Sequence[Any]) -> dict[str, Any]:
    for _ in range(2):  # captured, replayed
        _drop_pictures(backbone)
        getattr(backbone, verb)(requests)
    _drop_pictures(backbone)
    known = supported_activities() if bench.cuda else set()
    on_device = ProfilerActivity.CUDA in known
    bench.wait()
    with profile(activities=[ProfilerActivity.CUDA if on_device else ProfilerActivity.CPU]) as seen:
        started = time.perf_counter()
        getattr(backbone, verb)(requests)
        bench.wait()
        wall = time.perf_counter() - started
    busy: Counter[str] = Counter()
    launches: Counter[str] = Counter()
    for event in seen.events() or ():
        if not on_device or str(event.device_type).endswith("CUDA"):
            busy[event.name[:NAME]] += event.time_range.elapsed_us() / 1e3  # type: ignore[assignment]
            launches[event.name[:NAME]] += 1
    top = [(name, round(spent, 2), launches[name]) for name, spent in busy.most_common(TOP)]
    return {
        "requests": len(requests), "wall_ms": 1e3 * wall, "busy_ms": sum(busy.values()),
        "launches": launches.total(), "top": top,
    }  # fmt: skip


def _drop_pictures(backbone: Any) -> None:
    """Let nothing that a backbone keeps of pictures and texts answer; its graphs stay."""
    for kept in vars(backbone).values():
        if isinstance(kept, Lru):
            kept.clear()
    if "ready" in vars(backbone):
        backbone.ready.engine._nodes.clear()
