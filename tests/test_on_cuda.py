"""The backbones on a phantom CUDA device: all verbs, what they cost, and what would be refused."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from int_bench.backbones.clip import surgery
from int_bench.backbones.common import loading
from int_bench.backbones.grounding_dino import model as grounding_dino
from int_bench.backbones.llava import engine, kv_block
from int_bench.backbones.sam import model as sam
from int_bench.backbones.stable_diffusion import model as stable_diffusion
from int_bench.core.types import Picture, Sample
from int_bench.data.world.dataset import DrawnScenes
from int_bench.engine.broker import Broker
from int_bench.engine.jobs import Job
from int_bench.errors import SampleError, UsageError
from scripts.bench.verbs import ASKED, GAPS, HALF, ask, build, gap, numbers
from tests import phantom


@pytest.fixture(scope="module", autouse=True)
def _fresh_weights():
    """No weights of this file stay for others, and none of others for it."""
    torch.set_num_threads(1)
    loading.forget_loaded()
    yield
    loading.forget_loaded()


@pytest.fixture(scope="module")
def on_cpu() -> Callable[[str], list[Any]]:
    """The answers of a verb on the CPU in float32; once per verb."""
    known: dict[str, list[Any]] = {}

    def answers(verb: str) -> list[Any]:
        if verb not in known:
            model = build(ASKED[verb][0].role, "cpu")
            known[verb] = ask(model, verb)
            FLOPS[verb] = model.flops.total
        return known[verb]

    return answers


FLOPS: dict[str, int] = {}
"""Of the answers on the CPU."""


def counts_as_on_cpu(model: Any, verb: str) -> bool:
    """Whether graphs, padding and wider heads are counted once, or not at all.

    Captions are padded to eight tokens; the phantom's fused attention is out of sight. The
    aligner's texts are computed once for the weights, so less than all is left. On a CPU the
    inpainter doubles maps with fewer products.
    """
    least, most = {"aligner": (0, 1.05), "inpainter": (0.85, 1.2)}.get(model.ROLE, (0.85, 1.05))
    return bool(least < model.flops.total / FLOPS[verb] < most)


@dataclass(frozen=True)
class Cost:
    """The most that a second call of a verb may take: what is loaded once is loaded.

    ``kilobytes`` are those at the peak beyond what was held before.
    """

    dispatches: int
    syncs: int
    uploads: int
    kilobytes: int


COSTS = {
    "answer": Cost(357, 9, 12, 11227),
    "score": Cost(346, 2, 14, 11227),
    "first_token": Cost(239, 2, 7, 10734),
    "contrast": Cost(471, 9, 15, 11227),
    "inpaint": Cost(1175, 2, 9, 3512),
    "detect": Cost(469, 1, 5, 5139),
    "segment": Cost(213, 1, 5, 4352),
    "heatmap": Cost(154, 1, 2, 4347),
    "similarity": Cost(118, 1, 2, 3211),
}


@pytest.mark.parametrize("verb", ASKED)
def test_float32_gives_the_answers_of_the_cpu_at_its_cost(verb, on_cpu):
    role = ASKED[verb][0].role
    with phantom.cuda() as device:
        ask(build(role, "cuda"), verb, most=1)  # loads
        device.clear()
        before = device.now
        model = build(role, "cuda")
        answers = ask(model, verb)
    if isinstance(answers[0], str):
        assert answers == on_cpu(verb)
    elif verb == "inpaint":  # a sum in another order moves a level that lies between two
        apart = np.abs(numbers(answers) - numbers(on_cpu(verb)))
        assert apart.max() <= 1 and apart.mean() <= 1e-3
    else:
        np.testing.assert_allclose(numbers(answers), numbers(on_cpu(verb)), atol=1e-4, rtol=1e-5)
    assert counts_as_on_cpu(model, verb)
    allowed = COSTS[verb]
    assert sum(device.syncs.values()) <= allowed.syncs, device.syncs
    assert sum(device.uploads.values()) <= allowed.uploads, device.uploads
    # Versions of the libraries differ by a few operations and their memory.
    assert sum(device.dispatches.values()) <= 1.1 * allowed.dispatches
    assert (device.peak - before) // 1024 <= 1.1 * allowed.kilobytes


@pytest.mark.parametrize("verb", [verb for verb in ASKED if ASKED[verb][0].role in HALF])
def test_half_precision_stays_close(verb, on_cpu):
    with phantom.cuda():
        model = build(ASKED[verb][0].role, "cuda", half=True)
        answers = ask(model, verb)
    assert gap(verb, answers, on_cpu(verb)) <= GAPS.get(verb, 0)
    assert counts_as_on_cpu(model, verb)


SMALL = ("models=tiny", "exactness=E1", "method.iterations=2", "ablation=patches_halves")


def test_int_end_to_end_gives_the_masks_of_the_cpu():
    from int_bench.config import build_backbones, build_method, load_config

    def masks(device: str) -> list[np.ndarray]:
        config = load_config([*SMALL, f"device={device}"])
        scene = next(iter(DrawnScenes(count=1).samples()))
        sample = Sample(scene.id, Picture(DrawnScenes(count=1).load_image(scene)), "animal", 3)
        broker = Broker(build_backbones(config), max_batch=16, overlap=True)
        start = partial(build_method(config).segment, sample)
        outcome = next(iter(broker.run([Job(sample.id, start)])))
        assert outcome.error is None
        return [item.masks.hard for item in outcome.value.iterations]

    exact = masks("cpu")
    with phantom.cuda() as device:
        there = masks("cuda")
    assert device.dispatches.total() > 1000
    assert len(exact) == 2 and all(map(np.array_equal, there, exact))


@dataclass(frozen=True)
class Slip:
    """A line of a backbone, broken, and what catches it; ``None``: legal on CUDA as well."""

    where: Callable[..., Any]
    line: str
    broken: str
    verb: str
    caught: str | None


def test_answers_are_written_again_after_all_was_forgotten():
    with phantom.cuda():
        backbone = build("vlm", "cuda")
        before = ask(backbone, "answer")
        backbone.forget()
        assert ask(backbone, "answer") == before


SLIPS = {
    "token ids stay on the host": Slip(
        engine.Engine._ids, ", device=self._device)", ")", "answer", "same device"
    ),
    "positions of columns stay on the host": Slip(
        kv_block.Block.mask, ", device=self._kv.device)", ")", "answer", "same device"
    ),
    "labels of points stay on the host": Slip(
        sam.Sam._points, "dtype=torch.int32, device=self.place", "dtype=torch.int32", "segment",
        "same device",
    ),
    "masks are read where they are": Slip(
        sam.Sam._finish,
        "self.finite.fetch(torch.cat([*large, decoded.ious.flatten()]), brief=True)",
        "torch.cat([*large, decoded.ious.flatten()])", "segment", "numpy",
    ),
    "noise stays on the host": Slip(
        stable_diffusion.StableDiffusion._noise,
        ".to(self.place, self.precision)", "", "inpaint", None,
    ),
    "pictures stay on the host": Slip(
        grounding_dino._uploaded, ".to(device, non_blocking=True)", "", "detect", "same device"
    ),
    "texts stay on the host": Slip(
        surgery.ClipSurgery._text, ".to(self.place)", "", "heatmap", "same device"
    ),
    "noise is drawn on the device by a generator of the host": Slip(
        stable_diffusion.StableDiffusion._noise,
        "generator=generator)", "generator=generator, device=self.place)", "inpaint", "generator",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SLIPS)
def test_a_broken_line_is_caught(name, monkeypatch):
    slip = SLIPS[name]
    source = textwrap.dedent(inspect.getsource(slip.where))
    assert source.count(slip.line) == 1
    lines = "from __future__ import annotations\n" + source.replace(slip.line, slip.broken)
    namespace = dict(slip.where.__globals__)
    exec(lines, namespace)
    monkeypatch.setattr(slip.where, "__code__", namespace[slip.where.__name__].__code__)
    with phantom.cuda():
        backbone = build(ASKED[slip.verb][0].role, "cuda")
        _ = backbone.loaded  # what others know of texts is forgotten by who has loaded it, too
        backbone.forget()
        if slip.caught is None:
            ask(backbone, slip.verb, most=1)
        else:
            with pytest.raises((RuntimeError, TypeError), match=slip.caught):
                ask(backbone, slip.verb, most=1)


@pytest.mark.parametrize("role", ["vlm", "inpainter", "detector", "segmenter", "aligner"])
def test_a_model_that_does_not_fit_is_one_error_and_not_one_a_request(role):
    verb = next(verb for verb, requests in ASKED.items() if requests[0].role == role)
    loading.forget_loaded()
    with phantom.cuda(capacity=100_000):
        broker = Broker({role: build(role, "cuda")}, max_batch=4, in_flight=2)

        async def start(call):
            return [await call(request) for request in ASKED[verb]]

        with pytest.raises(UsageError, match=f"The {role} zoo:.* does not fit into memory; next"):
            list(broker.run(Job(number, start) for number in range(3)))
    loading.forget_loaded()


def test_too_little_memory_for_one_request_fails_its_image_in_a_sentence():
    loading.forget_loaded()
    with phantom.cuda() as device:
        segmenter = build("segmenter", "cuda")
        assert segmenter.loaded
        device.capacity = device.now + 100_000
        broker = Broker({"segmenter": segmenter}, max_batch=4, in_flight=1)

        async def start(call):
            return await call(ASKED["segment"][0])

        (outcome,) = broker.run([Job(0, start)])
    assert isinstance(outcome.error, SampleError)
    assert "ran out of memory on a single request" in str(outcome.error)
    loading.forget_loaded()
