"""Redundant work is zero: counters equal their closed forms, on any machine, whatever its speed.

The vision-language part of one image with nine patches and four iterations, on a random LLaVA with
the true 576 image tokens; and the whole method on the shipped models.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from int_bench.core import templates
from int_bench.core.requests import Heatmap, Inpaint, Segment, Similarity, key_of
from scripts.bench import zoo
from scripts.bench.dialogues import PlainLlava, Said, draw_patches, engine
from scripts.bench.engine import plain_chats, prompt_lengths
from scripts.bench.plain import one_by_one, run_plain
from scripts.bench.replay import closed_forms
from scripts.bench.untrained.llava import TINY, random_llava

PATCHES, ITERATIONS = 9, 4
IMAGE_TOKENS = 576


class Chats:
    """Both orders over the same patches, once."""

    def __init__(self) -> None:
        drawn = draw_patches(PATCHES, ITERATIONS)
        self.vlm = random_llava(TINY, max_batch=64, prefix_cache_mb=512)
        self.plain = PlainLlava(self.vlm)
        self.seen = Passes(self.plain.model)
        self.theirs: list[Said] = plain_chats(self.plain, drawn)
        self.seen.remove()
        self.ours = engine(self.vlm, [drawn], 64, 1)[0]
        self.lengths = prompt_lengths(self.plain, drawn, self.theirs)


class Passes:
    """Counts at the modules themselves: pictures into the tower, positions into the model."""

    def __init__(self, model: Any) -> None:
        self.pictures = self.positions = 0
        tower, language = model.model.vision_tower, model.model.language_model
        self._hooks = [
            tower.register_forward_pre_hook(self._picture, with_kwargs=True),
            language.register_forward_pre_hook(self._position, with_kwargs=True),
        ]

    def _picture(self, module: Any, args: Any, named: Any) -> None:
        self.pictures += len(args[0] if args else named["pixel_values"])

    def _position(self, module: Any, args: Any, named: Any) -> None:
        rows, columns, _ = named["inputs_embeds"].shape
        self.positions += rows * columns

    def remove(self) -> None:
        for hook in self._hooks:
            hook.remove()


@pytest.fixture(scope="module")
def chats() -> Iterator[Chats]:
    yield Chats()


def test_prompts_hold_the_true_number_of_image_tokens(chats: Chats) -> None:
    assert all(IMAGE_TOKENS < turn < 900 for chat in chats.lengths for turn in chat)


def test_predecessors_order_takes_what_its_closed_form_says(chats: Chats) -> None:
    work = closed_forms.predecessor(chats.lengths, ITERATIONS)
    assert work.vision_passes == 4 * PATCHES * (2 * ITERATIONS - 1) == 252
    assert chats.plain.counters["vision_passes"] == work.vision_passes
    assert chats.plain.counters["prefill_tokens"] == work.prefill_tokens


def test_the_plain_counters_are_what_reached_the_modules(chats: Chats) -> None:
    counters = chats.plain.counters
    assert chats.seen.pictures == counters["vision_passes"]
    positions = ("prefill_tokens", "decode_steps", "scored_tokens")
    assert chats.seen.positions == sum(counters[name] for name in positions)


def test_engine_computes_each_distinct_beginning_once(chats: Chats) -> None:
    work = closed_forms.engine(chats.lengths, ITERATIONS)
    assert work.vision_passes == PATCHES * ITERATIONS == 36
    assert chats.vlm.counters["vision_passes"] == work.vision_passes
    assert chats.vlm.counters["prefill_tokens"] == work.prefill_tokens


def test_a_seventh_of_the_passes_and_a_sixth_of_the_tokens_are_left(chats: Chats) -> None:
    ours, theirs = chats.vlm.counters, chats.plain.counters
    assert 7 * ours["vision_passes"] <= theirs["vision_passes"]
    assert 6 * ours["prefill_tokens"] <= theirs["prefill_tokens"]


def test_both_orders_say_the_same(chats: Chats) -> None:
    assert [text for text, _ in chats.ours] == [text for text, _ in chats.theirs]
    assert len({text for text, _ in chats.theirs}) > len(chats.theirs) / 8  # not one for all
    for (_, a), (_, b) in zip(chats.ours, chats.theirs, strict=True):
        assert [pytest.approx(row, abs=1e-5) for row in b] == [*a]


class TestWholeMethod:
    """Nine patches, two iterations, the shipped models: what was asked against what was done."""

    @pytest.fixture(scope="class")
    def asked(self) -> dict[str, list[Any]]:
        """Every distinct request of the plain order, by verb."""
        sizes = zoo.Zoo(1, 2)
        found: dict[Any, Any] = {}
        ask = one_by_one(sizes.backbones(), False, lambda r, _: found.setdefault(key_of(r), r))
        run_plain(sizes.jobs().values(), ask)
        verbs = {request.verb for request in found.values()}
        return {verb: [r for r in found.values() if r.verb == verb] for verb in verbs}

    @pytest.fixture(scope="class")
    def counters(self) -> Any:
        return zoo.engine(zoo.Zoo(1, 2), zoo.E0, 1).counters

    def test_every_request_is_computed_once(self, asked: Any, counters: Any) -> None:
        for verb, requests in asked.items():
            assert counters[f"{requests[0].role}.{verb}.rows"] == len(requests)

    def test_every_picture_is_encoded_once(self, asked: Any, counters: Any) -> None:
        pictures = {
            verb: {request.image.digest for request in requests} for verb, requests in asked.items()
        }
        vlm = pictures["answer"] | pictures["score"]
        assert counters["vlm.vision_passes"] == len(vlm)
        assert counters["segmenter.images_encoded"] == len(pictures[Segment.verb])
        encoded = len(pictures[Heatmap.verb]) + len(pictures[Similarity.verb])
        assert counters["aligner.images_encoded"] == encoded

    def test_every_text_is_encoded_once(self, asked: Any, counters: Any) -> None:
        heat = {t for r in asked[Heatmap.verb] for t in (*r.foreground, *r.background, "")}
        bare = {request.text for request in asked[Similarity.verb]}
        # Texts stay for the whole process, so an earlier run may have encoded them already.
        most = len(heat) * len(templates.CLIP_TEMPLATES) + len(bare)
        assert counters.get("aligner.texts_encoded", 0) <= most
        inpainter: Any = zoo.Zoo(1, 2).backbones()["inpainter"]
        prompts = {request.prompt for request in asked[Inpaint.verb]}
        if inpainter.guidance_scale > 1:
            prompts |= {request.negative_prompt for request in asked[Inpaint.verb]}
        assert counters["inpainter.texts_encoded"] == len(prompts)
