"""The LLaVA backbone's verbs against transformers' own generate and plain forward passes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from int_bench.backbones.common.loading import zoo_folder
from int_bench.backbones.llava.engine import Writer
from int_bench.backbones.llava.model import Llava, _mean_colour
from int_bench.core.requests import Answer, FirstToken, Score
from int_bench.core.types import Picture
from tests.backbones.llava import tiny_llava
from tests.backbones.llava.llava_reference import (
    BOX,
    ENVIRONMENT,
    NAME,
    TURNS,
    generated,
    inputs,
    pictures,
    plain_scores,
    rendered,
    written,
)
from tests.backbones.llava.tiny_llava import IMAGE_TOKENS, KINDS, NAMES


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    return tiny_llava.build_all(tmp_path_factory.mktemp("llava"))


@pytest.fixture
def checkpoint(checkpoints):
    return str(checkpoints["pieces"])


# --- prompts and answers


def test_segments_of_a_chat_extend_those_of_its_beginning(checkpoint):
    chat, picture = Llava(checkpoint).ready.chat, pictures(1)[0]
    asks = [Answer(picture, NAME), Answer(picture, ENVIRONMENT, TURNS[:1])]
    asks.append(Answer(picture, BOX, TURNS))
    for shorter, longer in pairwise(chat.prompt(one).segments for one in asks):
        assert longer[: len(shorter)] == shorter and len(longer) == len(shorter) + 1


@pytest.mark.parametrize("kind", [*KINDS, "onevision"])
def test_batch_of_18_equals_one_by_one_and_generate(checkpoints, kind):
    vlm = Llava(str(checkpoints[kind]), max_batch=18)
    asks = [
        Answer(picture, question, max_tokens=limit)
        for picture in pictures(9)
        for question, limit in ((NAME, 16), (ENVIRONMENT, 9))
    ]
    batch = written(vlm, asks)
    assert len({len(ids) for ids in batch}) >= 4  # the case is not trivial: lengths differ
    assert batch == [written(Llava(str(checkpoints[kind])), [ask])[0] for ask in asks]
    assert batch == [generated(vlm, ask) for ask in asks]
    assert vlm.answer(asks) == [vlm.ready.chat.text(ids) for ids in batch]


def test_prompt_ids_are_those_of_the_processor(checkpoints):
    for kind in KINDS:
        vlm = Llava(str(checkpoints[kind]))
        ask = Answer(pictures(1)[0], BOX, TURNS)
        chat = vlm.ready.chat
        ids = inputs(vlm, ask.image, rendered(vlm, ask))["input_ids"][0].tolist()
        first, *later = chat.prompt(ask).segments
        assert ids == [*first, *[chat._image_id] * IMAGE_TOKENS, *sum(later, ())]
        assert len(later) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_turns_equal_the_concatenated_prompt(checkpoints, kind):
    vlm = Llava(str(checkpoints[kind]))
    asks = [Answer(p, BOX, TURNS[:n], 12) for p in pictures(2) for n in (1, 2)]
    assert written(vlm, asks) == [generated(vlm, ask) for ask in asks]


def test_long_answers_outgrow_the_block(checkpoint):
    vlm = Llava(checkpoint)
    ready = vlm.ready
    asks = [Answer(picture, NAME, max_tokens=150) for picture in pictures(2)]
    with torch.inference_mode():
        paths = ready.engine.prefill([ready.chat.prompt(ask) for ask in asks])
        ids = ready.engine.decode(paths, [Writer(150, frozenset()) for _ in asks])
    given = inputs(vlm, asks[1].image, rendered(vlm, asks[1]))
    whole = ready.model.generate(
        **given, do_sample=False, max_new_tokens=150, eos_token_id=ready.model.config.image_token_id
    )
    assert [len(row) for row in ids] == [150, 150]
    assert ids[1] == whole[0, given["input_ids"].shape[1] :].tolist()


def test_limits(checkpoint):
    vlm, picture = Llava(checkpoint), pictures(1)[0]
    assert vlm.answer([]) == []
    assert vlm.answer([Answer(picture, NAME, max_tokens=0)]) == [""]
    assert len(written(vlm, [Answer(picture, NAME, max_tokens=1)])[0]) == 1
    chunked = Llava(checkpoint, max_batch=2)
    asks = [Answer(p, NAME, max_tokens=8) for p in pictures(5)]
    assert chunked.answer(asks) == vlm.answer(asks)


def test_the_zoo_speaks_as_with_generate():
    if not (zoo_folder("llava") / "model.safetensors").exists():
        pytest.skip("the zoo is not trained yet")
    vlm = Llava("zoo:llava", dtype="float32", device="cpu")
    asks = [Answer(p, BOX, TURNS[:n], 24) for p in pictures(2) for n in (0, 2)]
    assert written(vlm, asks) == [generated(vlm, ask) for ask in asks]


# --- sampling


def test_a_draw_does_not_depend_on_the_batch(checkpoint):
    asks = [
        Answer(picture, NAME, max_tokens=8, temperature=1.0, seed=seed)
        for seed, picture in enumerate(pictures(3) * 3)
    ]
    batch = written(Llava(checkpoint), asks)
    alone = [written(Llava(checkpoint), [ask])[0] for ask in asks]
    shuffled = written(Llava(checkpoint), asks[::-1])[::-1]
    assert batch == alone == shuffled
    assert len({tuple(ids) for ids in batch}) == 9  # another seed, another answer


def test_draws_follow_the_tempered_softmax():
    logits = torch.tensor([0.0, 1.0, -torch.inf, 2.0])
    drawn = [Writer(1, frozenset(), 0.5, seed).draw(logits) for seed in range(4000)]
    share = np.bincount(drawn, minlength=4) / 4000
    weights = np.exp([0.0, 2.0, -np.inf, 4.0])
    assert np.abs(share - weights / weights.sum()).max() < 0.02
    assert share[2] == 0


def test_sampling_leaves_the_global_generator_alone(checkpoint):
    state = torch.get_rng_state()
    Llava(checkpoint).answer([Answer(pictures(1)[0], NAME, max_tokens=4, temperature=1.0)])
    assert torch.equal(state, torch.get_rng_state())


# --- scores


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("history", [(), TURNS])
def test_scores_equal_plain_forward_passes(checkpoints, kind, history):
    vlm = Llava(str(checkpoints[kind]))
    asks = [Score(picture, NAME, NAMES, history) for picture in pictures(3)]
    asks.append(Score(asks[0].image, ENVIRONMENT, NAMES[:2], history[:1]))
    for ask, scores in zip(asks, vlm.score(asks), strict=True):
        expected = plain_scores(vlm, ask)
        assert [len(row) for row in scores] == [len(row) for row in expected]
        for row, values in zip(scores, expected, strict=True):
            np.testing.assert_allclose(row, values, atol=1e-5, rtol=0)


def test_name_tokens_follow_the_prompt_as_the_model_would_write_them(checkpoints):
    expected = {
        "pieces": ["▁stick", "▁insect"],
        "bytes": ["Ġinsect"],
        "words": ["stick", "insect"],
        "fallback": ["▁stick", "▁insect"],
    }
    for kind, tokens in expected.items():
        ready = Llava(str(checkpoints[kind])).ready
        (ids,) = ready.chat.names(Score(pictures(1)[0], NAME, (" stick insect ",)))
        named = ready.processor.tokenizer.convert_ids_to_tokens(list(ids))
        assert named[-len(tokens) :] == tokens
        assert kind != "bytes" or "".join(named) == "ĠstickĠinsect"


def test_odd_names(checkpoint):
    vlm, picture = Llava(checkpoint), pictures(1)[0]
    empty, unknown, one = vlm.score([Score(picture, NAME, ("", "ÿ", "frog"))])[0]
    assert empty == () and len(unknown) >= 1 and len(one) == 1
    assert vlm.score([Score(picture, NAME, ())]) == [()]
    assert vlm.score([Score(picture, NAME, ("frog", "stick insect"))])[0][0] == one


def test_first_token_is_the_softmax_of_the_answer_position(checkpoint):
    vlm = Llava(checkpoint)
    asks = [FirstToken(picture, NAME) for picture in pictures(3)]
    for ask, share in zip(asks, vlm.first_token(asks), strict=True):
        with torch.inference_mode():
            given = inputs(vlm, ask.image, rendered(vlm, ask))
            logits = vlm.ready.model(**given).logits[0, -1]
        np.testing.assert_allclose(share, torch.softmax(logits, -1).numpy(), atol=1e-6)
        assert share.dtype == np.float32 and abs(share.sum() - 1) < 1e-5


# --- the square


def test_a_corner_is_seen_unless_it_is_cropped(checkpoint):
    image = np.full((40, 80, 3), 120, np.uint8)
    marked = image.copy()
    marked[:10, :10] = (255, 0, 0)
    for preprocess, seen in (("pad", True), ("squash", True), ("center_crop", False)):
        vlm = Llava(checkpoint, preprocess=preprocess)
        plain, corner = vlm.first_token([FirstToken(Picture(p), NAME) for p in (image, marked)])
        assert np.array_equal(plain, corner) is not seen
        assert vlm.preprocess == preprocess == vlm.identity["preprocess"]


def test_bars_have_the_mean_colour(checkpoint):
    processor = Llava(checkpoint).ready.processor
    assert _mean_colour(processor.image_processor) == (122, 116, 104)  # as LLaVA's own code


def test_max_side_bounds_the_tiles(checkpoints):
    folder, picture = str(checkpoints["onevision"]), pictures(1)[0]
    counts = []
    for side in (None, 28):
        vlm = Llava(folder, max_side=side)
        vlm.first_token([FirstToken(picture, NAME)])
        counts.append(vlm.counters["prefill_tokens"])
    assert counts[0] > counts[1]
