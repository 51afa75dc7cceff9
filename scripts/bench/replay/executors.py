"""The three ways to run the same trace with the same weights: reference, tuned, product.

``reference`` is the predecessor's order: batch 1, eager, one call per request, the whole prompt
from the pixels on at every turn, SAM in float32, nothing kept. ``tuned`` is what an expert makes of
that order at batch 1: prefixes reused over turns, half precision everywhere, a compiled UNet, text
features kept. ``product`` is the broker as ``int-bench run models=paper`` configures it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from int_bench.backbones.common.dtypes import Dtype
from int_bench.backbones.llava.model import Llava
from int_bench.config.compose import load_config
from int_bench.config.schedule import Schedule, schedule
from int_bench.core.protocols import Backbone
from int_bench.core.requests import Request
from int_bench.engine.broker import Broker
from int_bench.engine.jobs import Job
from scripts.bench.dialogues import PlainLlava
from scripts.bench.plain import forget, one_by_one, run_plain
from scripts.bench.replay.trace import Replay
from scripts.bench.untrained import library as models
from scripts.bench.untrained.llava import LLAVA_13B, TINY, random_llava

PREFIXES_MB = 8 * 1024
"""Resident prefixes of the tuned order: one image of nine patches, before and after, at 13B."""
GIVEN = ("_target_", "checkpoint", "revision", "device", "model", "size", "steps", "pretrained")
"""Options of a configured model that random weights decide themselves."""
VERBS = ("answer", "score", "inpaint", "detect", "segment", "heatmap", "similarity")
Log = list[tuple[Request[Any], Any]]
"""Requests and their answers."""


def llava(full: bool, device: str, dtype: Dtype, **options: Any) -> Llava:
    """LLaVA-1.5-13B, or a tiny one."""
    return random_llava(LLAVA_13B if full else TINY, device, dtype, **options)


MODELS: Mapping[str, Callable[..., Any]] = {
    "vlm": llava,
    "inpainter": models.stable_diffusion,
    "detector": models.grounding_dino,
    "segmenter": models.sam,
    "aligner": models.clip,
}
"""By role, what makes a model of random weights."""


@dataclass(frozen=True)
class Machine:
    """Where the models run, and at which size."""

    device: str
    full: bool

    @property
    def half(self) -> Dtype:
        """The working precision."""
        return "float16" if self.device.startswith("cuda") else "float32"

    @property
    def compiles(self) -> bool:
        """Whether compiling pays here."""
        return self.device.startswith("cuda")

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()


@dataclass
class Clocked:
    """A backbone whose calls are timed, wall seconds, the device waited for."""

    wrapped: Any
    machine: Machine
    seconds: Counter[str] = field(default_factory=Counter)

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self.wrapped, name)
        if name not in VERBS:
            return verb

        def call(requests: Sequence[Any]) -> Any:
            self.machine.wait()
            started = time.perf_counter()
            answers = verb(requests)
            self.machine.wait()
            self.seconds[name] += time.perf_counter() - started  # type: ignore[assignment]
            return answers

        return call


@dataclass(frozen=True)
class Executor:
    """Backbones by role, and how they are driven.

    Attributes:
        name: ``reference``, ``tuned`` or ``product``.
        backbones: each clocked.
        schedule: of the broker; None drives one call at a time without it.
        forgetful: drop what backbones keep between calls.
    """

    name: str
    backbones: Mapping[str, Clocked]
    schedule: Schedule | None = None
    forgetful: bool = False

    def run(self, replays: Sequence[Replay]) -> Log:
        """Replay all images from empty caches; the log of all calls (of the plain executors)."""
        for clocked in self.backbones.values():
            forget(clocked.wrapped)
            clocked.seconds.clear()
            clocked.wrapped.counters.clear()
        log: Log = []
        backbones: Mapping[str, Backbone] = self.backbones  # type: ignore[assignment]
        if self.schedule is None:
            ask = one_by_one(backbones, self.forgetful, lambda *pair: log.append(pair))
            run_plain([replay.run for replay in replays], ask)
            return log
        plan = self.schedule
        broker = Broker(backbones, plan.max_batch, 2**31, plan.in_flight, plan.overlap)
        for outcome in broker.run(Job(at, replay.run) for at, replay in enumerate(replays)):
            if outcome.error is not None:
                raise outcome.error
        return log

    @property
    def stages(self) -> Counter[str]:
        """Seconds of the last run by verb."""
        total: Counter[str] = Counter()
        for backbone in self.backbones.values():
            total.update(backbone.seconds)
        return total

    @property
    def flops(self) -> int:
        """Operations of the backbones that count them, so far."""
        models = (clocked.wrapped for clocked in self.backbones.values())
        return sum(model.flops.total for model in models if hasattr(model, "flops"))

    @property
    def work(self) -> Counter[str]:
        """What the backbones counted in the last run, by role."""
        return Counter(
            {
                f"{role}.{name}": number
                for role, backbone in self.backbones.items()
                for name, number in backbone.counters.items()
            }
        )


def reference(machine: Machine) -> Executor:
    """The predecessor's order."""
    full, device, half = machine.full, machine.device, machine.half
    backbones = {
        "vlm": PlainLlava(llava(full, device, half, prefix_cache_mb=PREFIXES_MB)),
        "inpainter": models.stable_diffusion(full, device, half, max_batch=1),
        "detector": models.grounding_dino(full, device, "float32", max_batch=1),
        "segmenter": models.sam(full, device, "float32", max_batch=1),
        "aligner": models.clip(full, device, "float32", max_batch=1, templates="surgery"),
    }
    return Executor("reference", _clocked(backbones, machine), forgetful=True)


def tuned(machine: Machine) -> Executor:
    """The same order with everything that helps at batch 1."""
    full, device, half = machine.full, machine.device, machine.half
    backbones = {
        "vlm": llava(full, device, half, max_batch=1, prefix_cache_mb=PREFIXES_MB),
        "inpainter": models.stable_diffusion(
            full, device, half, max_batch=1, channels_last=True, compile=machine.compiles
        ),
        "detector": models.grounding_dino(full, device, "float32", max_batch=1),
        "segmenter": models.sam(full, device, "bfloat16", max_batch=1),
        "aligner": models.clip(full, device, "float32", max_batch=1, templates="surgery"),
    }
    return Executor("tuned", _clocked(backbones, machine))


def product(machine: Machine, exactness: str) -> Executor:
    """The broker over batches, as a run in this exactness class configures it on this device."""
    words = ("models=paper", f"exactness={exactness}", f"device={machine.device}")
    config = load_config(words)
    backbones: dict[str, Any] = {}
    for role, node in config.backbone.items():
        options = {name: value for name, value in node.items() if name not in GIVEN}
        backbones[role] = MODELS[role](machine.full, machine.device, **options)
    return Executor("product", _clocked(backbones, machine), schedule(config, backbones))


def _clocked(backbones: Mapping[str, Any], machine: Machine) -> dict[str, Clocked]:
    return {role: Clocked(backbone, machine) for role, backbone in backbones.items()}
