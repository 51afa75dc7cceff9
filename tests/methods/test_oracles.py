"""The upper bounds see the truth; nothing else does."""

from __future__ import annotations

import numpy as np
import pytest

from int_bench.core.requests import Detect, Segment
from int_bench.errors import SampleError
from tests.fakes import red, scene
from tests.methods.running import method, of, run, sample


def two_squares() -> np.ndarray:
    pixels = scene()
    pixels[25:35, 40:55] = (200, 40, 40)
    return pixels


def test_oracle_box_sam_prompts_with_a_box_for_each_object_the_largest_first() -> None:
    pixels = two_squares()
    one = sample(pixels, truth=red(pixels), truth_name="frog")
    prediction, asked = run(method("oracle_box_sam"), one=one)
    assert [s.box for s in of(Segment, asked)] == [(40, 25, 55, 35), (12, 8, 24, 20)]
    assert (prediction.final.masks.hard == red(pixels)).all() and prediction.final.prompt == "frog"


def test_oracle_name_segments_the_true_name_whatever_the_vlm_believes() -> None:
    """The fake says frog of this picture; a detector asked for a crab finds nothing."""
    one = sample(truth=red(scene()), truth_name="crab")
    prediction, asked = run(method("oracle_name"), one=one)
    assert {item.prompt for item in prediction.iterations} == {"crab"}
    assert {request.text for request in of(Detect, asked)} == {"crab."}
    assert len(prediction.iterations) == 5
    right, _ = run(method("oracle_name"), one=sample(truth=red(scene()), truth_name="Frog"))
    assert (right.final.masks.hard == red(scene())).all()
    assert right.final.box_image == pytest.approx((12, 8, 24, 20), abs=0.01)


def test_oracles_alone_ask_for_the_truth() -> None:
    assert method("oracle_box_sam").wants_truth and method("oracle_name").wants_truth
    for name in ("int", "promac", "gensam", "grounding_sam", "llava_sam"):
        assert not method(name).wants_truth


@pytest.mark.parametrize("name", ["oracle_box_sam", "oracle_name"])
def test_without_a_truth_the_sample_fails_with_its_name(name: str) -> None:
    with pytest.raises(SampleError, match="Sample one has no"):
        run(method(name), one=sample())
