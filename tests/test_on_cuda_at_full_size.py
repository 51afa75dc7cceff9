"""The models of the paper, without values, on a phantom CUDA device: they run, in which memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from int_bench.backbones.common import loading
from int_bench.core.geometry import Grid, crop
from int_bench.core.requests import (
    Answer,
    Detect,
    FirstToken,
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

pytestmark = pytest.mark.services

GB = 1e9
SIZE = (768, 1024)
ASK = "Name of the camouflaged animal in one word."


def patches(seed: int = 0) -> list[Picture]:
    image = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    return [Picture(crop(image, patch)) for patch in Grid().cut(SIZE)]


@pytest.fixture(autouse=True)
def _no_numbers(monkeypatch):
    """Weights are made, not drawn; none stays behind."""

    def plain(model: Any, seed: int = 0) -> Any:
        return model.eval().requires_grad_(False)

    for module in (library, llava):
        monkeypatch.setattr(module, "randomise", plain)
    monkeypatch.setattr(torch.nn.init, "_no_grad_normal_", lambda tensor, *_, **__: tensor)
    loading.forget_loaded()
    yield
    loading.forget_loaded()


@dataclass(frozen=True)
class Cost:
    """What a call takes at most: operations, waits, and GB beyond what was held before."""

    dispatches: int
    syncs: int
    peak: float


def check(device: phantom.Device, allowed: Cost, work: Callable[[], Any]) -> None:
    device.clear()
    before = device.now
    work()
    spent = Cost(device.dispatches.total(), device.syncs.total(), (device.peak - before) / GB)
    assert spent.syncs <= allowed.syncs, device.syncs
    assert spent.dispatches <= 1.1 * allowed.dispatches
    assert spent.peak <= 1.05 * allowed.peak


def test_llava_13b():
    """In the memory that a card of 48 GB leaves it; the logits' head is held in float32 as well."""
    first, *others = patches()
    with phantom.cuda(values=False) as device:
        vlm = llava.random_llava(
            llava.LLAVA_13B, "cuda", "float16", max_batch=32, prefix_cache_mb=4 * 1024
        )
        assert vlm.loaded and device.now < 27.5 * GB

        def answer(pictures: list[Picture], tokens: int) -> Callable[[], Any]:
            return lambda: vlm.answer([Answer(p, ASK, max_tokens=tokens) for p in pictures])

        check(
            device, Cost(14200, 9, 11.2), answer([p for n in range(4) for p in patches(n)][:32], 1)
        )
        vlm.forget()
        check(device, Cost(2400, 2, 7.3), answer([first, *others[:5]], 1))
        answer([first, *others[:5]], 3)()  # captures
        steps = []
        for tokens in (3, 4):
            device.clear()
            answer([first, *others[:5]], tokens)()
            steps.append(device.dispatches.total())
        assert steps[1] - steps[0] <= 20
        asked = [Score(p, ASK, llava.NAMES) for p in (first, *others)]
        vlm.score(asked)
        check(device, Cost(4900, 4, 0.1), lambda: vlm.score(asked))


def test_the_patches_of_an_image_go_through_llava_13b_together():
    with phantom.cuda(values=False) as device:
        vlm = llava.random_llava(
            llava.LLAVA_13B, "cuda", "float16", max_batch=32, prefix_cache_mb=12 * 1024
        )
        assert vlm.loaded
        nine = patches()
        first = [FirstToken(picture, ASK) for picture in nine]
        check(device, Cost(1444, 2, 17.4), lambda: vlm.first_token(first))
        scored = [Score(picture, ASK, llava.NAMES) for picture in nine]
        check(device, Cost(1013, 2, 0.1), lambda: vlm.score(scored))


SLOW_PASSES = 100
"""Of a step of the UNet, over large tensors that lie in unlike layouts."""


def test_stable_diffusion_2():
    hole = np.zeros(SIZE, bool)
    hole[200:500, 300:700] = True
    picture = patches()[0]
    with phantom.cuda(values=False) as device:
        with torch.device("cuda"):
            inpainter = library.stable_diffusion(
                True, "cuda", "float16", max_batch=8, channels_last=True
            )
        for steps, rows, allowed in (
            (2, 1, Cost(2921, 2, 0.41)),  # all is captured
            (3, 1, Cost(160, 2, 0.01)),
            (13, 1, Cost(530, 2, 0.01)),
            (3, 8, Cost(2300, 2, 3.3)),
        ):
            inpainter.steps = steps
            asked = [Inpaint(picture, Stencil(hole), "leaves", "frog", i) for i in range(rows)]
            check(device, allowed, lambda asked=asked: inpainter.inpaint(asked))
        unet = inpainter.loaded.unet
        given = (torch.zeros(4, 9, 64, 64), torch.tensor(7), torch.zeros(4, 77, 1024))
        half = [x.to("cuda", torch.float16 if x.ndim else None) for x in given]
        device.clear()
        unet.forward.plain(*half, return_dict=False)
        assert device.slow.total() <= SLOW_PASSES, device.slow


@pytest.mark.parametrize(
    ("dtype", "allowed"),
    [("float32", Cost(993, 1, 2.73)), ("float16", Cost(1350, 1, 0.72))],
)
def test_sam_vit_h(dtype, allowed):
    asked = [Segment(p, (5, 5, 40, 40), (Point(20, 20, True),)) for p in patches()[:4]]
    with phantom.cuda(values=False) as device:
        with torch.device("cuda"):
            segmenter = library.sam(True, "cuda", dtype, max_batch=4)
        check(device, allowed, lambda: segmenter.segment(asked))
        assert device.slow.total() <= 204, device.slow


def test_grounding_dino():
    with phantom.cuda(values=False) as device:
        with torch.device("cuda"):
            detector = library.grounding_dino(True, "cuda", "float32", max_batch=8)
        one, nine = ([Detect(p, "frog.") for p in part] for part in (patches()[:1], patches()))
        # Captured, a run and the capture itself, then replayed; nine patches are of three sizes.
        for first, again, slow, asked in (
            (Cost(1475, 1, 0.36), Cost(21, 1, 0.01), 309, one),
            (Cost(3640, 1, 2.05), Cost(53, 1, 0.06), 1036, nine),
        ):
            check(device, first, lambda asked=asked: detector.detect(asked))
            assert device.slow.total() <= slow, device.slow
            check(device, again, lambda asked=asked: detector.detect(asked))


def test_clip():
    with phantom.cuda(values=False) as device:
        with torch.device("cuda"):
            aligner = library.clip(True, "cuda", "float32", max_batch=32, templates="surgery")
        heat = [Heatmap(p, ("frog",), ("leaves",)) for p in patches()]
        check(device, Cost(981, 1, 0.222), lambda: aligner.heatmap(heat))
        alike = [Similarity(p, "frog") for p in patches()]
        check(device, Cost(431, 1, 0.087), lambda: aligner.similarity(alike))
