"""The steps of ``scripts.gpu_check``: each measures one thing and says it as a mapping.

``gates`` of a mapping are what must be true. Full sizes are those of the paper on a GPU; reduced
ones run anywhere and show that a step works.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch

from int_bench.backbones.common import loading
from int_bench.backbones.common.dtypes import Dtype
from int_bench.backbones.common.precision import allow_tf32
from int_bench.backbones.flops.ceiling import measured
from int_bench.core.geometry import Grid, crop
from int_bench.core.requests import (
    Answer,
    Detect,
    Heatmap,
    Inpaint,
    Point,
    Score,
    Segment,
    Similarity,
)
from int_bench.core.types import Picture, Stencil
from scripts.bench import verbs as small
from scripts.bench import zoo as shipped
from scripts.bench.untrained import library
from scripts.bench.untrained.llava import LLAVA_13B, NAMES, TINY, random_llava

Found = Mapping[str, Any]
QUESTION = "Name of the camouflaged animal in one word."
EQUAL_PIXELS = 0.999
"""The share of a hard mask's pixels that half precision must leave as they are."""
EXACT_GAPS = {"score": 1e-3, "first_token": 1e-4, "inpaint": 1, "detect": 0.05, "segment": 1e-2,
              "heatmap": 1e-4, "similarity": 1e-5}  # fmt: skip
"""What a GPU's other order of summing may change in float32; texts of the small models: nothing."""


@dataclass
class Bench:
    """Where and at which size the steps run."""

    device: str
    full: bool
    images: int = 8
    """Of the steps that run whole images of which many are in flight."""

    @property
    def cuda(self) -> bool:
        """Whether there is a device to wait for."""
        return self.device.startswith("cuda")

    @property
    def half(self) -> Dtype:
        """The precision in which LLaVA and Stable Diffusion are published."""
        return "float16" if self.cuda else "float32"

    @property
    def haste(self) -> float:
        """Seconds of a step as a share of those at full size."""
        return 1.0 if self.full else 0.1

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.cuda:
            torch.cuda.synchronize()

    def clock(self, work: Callable[[], Any], rounds: int = 3) -> float:
        """Median wall seconds of a call after one that is not counted; the device is waited for."""
        work()
        times = []
        for _ in range(rounds):
            self.wait()
            started = time.perf_counter()
            work()
            self.wait()
            times.append(time.perf_counter() - started)
        return median(times)

    def clock_of(self, model: Any, work: Callable[[], Any], rounds: int) -> tuple[float, float]:
        """As ``clock``, and the TFLOP of a call, as the model counts them."""
        before = model.flops.total
        seconds = self.clock(work, rounds)
        return seconds, (model.flops.total - before) / (rounds + 1) / 1e12

    def drop(self) -> None:
        """Give all memory back."""
        loading.forget_loaded()
        gc.collect()
        allow_tf32(False)  # as in E1
        if self.cuda:
            torch.cuda.empty_cache()

    @contextmanager
    def making(self) -> Iterator[None]:
        """Weights are made on the device, nothing passes through the host."""
        with torch.device(self.device):
            yield

    def pictures(self, count: int = 9, seed: int = 0) -> list[Picture]:
        """Patches of noise, different for each seed."""
        size = (768, 1024) if self.full else (48, 64)
        found: list[Picture] = []
        while len(found) < count:
            draws = np.random.default_rng((seed, len(found)))
            image = draws.integers(0, 256, (*size, 3), dtype=np.uint8)
            found += [Picture(crop(image, patch)) for patch in Grid().cut(size)]
        return found[:count]


def ceilings(bench: Bench) -> Found:
    """Products of matrices, TFLOP/s by precision, and copies, GB/s."""
    side, found = 8192 if bench.full else 256, {}
    for name in ("float16", "bfloat16", "float32"):
        rate = measured(torch.device(bench.device), getattr(torch, name), side)
        found[f"{name}_TFLOPs"] = rate / 1e12
    block = torch.randn(2**30 if bench.full else 2**20, device=bench.device)
    found["copy_GBs"] = 2 * block.nbytes / bench.clock(block.clone) / 1e9
    return found


def attention(bench: Bench) -> Found:
    """A decoding step's attention at key lengths not seen before, milliseconds each."""
    rows, heads, size = (9, 40, 128) if bench.full else (2, 2, 16)
    dtype, found, start = getattr(torch, bench.half), {}, 600
    for name, on in (("cudnn_on", True), ("cudnn_off", False)):
        if bench.cuda:
            torch.backends.cuda.enable_cudnn_sdp(on)
        query = torch.randn(rows, heads, 1, size, device=bench.device, dtype=dtype)
        times = []
        for length in range(start, start + 12):
            keys = torch.randn(rows, heads, length, size, device=bench.device, dtype=dtype)
            mask = torch.ones(rows, 1, 1, length, device=bench.device, dtype=torch.bool)
            bench.wait()
            started = time.perf_counter()
            torch.nn.functional.scaled_dot_product_attention(query, keys, keys, attn_mask=mask)
            bench.wait()
            times.append(1e3 * (time.perf_counter() - started))
        found[f"{name}_ms"] = median(times[1:])
        start += 12
    return found


def verbs(bench: Bench) -> Found:
    """Every verb of the shipped models against the CPU in float32."""
    found: dict[str, Any] = {}
    gates: dict[str, bool] = {}
    for verb, requests in small.ASKED.items():
        role = requests[0].role
        exact = small.ask(small.build(role, "cpu"), verb)
        for half in (False, True) if role in small.HALF else (False,):
            answers = small.ask(small.build(role, bench.device, half), verb)
            name = f"{verb} in half" if half else verb
            found[name] = gap = small.gap(verb, answers, exact)
            gates[name] = gap <= (small.GAPS if half else EXACT_GAPS).get(verb, 0)
    return {**found, "gates": gates}


def zoo(bench: Bench) -> Found:
    """INT on the shipped models: hard masks on the device against those of the CPU."""
    images, iterations = (4, 4) if bench.full else (1, 1)
    masks = {}
    seconds = {}
    for device in (bench.device, "cpu"):
        size = shipped.Zoo(images, iterations, device=device)
        started = time.perf_counter()
        masks[device] = shipped.engine(size, shipped.E1, 4).masks
        seconds[f"{device}_s_an_image"] = (time.perf_counter() - started) / images
    equal = shipped.agreement(masks["cpu"], masks[bench.device])
    return {**seconds, "equal_pixels": equal, "gates": {"masks": equal >= EQUAL_PIXELS}}


def segmenter(bench: Bench) -> Found:
    """SAM ViT-H: milliseconds a picture by precision and batch; masks in half against float32."""
    found: dict[str, Any] = {}
    masks: dict[str, list[Any]] = {}
    names: tuple[Dtype, ...] = ("float32", "bfloat16", "float16")
    for dtype in names:
        with bench.making():
            sam = library.sam(bench.full, bench.device, dtype, max_batch=16)
        for rows in (1, 4, 9) if bench.full else (1, 2):
            asked = [
                Segment(p, (5, 5, 40, 40), (Point(20, 20, True),)) for p in bench.pictures(rows)
            ]

            def work(sam: Any = sam, asked: Any = asked) -> Any:
                sam.forget()
                return sam.segment(asked)

            seconds, teraflops = bench.clock_of(sam, work, rounds=2)
            found[f"{dtype}, {rows}: ms a picture"] = 1e3 * seconds / rows
            found[f"{dtype}, {rows}: TFLOPs"] = teraflops / seconds
        masks[dtype] = [answer.logits > 0 for answer in sam.segment(asked)]
        del sam
        bench.drop()
    for dtype in names[1:]:
        pairs = zip(masks["float32"], masks[dtype], strict=True)
        found[f"{dtype}: equal_pixels"] = float(np.mean([np.mean(a == b) for a, b in pairs]))
    gate = {"float16 masks": found["float16: equal_pixels"] >= EQUAL_PIXELS}
    # Small random models decide near zero everywhere: their masks tell nothing.
    return {**found, "gates": gate if bench.full else {}}


def inpainter(bench: Bench) -> Found:
    """Stable Diffusion 2: milliseconds a step by batch, from the difference of two lengths."""
    found: dict[str, Any] = {}
    few, many = (4, 14) if bench.full else (1, 2)
    with bench.making():
        model = library.stable_diffusion(
            bench.full, bench.device, bench.half, max_batch=16, channels_last=True
        )
    picture = bench.pictures(1)[0]
    hole = np.zeros(picture.size, dtype=np.bool_)
    hole[10:30, 10:40] = True
    for rows in (1, 2, 8) if bench.full else (1, 2):
        asked = [Inpaint(picture, Stencil(hole), "leaves", "frog", i) for i in range(rows)]
        times, work = [], []
        for model.steps in (few, many):
            seconds, teraflops = bench.clock_of(model, lambda a=asked: model.inpaint(a), rounds=2)  # type: ignore[misc]
            times.append(seconds)
            work.append(teraflops)
        each = (times[1] - times[0]) / (many - few)
        found[f"{rows}: ms a step"] = 1e3 * each
        found[f"{rows}: s a picture of 50 steps"] = (times[0] + (50 - few) * each) / rows
        found[f"{rows}: TFLOPs"] = (work[1] - work[0]) / (many - few) / each
    return found


def detector(bench: Bench) -> Found:
    """GroundingDINO: milliseconds for the nine patches of an image."""
    found = {}
    names: tuple[Dtype, ...] = ("float32", "float16") if bench.cuda else ("float32",)
    for dtype in names:
        with bench.making():
            model = library.grounding_dino(bench.full, bench.device, dtype, max_batch=8)
        asked = [Detect(picture, "frog.") for picture in bench.pictures(9 if bench.full else 2)]
        found[f"{dtype}: ms an image"] = 1e3 * bench.clock(lambda m=model, a=asked: m.detect(a), 2)  # type: ignore[misc]
        del model
        bench.drop()
    return found


def aligner(bench: Bench) -> Found:
    """CLIP: milliseconds for the nine patches of an image, heat maps and similarities."""
    with bench.making():
        model = library.clip(bench.full, bench.device, "float32", max_batch=32, templates="surgery")
    pictures = bench.pictures(9 if bench.full else 2)

    def heat() -> None:
        model.forget()
        model.heatmap([Heatmap(picture, ("frog",), ("leaves",)) for picture in pictures])

    def alike() -> None:
        model.forget()
        model.similarity([Similarity(picture, "frog") for picture in pictures])

    return {
        "heatmap: ms an image": 1e3 * bench.clock(heat, 2),
        "similarity: ms an image": 1e3 * bench.clock(alike, 2),
    }


def vlm(bench: Bench) -> Found:
    """LLaVA-13B: weights made, prefill, a decoding step and scores by batch."""
    started = time.perf_counter()
    size, cache = (LLAVA_13B, 12 * 1024) if bench.full else (TINY, 64)
    model = random_llava(size, bench.device, bench.half, max_batch=32, prefix_cache_mb=cache)
    assert model.ready
    bench.wait()
    found = {"weights made, s": time.perf_counter() - started}
    for rows in (1, 9, 18) if bench.full else (1, 2):
        pictures = bench.pictures(rows)

        def write(tokens: int, pictures: list[Picture] = pictures) -> None:
            model.answer([Answer(p, QUESTION, max_tokens=tokens) for p in pictures])

        def fill(pictures: list[Picture] = pictures) -> None:
            model.forget()
            write(1, pictures)

        found[f"{rows}: prefill, ms"] = 1e3 * bench.clock(fill, 1)
        few, many = (bench.clock(lambda n=n: write(n), 2) for n in (2, 18))  # type: ignore[misc]
        found[f"{rows}: decoding step, ms"] = 1e3 * (many - few) / 16
        asked = [Score(picture, QUESTION, NAMES) for picture in pictures]
        found[f"{rows}: scores of nine names, ms"] = 1e3 * bench.clock(
            lambda asked=asked: model.score(asked),  # type: ignore[misc]
            2,
        )
    return found
