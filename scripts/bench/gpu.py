"""The three executors on full-size architectures with random weights, in one process.

    python -m scripts.bench.gpu             # full size on an accelerator, reduced on a CPU
    OMP_NUM_THREADS=1 python -m scripts.bench.gpu --device cpu

``reference`` is the predecessor's order, ``tuned`` the same at batch 1 with everything that helps,
``engine`` the broker over batches (``scripts/bench/replay``). The control flow is a committed
trace, so random weights cannot change the amount of work. Wall seconds with the device waited for,
in the order reference, engine, tuned, engine; ceilings are measured in the same run. A run fails
unless the counters equal their closed forms and the engine's answers are the reference's up to the
noise of a reordering (``scripts/bench/replay/agreement.py``).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers.utils import logging as diffusers_logging
from torch.utils.flop_counter import FlopCounterMode
from transformers.utils import logging as transformers_logging

from int_bench.core.geometry import PatchSet
from int_bench.core.protocols import Ask
from int_bench.core.requests import Request, key_of
from scripts.bench import dialogues
from scripts.bench.plain import one_by_one, run_plain
from scripts.bench.replay import agreement, executors
from scripts.bench.replay.executors import Executor, Machine
from scripts.bench.replay.trace import Replay, replays
from scripts.bench.report import ROOT, Row, finish
from scripts.bench.timing import one_thread
from scripts.bench.untrained.llava import LLAVA_13B, TINY, random_llava

NOTE = (
    "Random weights show the work and its speed, not accuracy, real answer lengths, or how often "
    "the models repeat a name."
)


@dataclass(frozen=True)
class Sizes:
    """What is replayed."""

    image: tuple[int, int]
    patches: tuple[PatchSet, ...]
    iterations: int
    images: int
    in_flight: int

    def replays(self, count: int) -> list[Replay]:
        """The first ``count`` images."""
        return replays(count, self.image, self.iterations, self.patches)


FULL = Sizes((768, 1024), ("original", "halves", "quarters"), 4, 8, 4)
REDUCED = Sizes((48, 64), ("original", "halves"), 2, 4, 4)
TINIEST = Sizes((48, 64), ("original",), 2, 2, 2)


def ceilings(machine: Machine) -> tuple[float, float]:
    """Matrix TFLOP/s in the working precision, and memory traffic of a copy, GB/s."""
    side = 8192 if machine.full else 512
    dtype = getattr(torch, machine.half)
    a, b = (torch.randn(side, side, device=machine.device, dtype=dtype) for _ in range(2))
    block = torch.randn(2**30 if machine.full else 2**22, device=machine.device)
    matrix = _best(machine, lambda: a @ b)
    copy = _best(machine, block.clone)
    return 2 * side**3 / matrix / 1e12, 2 * block.nbytes / copy / 1e9


def _best(machine: Machine, work: object, rounds: int = 10) -> float:
    """Wall seconds of the quickest of some calls."""
    times = []
    for _ in range(rounds):
        machine.wait()
        started = time.perf_counter()
        work()  # type: ignore[operator]
        machine.wait()
        times.append(time.perf_counter() - started)
    return min(times)


def clocked(executor: Executor, images: Sequence[Replay]) -> tuple[float, executors.Log]:
    """Wall seconds of a run, and its log."""
    machine = executor.backbones["vlm"].machine
    machine.wait()
    started = time.perf_counter()
    log = executor.run(images)
    machine.wait()
    return time.perf_counter() - started, log


def useful_tflops(machine: Machine, image: Replay) -> float:
    """Arithmetic of one image with every distinct call made once, alone and without padding."""
    backbones = executors.eager(machine, 1)
    direct, known = one_by_one(backbones, forgetful=False), {}

    async def ask(request: Request[object]) -> object:
        key = key_of(request)
        if key not in known:
            known[key] = await direct(request)
        return known[key]

    remembering: Ask = ask  # type: ignore[assignment]
    with FlopCounterMode(display=False) as counter:
        run_plain([image.run], remembering)
    return float(counter.get_total_flops()) / 1e12


def same_tokens(machine: Machine) -> Row:
    """Chats in float32 on the first four layers: the engine's texts are ``generate``'s."""
    size = replace(LLAVA_13B, layers=4) if machine.full else TINY
    vlm = random_llava(size, machine.device, "float32", max_batch=32, prefix_cache_mb=8192)
    patches = dialogues.draw_patches(3, 2)
    ask = one_by_one({"vlm": dialogues.PlainLlava(vlm)}, forgetful=False)  # type: ignore[dict-item]
    plain = run_plain([lambda ask: dialogues.converse(patches, ask)], ask)[0]
    quick = dialogues.engine(vlm, [patches], 32, 1)[0]
    equal = [text for text, _ in plain] == [text for text, _ in quick]
    return Row("float32 chats with the same text", float(equal), "", "==", 1.0)


def compare(machine: Machine, sizes: Sizes) -> list[Row]:
    """All executors over the trace: times, stages, counters, agreement."""
    reference, tuned = executors.reference(machine), executors.tuned(machine)
    engine = executors.engine(machine, sizes.in_flight)
    alone, many = sizes.replays(1), sizes.replays(sizes.images)
    short = [replace(image, iterations=1) for image in many]
    building = time.perf_counter()
    for executor in (reference, tuned, engine):
        executor.run(short if executor is engine else short[:1])  # load, compile, warm up
    building = time.perf_counter() - building
    engine.run(alone)
    counted = engine.work
    slow, log = clocked(reference, alone)
    first, _ = clocked(engine, many)
    middle, _ = clocked(tuned, alone)
    second, _ = clocked(engine, many)
    quick = (first + second) / 2 / sizes.images
    matrix, copy = ceilings(machine)
    used = useful_tflops(machine, alone[0])
    bars = (20.0, 5.0, 45.0) if machine.full else (None, None, None)
    rows = [
        Row("ceiling, matrices", matrix, "TFLOP/s"),
        Row("ceiling, copy", copy, "GB/s"),
        Row("loading, compiling and first runs", building, "s"),
        Row("reference, an image", slow, "s"),
        Row("tuned at batch 1, an image", middle, "s"),
        Row("engine, an image", quick, "s"),
        Row("engine against reference, times faster", slow / quick, "x", ">=", bars[0]),
        Row("engine against tuned, times faster", middle / quick, "x", ">=", bars[1]),
        Row("useful arithmetic, an image", used, "TFLOP"),
        Row("engine, share of the matrix ceiling", 100 * used / quick / matrix, "%", ">=", bars[2]),
    ]
    rows += _stages(reference, tuned, engine, sizes.images)
    rows += agreement.closed_forms(log, reference, counted)
    rows += agreement.sound(log)
    single, batched = executors.eager(machine, 1), executors.eager(machine, executors.ROWS)
    rows += agreement.differences(log, single, batched, machine.half)
    return rows


def _stages(reference: Executor, tuned: Executor, engine: Executor, images: int) -> list[Row]:
    """Seconds an image by verb."""
    return [
        Row(f"{verb}: {executor.name}, an image", executor.stages[verb] / count, "s")
        for verb in executors.VERBS
        for executor, count in ((reference, 1), (tuned, 1), (engine, images))
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything; 1 if a gate fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--reduced", action="store_true", help="reduced sizes on an accelerator")
    parser.add_argument("--tiny", action="store_true", help="the smallest reduced sizes")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "bench")
    given = parser.parse_args(arguments)
    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    on_cpu = given.device == "cpu"
    if on_cpu:
        one_thread()
    full = not (on_cpu or given.reduced or given.tiny)
    machine = Machine(given.device, full)
    sizes = TINIEST if given.tiny else FULL if full else REDUCED
    rows = [same_tokens(machine), *compare(machine, sizes)]
    told = vars(sizes) | {"device": given.device, "full": full, "precision": machine.half}
    return finish("gpu" if full else "gpu_reduced", rows, told, given.out, NOTE)


if __name__ == "__main__":
    sys.exit(main())
