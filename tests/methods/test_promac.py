"""ProMaC as intended and as released, on a VLM whose bias can be worked out by hand.

Without a picture or without red it believes in a crab with probability one half, and so it does
with a little red; p(frog) is the share of red pixels. Only a contrast with the erased picture tells
that the frog is there.
"""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np
import pytest

from int_bench.core.requests import ContrastiveAnswer, Heatmap, Inpaint
from tests.fakes import RedIsAFrog, red, scene
from tests.methods.running import method, of, run, sample


class Biased(RedIsAFrog):
    """Names by contrast of log p; all else as its parent."""

    @staticmethod
    def _say(request: Any) -> str:
        if "name" in request.question.lower() and "environment" not in request.question:
            return "crab"
        return RedIsAFrog._say(request)

    def contrast(self, requests: Any) -> list[str]:
        self._seen(requests)
        return [self._contrast(request) for request in requests]

    def _contrast(self, request: ContrastiveAnswer) -> str:
        if self._say(request) != "crab":
            return RedIsAFrog._say(request)
        with_it = self._probabilities(request.image)
        without = self._probabilities(request.contrast)
        a = request.alpha
        return max(with_it, key=lambda name: (1 + a) * log(with_it[name]) - a * log(without[name]))

    @staticmethod
    def _probabilities(picture: Any) -> dict[str, float]:
        if picture is None:
            return {"frog": 0.01, "crab": 0.01}
        return {"frog": max(float(red(picture.pixels).mean()), 1e-6), "crab": 0.5}


def go(name: str, *overrides: str, **models: Any) -> Any:
    return run(method(name, *overrides), {"vlm": Biased(), **models})


def test_the_intended_method_finds_the_square_and_overcomes_its_bias() -> None:
    prediction, asked = go("promac")
    assert len(prediction.iterations) == 4
    assert prediction.final.prompt == "frog"
    assert (prediction.final.masks.hard == red(scene())).all()
    # Three questions about the whole image in each iteration; from the second one on four about
    # each of five patches, against what they look like without the object. As decoding is greedy
    # and masks are equal from then on, later iterations repeat requests, which cost nothing.
    contrasted = of(ContrastiveAnswer, asked)
    assert all(request.contrast is not None for request in contrasted)
    assert len(contrasted) == 3 + 23
    assert all((request.alpha, request.plausibility) == (1.0, 0.1) for request in contrasted)


def test_the_inpainter_is_told_what_to_put_there_and_what_not() -> None:
    first = of(Inpaint, go("promac")[1])[0]
    assert first.prompt == "leaves, high quality, detailed, blended to the original image."
    assert first.negative_prompt == "crab, is a camouflaged animal"
    assert first.mask.mask[8:20, 12:24].all() and first.mask.mask.sum() == 144


def test_deviation_the_released_contrast_sees_no_picture() -> None:
    seeing, _ = go("promac")
    blind, asked = go("promac", "method.prompter.reasoning.branch=text")
    assert seeing.final.prompt == "frog" and blind.final.prompt == "crab"
    assert {request.contrast for request in of(ContrastiveAnswer, asked)} == {None}
    assert not of(Inpaint, asked), "what nobody looks at is not computed"


def test_deviation_the_released_view_is_the_centre_with_boxes_of_the_whole() -> None:
    """Red is x 12..24 of 60. The centre is x 10..50: red at 2/40..14/40, times 60 is 3..21."""
    boxes = {
        name: go(name)[0].iterations[0].details["answers"][0]["box_image"]
        for name in ("promac", "promac_released")
    }
    assert boxes["promac"] == pytest.approx([12, 8, 24, 20], abs=0.01)
    assert boxes["promac_released"] == pytest.approx([3, 8, 21, 20], abs=0.01)


def test_deviation_what_lies_outside_the_centre_is_not_seen() -> None:
    pixels = scene()
    pixels[8:20, 12:24] = (0, 120, 0)
    pixels[8:20, 0:8] = (200, 40, 40)
    for name, found in (("promac", True), ("promac_released", False)):
        prediction, _ = run(method(name), {"vlm": Biased()}, sample(pixels))
        assert (prediction.iterations[0].details["answers"][0]["box_image"] is not None) == found


def test_deviation_the_released_texts_hold_python_lists() -> None:
    _, intended = go("promac")
    heat = of(Heatmap, intended)[0]
    assert (heat.foreground, heat.background) == (("frog",), ("leaves",))
    _, released = go("promac_released")
    heat = of(Heatmap, released)[0]
    assert heat.foreground == ("['crab']",)
    assert heat.background == ("['leaves', 'leaves', 'leaves', 'leaves', 'leaves']",)
    asked = [request.question for request in of(ContrastiveAnswer, released)]
    assert any("are: ['crab', 'crab', 'crab', 'crab', 'crab']" in question for question in asked)
    _, mixed = go("promac", "method.prompter.lists=repr")
    assert of(Inpaint, mixed)[0].negative_prompt.endswith(", is a ['camouflaged animal']")


def test_deviation_the_released_decoding_samples_and_does_not_cut() -> None:
    requests = of(ContrastiveAnswer, go("promac_released")[1])
    assert {request.plausibility for request in requests} == {0.0}
    assert {request.temperature for request in requests} == {0.2, 0.9}
    assert len({request.seed for request in requests}) == len(requests)


def test_calls_of_the_released_code_per_image() -> None:
    """92 answers in four iterations: 4 x (5 x 4 + 3), of which the first 20 are plain."""
    _, asked = go("promac_released")
    answers = [r for r in asked if r.role == "vlm"]
    assert len(answers) == 92 and len(of(ContrastiveAnswer, asked)) == 72


def test_without_a_final_box_the_chat_before_is_believed_and_then_the_patches() -> None:
    class NoFinalBox(Biased):
        mute = ("Output one bounding box",)

        def contrast(self, requests: Any) -> list[str]:
            said = super().contrast(requests)
            mute = [request.question.startswith(self.mute) for request in requests]
            return ["none" if m else text for m, text in zip(mute, said, strict=True)]

    class NoBoxOfTheWhole(NoFinalBox):
        mute = (*NoFinalBox.mute, "The potential camouflaged animal are: crab, now")

    for vlm in (NoFinalBox(), NoBoxOfTheWhole()):
        prediction, _ = run(method("promac", "method.iterations=1"), {"vlm": vlm})
        assert prediction.final.box_image == pytest.approx((12, 8, 24, 20), abs=0.01)


def test_a_mask_over_everything_contrasts_with_black() -> None:
    pixels = np.full((20, 30, 3), (200, 40, 40), dtype=np.uint8)
    prediction, asked = run(method("promac"), {"vlm": Biased()}, sample(pixels))
    assert not of(Inpaint, asked)
    assert not of(ContrastiveAnswer, asked)[0].contrast.pixels.any()
    assert prediction.final.prompt == "frog"
