"""Scaling: what the broker holds does not grow with the number of images."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from int_bench.core.protocols import gather
from int_bench.core.requests import Answer, Inpaint, Segmentation
from int_bench.core.types import Picture, Stencil
from int_bench.engine.broker import Broker
from int_bench.engine.jobs import Job
from int_bench.engine.memo import Memo, size_of
from tests.fakes import Blackout, RedIsAFrog

IMAGES = 400
MEMO = 400_000  # bytes; one image of the test leaves about 30 000


def job(number):
    async def segment(ask):
        rng = np.random.default_rng(number)
        image = Picture(rng.integers(0, 255, (48, 64, 3), np.uint8))
        stencil = Stencil(np.ones(image.size, bool))
        await gather(ask(Answer(image, f"question {n}")) for n in range(4))
        for seed in range(3):
            filled = await ask(Inpaint(image, stencil, "p", "n", seed))
            await ask(Answer(Picture(filled), "name"))

    return Job(number, segment)


@pytest.mark.parametrize("overlap", [False, True])
def test_four_hundred_images_hold_no_more_than_a_hundred(overlap):
    models = {"vlm": RedIsAFrog(), "inpainter": Blackout()}
    broker = Broker(models, max_batch=8, memo_bytes=MEMO, in_flight=8, overlap=overlap)
    held = {}
    tracemalloc.start()
    try:
        for done, outcome in enumerate(broker.run(map(job, range(IMAGES))), start=1):
            assert outcome.error is None
            del outcome
            for fake in models.values():
                fake.batches.clear()
            if done in (100, IMAGES):
                gc.collect()
                held[done] = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held[IMAGES] <= 1.1 * held[100], held
    assert held[IMAGES] <= 4 * MEMO, held  # the memo, and eight images in flight


def test_arrays_inside_of_tuples_are_weighed():
    logits = np.zeros((10, 10), np.float32)
    assert size_of(Segmentation(logits, 0.5)) == 400
    assert size_of((Segmentation(logits, 0.5), Segmentation(logits, 0.4))) == 800
    assert size_of(((1.0, 2.0),)) == 0 == size_of("text")


def test_what_a_small_answer_costs_is_about_what_is_counted():
    """Keys hold digests and texts; the overhead per entry must cover them."""
    budget = 10**6
    memo = Memo(budget)
    tracemalloc.start()
    try:
        for number in range(20_000):
            text = f"{number}: " + 100 * "q"
            key = (Answer, f"{number:064x}", text, (), 64, 0.0, 0)
            memo.keep(key, f"frog {number}")
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held <= 2.5 * budget, held / budget


def test_answers_go_when_what_they_are_about_is_over():
    memo = Memo(10**6)
    memo.keep("a", np.zeros(100), topic="image 1")
    memo.keep("b", np.zeros(100), topic="image 1")
    memo.keep("c", np.zeros(100), topic="image 2")
    memo.keep("d", np.zeros(100))
    memo.find("b", topic="image 2")  # the same was asked about another image
    memo.forget("image 1")
    memo.forget("never seen")
    assert list(memo._answers) == ["c", "d", "b"]
    held = memo.held
    memo.forget("image 2")
    assert list(memo._answers) == ["d"] and memo.held == held / 3


@pytest.mark.parametrize("in_flight", [1, 2, 3])
def test_no_image_asks_twice_and_an_image_that_is_over_leaves_nothing(in_flight):
    """Three variants of each image; what is held does not grow with the number of images."""
    models = {"vlm": RedIsAFrog(), "inpainter": Blackout()}
    broker = Broker(models, in_flight=in_flight)
    jobs = [replace(job(n), topic=n, owner=v, key=(n, v)) for n in range(6) for v in range(3)]
    held = []
    for outcome in broker.run(jobs):
        assert outcome.error is None
        held.append(broker._memo.held)
    assert sum(models["inpainter"].batches) == 6 * 3
    assert max(held) <= 2 * max(held[:3])
