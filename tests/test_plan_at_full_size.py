"""What ``models plan`` says of the paper's models, against the bytes that a phantom counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from int_bench.backbones.common import budget
from int_bench.config import load_config
from int_bench.config.needs.memory import Demand, demands
from int_bench.config.needs.peaks import peaks_of
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
from scripts.bench.untrained import library, llava
from tests import phantom
from tests.test_on_cuda_at_full_size import ASK, SIZE, _no_numbers  # noqa: F401  (a fixture)

pytestmark = pytest.mark.services

HOLE = np.zeros(SIZE, bool)
HOLE[200:500, 300:700] = True


def pictures(count: int) -> list[Picture]:
    draws = np.random.default_rng(0)
    return [Picture(draws.integers(0, 256, (*SIZE, 3), dtype=np.uint8)) for _ in range(count)]


def request(verb: str, picture: Picture, number: int) -> Any:
    return {
        "segment": lambda: Segment(picture, (5, 5, 40, 40), (Point(20, 20, True),)),
        "inpaint": lambda: Inpaint(picture, Stencil(HOLE), "leaves", "frog", number),
        "detect": lambda: Detect(picture, "frog."),
        "heatmap": lambda: Heatmap(picture, ("frog",), ("leaves",)),
        "similarity": lambda: Similarity(picture, "frog"),
    }[verb]()


def counted(device: phantom.Device, work: Callable[[], Any]) -> int:
    device.clear()
    before = device.now
    work()
    return device.peak - before


def need_of(role: str, exactness: str) -> Demand:
    config = load_config(["models=paper", "device=cuda", f"exactness={exactness}"])
    return next(need for need in demands(config) if need.role == role)


def close(planned: int, counted: int) -> bool:
    """Never less than is needed, and a tenth more at most; 30 MB are lost in either."""
    return counted - 30e6 <= planned <= 1.1 * counted + 30e6


@pytest.mark.parametrize("exactness", ["E1", "E2"])
@pytest.mark.parametrize("role", ["segmenter", "inpainter", "detector", "aligner"])
def test_weights_and_peaks(role, exactness):
    need = need_of(role, exactness)
    makers: dict[str, Any] = {
        "segmenter": library.sam,
        "inpainter": library.stable_diffusion,
        "detector": library.grounding_dino,
        "aligner": library.clip,
    }
    options: dict[str, Any] = {"max_batch": need.max_batch}
    options |= {"templates": "surgery"} if role == "aligner" else {}
    with phantom.cuda(values=False) as device:
        with torch.device("cuda"):
            model = makers[role](True, "cuda", need.dtype, **options)
        assert model.loaded and close(need.weights, device.now)
        if role == "inpainter":
            model.steps = 2
        for verb, peak in peaks_of(need.name, need.dtype).items():
            for rows in (1, need.max_batch):
                model.forget()
                asked = [request(verb, p, number) for number, p in enumerate(pictures(rows))]
                work = getattr(model, verb)
                took = counted(device, lambda asked=asked, work=work: work(asked))
                assert close(peak.of(rows), took), (verb, rows, peak.of(rows), took)


def test_keys_and_values_of_a_language_model():
    """What stays between calls and what a call computes with are within what the plan counts."""
    need = need_of("vlm", "E2")
    of = (need.token_bytes, need.tokens - budget.QUESTION)
    shares = budget.Budget(4 * 2**30, 4 * 2**30, need.max_batch)
    rows = shares.rows_in_memory(*of)
    with phantom.cuda(values=False) as device:
        vlm = llava.random_llava(
            llava.LLAVA_13B, "cuda", need.dtype, max_batch=need.max_batch, prefix_cache_mb=4096
        )
        assert vlm.loaded and close(need.weights, device.now)
        assert vlm.rows_at_once() == rows
        before = device.now
        asked = pictures(rows)

        def work() -> None:
            vlm.answer([Answer(picture, ASK, max_tokens=3) for picture in asked])
            vlm.score([Score(picture, ASK, llava.NAMES) for picture in asked])

        took = counted(device, work)
        assert device.now - before <= shares.prefixes + shares.batch_bytes(*of)
        planned = shares.prefixes + shares.batch_bytes(*of)
        assert took <= planned + 2.5e9 and planned <= 1.6 * took, (planned, took)
