"""Contrastive decoding against two plain full forward passes a token, without any cache."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from int_bench.backbones.llava.contrastive import Contrasted, contrasted
from int_bench.backbones.llava.model import Llava
from int_bench.core.requests import Answer, ContrastiveAnswer
from tests.backbones.llava import tiny_llava
from tests.backbones.llava.llava_reference import (
    ENVIRONMENT,
    NAME,
    TURNS,
    inputs,
    pictures,
    rendered,
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return str(tiny_llava.build(tmp_path_factory.mktemp("llava") / "pieces"))


def last_logits(vlm, given, written):
    """The logits behind a prompt and what was written, by one pass over all of it."""
    ids = torch.cat([given["input_ids"], torch.tensor([written], dtype=torch.long)], dim=1)
    plain = {key: value for key, value in given.items() if key == "pixel_values"}
    with torch.inference_mode():
        return vlm.ready.model(input_ids=ids, **plain).logits[0, -1].float()


def reference(vlm, request):
    """Greedy contrastive decoding, written down as its formula says."""
    ready = vlm.ready
    text = rendered(vlm, request)
    given = inputs(vlm, request.image, text)
    if request.contrast is not None:
        other = inputs(vlm, request.contrast, text)
    else:
        other = {"input_ids": torch.tensor([[ready.processor.tokenizer.bos_token_id]])}
    ids: list[int] = []
    while len(ids) < request.max_tokens and not (ids and ids[-1] in ready.stop):
        seen, unseen = last_logits(vlm, given, ids), last_logits(vlm, other, ids)
        mixed = (1 + request.alpha) * seen - request.alpha * unseen
        if request.plausibility:
            log_probs = torch.log_softmax(seen, -1)
            mixed[log_probs < log_probs.max() + math.log(request.plausibility)] = -math.inf
        ids.append(int(mixed.argmax()))
    return ready.chat.text(ids)


def requests():
    images = pictures(4)
    return [
        ContrastiveAnswer(images[0], images[1], NAME, max_tokens=12),
        ContrastiveAnswer(images[2], None, ENVIRONMENT, TURNS[:1], max_tokens=9),
        ContrastiveAnswer(images[1], images[3], NAME, TURNS, 2.0, 0.1, max_tokens=12),
        ContrastiveAnswer(images[3], None, NAME, (), 1.0, 0.3, max_tokens=5),
    ]


def test_a_mixed_batch_equals_the_formula_one_by_one(checkpoint):
    vlm = Llava(checkpoint)
    asked = requests()
    expected = [reference(vlm, request) for request in asked]
    assert len(set(expected)) == 4
    assert vlm.contrast(asked) == expected
    assert [Llava(checkpoint).contrast([request])[0] for request in asked] == expected


def test_long_answers_outgrow_the_block(checkpoint):
    vlm = Llava(checkpoint)
    vlm.ready = replace(vlm.ready, stop=frozenset())
    request = ContrastiveAnswer(*pictures(2), NAME, max_tokens=70)
    assert vlm.contrast([request]) == [reference(vlm, request)]
    assert vlm.counters["decode_steps"] == 2 * 69


def test_a_contrast_with_the_picture_itself_or_of_no_strength_changes_nothing(checkpoint):
    vlm = Llava(checkpoint)
    one, two = pictures(2)
    plain = vlm.answer([Answer(one, NAME, max_tokens=12)])
    assert vlm.contrast([ContrastiveAnswer(one, one, NAME, max_tokens=12)]) == plain
    assert vlm.contrast([ContrastiveAnswer(one, two, NAME, alpha=0.0, max_tokens=12)]) == plain


def test_sampling_depends_on_the_seed_and_not_on_the_company(checkpoint):
    vlm = Llava(checkpoint)
    one, two = pictures(2)
    asked = [
        ContrastiveAnswer(one, two, NAME, max_tokens=8, temperature=1.5, seed=seed)
        for seed in range(5)
    ]
    together = vlm.contrast(asked)
    assert len(set(together)) > 1
    assert [vlm.contrast([request])[0] for request in asked] == together


def test_the_plausibility_cut_is_a_share_of_the_largest_probability():
    logits = torch.tensor([0.5, 0.3, 0.2]).log()
    opposite = torch.tensor([0.9, 0.05, 0.05]).log()
    rules = [Contrasted(None, None, None, 1.0, share) for share in (0.0, 0.5, 0.7)]
    # 0.25/0.9, 0.09/0.05, 0.04/0.05: the second wins, unless 0.3 < 0.7 x 0.5.
    assert [int(contrasted(logits, opposite, rule).argmax()) for rule in rules] == [1, 1, 0]
    assert contrasted(logits, opposite, rules[1]).isinf().tolist() == [False, False, True]
