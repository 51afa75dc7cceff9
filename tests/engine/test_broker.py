"""The broker: batching, memoising, counting, failing; independent of what else is in flight."""

from __future__ import annotations

import gc
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from int_bench.core.protocols import gather
from int_bench.core.requests import Answer, Inpaint, key_of
from int_bench.core.types import Picture, Stencil
from int_bench.engine.broker import Broker
from int_bench.engine.jobs import Job
from int_bench.errors import MissingAsset, OutOfMemory, SampleError
from tests.conftest import HANGING


def picture(value: int) -> Picture:
    return Picture(np.full((2, 2, 3), value, dtype=np.uint8))


class Echo:
    """Answers the question with the image's first value; can fail on cue."""

    def __init__(self, most: int = 99) -> None:
        self.identity: dict[str, Any] = {}
        self.counters: Counter[str] = Counter()
        self.batches: list[list[str]] = []
        self.most = most

    def answer(self, requests: Sequence[Answer]) -> list[str]:
        self.batches.append([request.question for request in requests])
        if len(requests) > self.most:
            raise OutOfMemory
        if any(request.question == "bad" for request in requests):
            raise ValueError("bad question")
        if any(request.question == "gone" for request in requests):
            raise MissingAsset("no checkpoint")
        self.counters["rows"] += len(requests)
        return [f"{request.question}{request.image.pixels[0, 0, 0]}" for request in requests]


def job(key: int, *questions: str) -> Job[list[str]]:
    async def start(ask: Any) -> list[str]:
        return await gather(ask(Answer(picture(key), q)) for q in questions)

    return Job(key, start)


def outcomes(broker: Broker, jobs: list[Job[Any]]) -> dict[Any, Any]:
    return {o.key: o.error or o.value for o in broker.run(jobs)}


def test_requests_of_all_images_in_flight_share_one_call() -> None:
    echo = Echo()
    broker = Broker({"vlm": echo}, max_batch=64, in_flight=3)
    found = outcomes(broker, [job(k, "a", "b") for k in range(3)])
    assert found == {k: [f"a{k}", f"b{k}"] for k in range(3)}
    assert echo.batches == [["a", "b"] * 3]
    assert broker.counters["vlm.answer.calls"] == 1
    assert broker.counters["vlm.answer.rows"] == 6


def test_equal_requests_are_computed_once_in_flight_and_later() -> None:
    echo = Echo()

    async def twice(ask: Any) -> list[str]:
        first = await gather([ask(Answer(picture(1), "a")), ask(Answer(picture(1), "a"))])
        return [*first, await ask(Answer(picture(1), "a"))]

    broker = Broker({"vlm": echo}, max_batch=8)
    assert outcomes(broker, [Job(0, twice)]) == {0: ["a1", "a1", "a1"]}
    assert echo.counters["rows"] == 1
    assert broker.counters["vlm.answer.hits"] == 2


def test_different_images_with_the_same_question_are_different_requests() -> None:
    assert key_of(Answer(picture(1), "a")) != key_of(Answer(picture(2), "a"))
    assert key_of(Answer(picture(1), "a")) == key_of(Answer(picture(1), "a"))
    mask = np.zeros((2, 2), dtype=np.bool_)
    one = Inpaint(picture(1), Stencil(mask), "p", "n", 0)
    other = Inpaint(picture(1), Stencil(~mask), "p", "n", 0)
    assert key_of(one) != key_of(other)


def test_the_fullest_queue_is_served_first() -> None:
    served: list[str] = []

    class Noted(Echo):
        def answer(self, requests: Sequence[Answer]) -> list[str]:
            served.append(self.name)
            return super().answer(requests)

    class Other(Answer):
        role = "other"

    few, many = Noted(), Noted()
    few.name, many.name = "few", "many"

    async def both(ask: Any) -> list[str]:
        return await gather(
            [ask(Other(picture(0), "x")), *(ask(Answer(picture(0), q)) for q in "ab")]
        )

    outcomes(Broker({"other": few, "vlm": many}, max_batch=8), [Job(0, both)])
    assert served == ["many", "few"]


def test_one_bad_request_fails_alone_and_the_error_reaches_its_job() -> None:
    found = outcomes(Broker({"vlm": Echo()}, 8), [job(0, "a"), job(1, "bad", "c"), job(2, "b")])
    assert found[0] == ["a0"] and found[2] == ["b2"]
    assert isinstance(found[1], ValueError)


def test_a_missing_checkpoint_ends_the_run() -> None:
    with pytest.raises(MissingAsset):
        outcomes(Broker({"vlm": Echo()}, 8), [job(0, "gone")])


def test_out_of_memory_halves_the_batch_and_is_remembered() -> None:
    echo = Echo(most=2)
    broker = Broker({"vlm": echo}, max_batch=8, in_flight=8)
    assert outcomes(broker, [job(k, "a") for k in range(8)]) == {k: [f"a{k}"] for k in range(8)}
    assert [len(batch) for batch in echo.batches] == [8, 4, 2, 2, 4, 2, 2]
    echo.batches.clear()
    outcomes(broker, [job(k, "b") for k in range(4)])
    assert [len(batch) for batch in echo.batches] == [2, 2]


def test_out_of_memory_at_one_request_fails_that_sample_only() -> None:
    found = outcomes(Broker({"vlm": Echo(most=0)}, 8), [job(0, "a"), job(1, "b")])
    assert all(isinstance(error, SampleError) for error in found.values())
    assert "ran out of memory on a single request" in str(found[0])


def test_one_request_is_tried_again_when_the_models_have_dropped_what_they_keep() -> None:
    class Keeping(Echo):
        """Has room for a request once it was told to forget."""

        def forget(self) -> None:
            self.most = 1

    echo = Keeping(most=0)
    found = outcomes(Broker({"vlm": echo, "inpainter": Echo()}, 8), [job(0, "a")])
    assert found[0] == ["a0"] and len(echo.batches) == 2


def test_a_job_that_cannot_start_fails_alone() -> None:
    async def broken(ask: Any) -> list[str]:
        raise SampleError("unreadable image")

    found = outcomes(Broker({"vlm": Echo()}), [Job(0, broken), job(1, "a")])
    assert isinstance(found[0], SampleError) and found[1] == ["a1"]


def test_the_memo_forgets_the_oldest_beyond_its_budget() -> None:
    echo = Echo()
    broker = Broker({"vlm": echo}, memo_bytes=600)  # room for two answers of 256 bytes each
    for question in ("a", "b", "c", "c", "a"):
        outcomes(broker, [job(0, question)])
    assert [batch[0] for batch in echo.batches] == ["a", "b", "c", "a"]


def test_empty_gather_and_nested_gather() -> None:
    async def nested(ask: Any) -> Any:
        async def inner(k: int) -> list[str]:
            return await gather(ask(Answer(picture(k), q)) for q in "ab")

        return [await gather([]), await gather(inner(k) for k in range(2))]

    found = outcomes(Broker({"vlm": Echo()}, 8), [Job(0, nested)])
    assert found == {0: [[], [["a0", "b0"], ["a1", "b1"]]]}


def test_counters_of_a_job_are_its_own() -> None:
    broker = Broker({"vlm": Echo()}, 8, in_flight=2)
    by_key = {o.key: o for o in broker.run([job(0, "a", "b"), job(1, "a")])}
    assert by_key[0].counters == {"vlm.answer.requests": 2, "vlm.answer.rows": 2}
    assert by_key[1].counters == {"vlm.answer.requests": 1, "vlm.answer.rows": 1}
    assert by_key[0].seconds["vlm"] >= 0


@settings(max_examples=40, deadline=None)
@given(
    plans=st.lists(st.lists(st.sampled_from("abcde"), max_size=4), min_size=1, max_size=6),
    in_flight=st.integers(1, 5),
    max_batch=st.integers(1, 5),
    overlap=st.booleans(),
)
def test_answers_do_not_depend_on_company(
    plans: list[list[str]], in_flight: int, max_batch: int, overlap: bool
) -> None:
    jobs = [job(k % 2, *plan) for k, plan in enumerate(plans)]
    jobs = [Job(i, each.start) for i, each in enumerate(jobs)]
    echo = Echo()
    broker = Broker({"vlm": echo}, max_batch, in_flight=in_flight, overlap=overlap)
    found = outcomes(broker, jobs)
    assert found == {i: [f"{q}{i % 2}" for q in plan] for i, plan in enumerate(plans)}
    distinct = {(i % 2, q) for i, plan in enumerate(plans) for q in plan}
    assert echo.counters["rows"] == len(distinct)


def test_with_overlap_one_half_works_while_the_model_computes_for_the_other() -> None:
    """The model's second call waits until the first image has worked on its answer."""
    worked = threading.Event()

    class Slow(Echo):
        def answer(self, requests: Sequence[Answer]) -> list[str]:
            if requests[0].image.pixels[0, 0, 0] == 1:
                assert worked.wait(HANGING), "nothing ran beside the call"
            return super().answer(requests)

    async def first(ask: Any) -> str:
        answer = await ask(Answer(picture(0), "a"))
        worked.set()
        return answer

    slow = Slow()
    broker = Broker({"vlm": slow}, max_batch=8, in_flight=2, overlap=True)
    assert outcomes(broker, [Job(0, first), job(1, "b")]) == {0: "a0", 1: ["b1"]}
    assert slow.batches == [["a"], ["b"]]


@pytest.mark.parametrize("overlap", [False, True])
def test_what_a_call_needs_is_prepared_on_other_threads_with_overlap_alone(overlap: bool) -> None:
    begun: list[str] = []

    class Prepares(Echo):
        def prepare(self, request: Answer, submit: Any) -> None:
            assert submit(threading.current_thread).result() is not threading.current_thread()
            begun.append(request.question)

    broker = Broker({"vlm": Prepares()}, overlap=overlap)
    assert outcomes(broker, [job(0, "a", "b")]) == {0: ["a0", "b0"]}
    assert begun == ["a", "b"] * overlap


@pytest.mark.filterwarnings("error")
def test_leaving_early_ends_every_coroutine() -> None:
    ended: list[int] = []

    async def endless(ask: Any, key: int) -> None:
        async def inner() -> None:
            try:
                while True:
                    await ask(Answer(picture(key), str(len(ended))))
                    await ask(Answer(picture(key), "b"))
                    break
                await gather(ask(Answer(picture(key), q)) for q in "cd")
            finally:
                ended.append(key)

        await gather([inner(), inner()])

    jobs = [job(9, "a"), *(Job(k, lambda ask, k=k: endless(ask, k)) for k in range(2))]
    running = Broker({"vlm": Echo()}, in_flight=3).run(jobs)
    assert next(running).key == 9
    running.close()
    gc.collect()
    assert sorted(ended) == [0, 0, 1, 1]
