"""GenSAM: synonyms in, a heat map of them all, boxes from the mask before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from int_bench.core.requests import Answer, Heatmap, Segment
from int_bench.methods.gensam import box_around
from tests.fakes import RedIsAFrog, red, scene
from tests.methods.running import method, of, run, sample


class Synonyms(RedIsAFrog):
    """Another name and another surrounding for every synonym."""

    @staticmethod
    def _say(request: Any) -> str:
        names = {"camouflaged": "frog", "disguised": "toad", "hidden": "newt"}
        word = next(word for word in names if word in request.question)
        return f"{word} leaves" if "environment" in request.question else names[word]


def test_each_synonym_gives_a_text_of_the_heat_map() -> None:
    prediction, asked = run(method("gensam"), {"vlm": Synonyms()})
    heat = of(Heatmap, asked)[0]
    assert heat.foreground == ("frog", "toad", "newt")
    assert heat.background == ("camouflaged leaves", "disguised leaves", "hidden leaves")
    assert (prediction.final.prompt, len(prediction.iterations)) == ("frog", 6)
    assert (prediction.final.masks.hard == red(scene())).all()


def test_54_answers_are_sampled_each_with_its_own_seed() -> None:
    _, asked = run(method("gensam"), {"vlm": Synonyms()})
    answers = of(Answer, asked)
    assert len(answers) == 54 == len({request.seed for request in answers})
    assert {request.temperature for request in answers} == {0.2}
    assert {request.image for request in answers} == {sample().image}
    once = of(Answer, run(method("gensam", "method.prompter.requery=once"))[1])
    assert len(once) == 9


def test_sam_sees_the_original_and_clip_the_dimmed_view() -> None:
    _, asked = run(method("gensam"))
    assert {request.image for request in of(Segment, asked)} == {sample().image}
    assert len({request.image for request in of(Heatmap, asked)}) == 6
    first, second = of(Segment, asked)[:2]
    assert first.box is None and first.points
    # The mask is x 12..24, y 8..20; 10 % of 12 on the near side, then 10 % of 13.2 on the far side.
    assert second.box == pytest.approx((10.8, 6.8, 25.32, 21.32))


def test_the_box_is_that_of_the_component_with_the_largest_box_and_stays_inside() -> None:
    mask = np.zeros((20, 30), dtype=bool)
    mask[2:6, 2:6] = True  # 16 pixels, box of 16
    mask[10, 10:30] = mask[10:20, 10] = True  # 29 pixels, box of 200
    assert box_around(mask, 0.1) == (8.0, 9.0, 30.0, 20.0)
    assert box_around(np.zeros((4, 4), dtype=bool), 0.1) is None


def test_a_task_without_synonyms_is_asked_for_by_its_prompt() -> None:
    _, asked = run(method("gensam"), one=sample(task="skin lesion"))
    assert len(of(Answer, asked)) == 18
    assert {"skin lesion" in request.question for request in of(Answer, asked)} == {True}
