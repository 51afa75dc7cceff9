"""Caches of the LLaVA engine: the same bits in any state, bounded memory, closed-form counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from int_bench.backbones.llava.model import Llava
from int_bench.core.requests import Answer, FirstToken, Score, Turn
from int_bench.errors import OutOfMemory
from tests.backbones.llava import tiny_llava
from tests.backbones.llava.llava_reference import BOX, ENVIRONMENT, NAME, TURNS, pictures, written
from tests.backbones.llava.tiny_llava import IMAGE_TOKENS, NAMES


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    return tiny_llava.build_all(tmp_path_factory.mktemp("llava"))


@pytest.fixture
def checkpoint(checkpoints):
    return str(checkpoints["pieces"])


def requests_of(picture):
    return [
        Answer(picture, NAME, max_tokens=6),
        Answer(picture, BOX, TURNS, max_tokens=6),
        Score(picture, NAME, NAMES),
        FirstToken(picture, ENVIRONMENT, TURNS[:1]),
        # The same ids behind different beginnings: not the same keys and values.
        FirstToken(picture, BOX, (Turn(NAME, "leaf"),)),
        FirstToken(picture, BOX, (Turn(ENVIRONMENT, "leaf"),)),
    ]


def ask(vlm, request):
    verb = {Answer: vlm.answer, Score: vlm.score, FirstToken: vlm.first_token}[type(request)]
    (answer,) = verb([request])
    return answer.tobytes() if isinstance(answer, np.ndarray) else answer


@pytest.mark.parametrize("mebibytes", [256, 0])
def test_one_request_a_call_is_bit_identical_in_any_cache_state(checkpoint, mebibytes):
    asks = [request for picture in pictures(3) for request in requests_of(picture)]
    fresh = [ask(Llava(checkpoint), request) for request in asks]
    used = Llava(checkpoint, prefix_cache_mb=mebibytes, feature_cache_mb=mebibytes)
    order = [int(i) for i in np.random.default_rng(0).permutation(np.repeat(range(len(asks)), 2))]
    for i in order:
        assert ask(used, asks[i]) == fresh[i]


def test_prefixes_stay_within_their_memory(checkpoint):
    vlm = Llava(checkpoint)
    engine = vlm.ready.engine
    vlm.answer([Answer(picture, NAME, max_tokens=1) for picture in pictures(1)])
    one = engine._nodes.weight
    engine._nodes.capacity = 3 * one
    for picture in pictures(9):
        ask(vlm, Answer(picture, NAME, max_tokens=1))
        assert engine._nodes.weight <= 3 * one
    passes = vlm.counters["vision_passes"]
    ask(vlm, Answer(pictures(1)[0], NAME, max_tokens=1))  # its prefix is gone, not its features
    assert vlm.counters["vision_passes"] == passes == 9


@pytest.mark.parametrize("together", [True, False])
def test_closed_form_of_one_image(checkpoint, together):
    """K = 9 pictures and their 9 erased versions: 3 turns before, C names before and after."""
    vlm = Llava(checkpoint, max_batch=18)
    before, after = pictures(9), pictures(9, seed=1)
    chat = vlm.ready.chat

    def call(verb, asks):
        return verb(asks) if together else [answer for one in asks for answer in verb([one])]

    histories = {picture: () for picture in before}
    for question in (NAME, ENVIRONMENT, BOX):
        asks = [Answer(p, question, histories[p], max_tokens=8) for p in before]
        prompts = [chat.prompt(one) for one in asks]
        for one, text in zip(asks, call(vlm.answer, asks), strict=True):
            histories[one.image] += (Turn(question, text),)
    scores = [Score(picture, NAME, NAMES) for picture in before + after]
    call(vlm.score, scores)

    assert vlm.counters["vision_passes"] == 18
    chats = sum(sum(map(len, prompt.segments)) + IMAGE_TOKENS for prompt in prompts)
    alone = sum(map(len, chat.prompt(scores[-1]).segments)) + IMAGE_TOKENS
    assert vlm.counters["prefill_tokens"] == chats + 9 * alone
    assert vlm.counters["prefix_hits"] == 2 * 9 + 9
    assert vlm.counters["scored_tokens"] == 18 * sum(map(len, chat.names(scores[0])))
    taken = dict(vlm.counters)
    call(vlm.score, scores)
    assert vlm.counters["prefill_tokens"] == taken["prefill_tokens"]
    assert vlm.counters["vision_passes"] == 18


def test_decode_steps_count_one_pass_a_token_behind_the_first(checkpoint):
    vlm = Llava(checkpoint)
    for picture in pictures(4):
        before = vlm.counters["decode_steps"]
        (ids,) = written(vlm, [Answer(picture, NAME, max_tokens=10)])
        assert vlm.counters["decode_steps"] - before == len(ids) - 1


def test_out_of_memory_drops_what_is_kept(checkpoint, monkeypatch):
    vlm = Llava(checkpoint)
    vlm.answer([Answer(pictures(1)[0], NAME, max_tokens=1)])
    engine = vlm.ready.engine

    def full(*_args, **_kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "_forward", full)
        with pytest.raises(OutOfMemory):
            vlm.answer([Answer(pictures(2)[1], NAME)])
    assert len(engine._nodes) == 0 and len(vlm._features) == 0
    assert vlm.answer([Answer(pictures(2)[1], NAME)])
