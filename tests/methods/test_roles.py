"""A method says which models it can ask, and asks no others."""

from __future__ import annotations

from typing import Any

import pytest

from int_bench.core.instances import Instance
from int_bench.core.requests import Detect, Detection
from tests.fakes import RedBox, red, scene
from tests.methods.running import method, run, sample
from tests.methods.test_direct import Instances, Objects
from tests.methods.test_promac import Biased

INT = {"vlm", "inpainter", "detector", "segmenter", "aligner"}
NONE: set[str] = set()
METHODS = {
    "int": INT,
    "promac": INT - {"detector"},
    "promac_released": INT - {"detector", "inpainter"},
    "gensam": {"vlm", "segmenter", "aligner"},
    "grounding_sam": {"detector", "segmenter"},
    "clip_surgery_sam": {"aligner", "segmenter"},
    "llava_sam": {"vlm", "segmenter"},
    "vlm_api_sam": {"vlm", "segmenter"},
    "sam3": {"concept_segmenter"},
    "sapnet": {"instance_segmenter"},
    "oracle_box_sam": {"segmenter"},
    "oracle_name": INT - {"inpainter"},
    "sam_top1_point": {"segmenter"},
    "oracle_of_bag": {"segmenter"},
    "mil_single": {"segmenter", "selector"},
    "sapnet_select": {"segmenter", "selector"},
    "sam_point": {"segmenter"},
    "plm_point": {"segmenter"},
    "empty": NONE,
    "full": NONE,
    "centre_box": NONE,
}
OPTIONS = {
    "prompter.selection.negative=false": INT - {"inpainter"},
    "masker.semantic=false": INT - {"detector"},
    "masker.boxes.source=vlm": INT - {"detector"},
    "masker.weighing.mode=uniform": INT,
}


class AnyBox(RedBox):
    """A detector that finds whatever it is asked for."""

    @staticmethod
    def _find(request: Detect) -> tuple[Detection, ...]:
        return (Detection((0, 0, 9, 9), 0.9),)


def asked(segmenting: Any) -> set[str]:
    frog = Instance("frog", "frog", red(scene()), (12.0, 8.0, 24.0, 20.0), (18.0, 14.0))
    truth = sample(truth=frog.mask, truth_name="frog", objects=(frog,))
    models = {"vlm": Biased(), "detector": AnyBox(), "concept_segmenter": Instances()}
    models |= {"instance_segmenter": Objects()}
    return {request.role for request in run(segmenting, models, truth)[1]}


def test_every_shipped_method_is_here() -> None:
    from int_bench.config.places import options

    assert set(options("method")) == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_asks_the_roles_that_it_says(name: str) -> None:
    needed = ("backbone.selector.checkpoint=.",) if "selector" in METHODS[name] else ()
    segmenting = method(name, *needed)
    assert segmenting.roles == METHODS[name] == asked(segmenting)


@pytest.mark.parametrize("option", OPTIONS)
def test_roles_follow_the_options(option: str) -> None:
    segmenting = method("int", f"method.{option}")
    assert segmenting.roles == OPTIONS[option] == asked(segmenting)


def test_neither_points_nor_similarities_need_no_aligner() -> None:
    options = ("masker.weighing.mode=uniform", "masker.points.placement=none")
    segmenting = method("int", *(f"method.{option}" for option in options))
    assert segmenting.roles == INT - {"aligner"} == asked(segmenting)
