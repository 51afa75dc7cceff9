"""The methods that look once, each as its YAML describes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from int_bench.core.geometry import Patch, run_lengths
from int_bench.core.requests import (
    Answer,
    Detect,
    Detection,
    Heatmap,
    InstanceMask,
    Segment,
    Segmentation,
    SegmentConcept,
)
from int_bench.errors import SampleError
from int_bench.methods.talk import read_box
from tests.fakes import Fake, RedBox, RedIsAFrog, RedMask, red, scene
from tests.methods.running import method, of, run, sample


class Says(RedIsAFrog):
    """A VLM that gives its answers one after the other."""

    def __init__(self, *answers: str) -> None:
        super().__init__()
        self.answers = list(answers)

    def answer(self, requests: Any) -> list[str]:
        self._seen(requests)
        return [self.answers.pop(0) for _ in requests]


# --- GroundingSAM


def test_grounding_sam_unites_the_masks_of_all_detections() -> None:
    pixels = scene()
    pixels[25:35, 40:55] = (200, 40, 40)

    class TwoBoxes(RedBox):
        @staticmethod
        def _find(request: Detect) -> tuple[Detection, ...]:
            return Detection((40, 25, 55, 35), 0.8), Detection((12, 8, 18, 20), 0.4)

    prediction, asked = run(method("grounding_sam"), {"detector": TwoBoxes()}, sample(pixels))
    expected = red(pixels)
    expected[8:20, 18:24] = False  # the second box holds the left half of its square only
    assert (prediction.final.masks.hard == expected).all()
    detect = of(Detect, asked)[0]
    assert (detect.text, detect.box_threshold) == ("camouflaged animal.", 0.30)
    assert [r.multimask for r in of(Segment, asked)] == [False, False]
    assert [d["score"] for d in prediction.final.details["detections"]] == [0.8, 0.4]


def test_grounding_sam_without_a_detection_is_empty() -> None:
    prediction, asked = run(method("grounding_sam"))
    assert not prediction.final.masks.hard.any() and not of(Segment, asked)


# --- CLIP Surgery + SAM


def test_clip_surgery_sam_prompts_with_as_many_points_of_each_kind_and_no_box() -> None:
    """The 4x4 heat halves to 2x2: the square's cell is 1/4 hot, all others cold."""
    prediction, asked = run(method("clip_surgery_sam"))
    (segment,) = of(Segment, asked)
    assert segment.box is None and segment.multimask
    negative, positive = segment.points
    assert (positive.x, positive.y, positive.positive) == (15.0, 10.0, True)
    assert not negative.positive
    assert of(Heatmap, asked)[0].foreground == ("camouflaged animal",)
    assert (prediction.final.masks.hard == red(scene())).all()


# --- LLaVA + SAM, and the endpoint


def test_llava_sam_asks_one_question_and_segments_its_box() -> None:
    prediction, asked = run(method("llava_sam"))
    assert len(of(Answer, asked)) == 1
    (segment,) = of(Segment, asked)
    assert segment.box == pytest.approx((12, 8, 24, 20), abs=0.01)
    assert (prediction.final.masks.hard == red(scene())).all()


def test_llava_sam_without_a_box_takes_the_whole_image() -> None:
    _, asked = run(method("llava_sam"), {"vlm": Says("I see none.")})
    assert of(Segment, asked)[0].box == (0, 0, 60, 40)


def test_the_endpoint_is_asked_again_for_nothing_but_the_box() -> None:
    vlm = Says("There it is!", "[0.2, 0.3, 0.4, 0.5]")
    prediction, asked = run(method("vlm_api_sam"), {"vlm": vlm})
    first, second = of(Answer, asked)
    assert "four fractions" in first.question and second.question.startswith("Output nothing but")
    assert second.history[0].answer == "There it is!"
    # 60 x 40 padded to 60 x 60: 10 pixels above, so y is 18 - 10 .. 30 - 10.
    assert prediction.final.box_image == pytest.approx((12, 8, 24, 20))


def test_an_endpoint_that_never_gives_a_box_fails_the_sample_with_its_answer() -> None:
    with pytest.raises(SampleError, match=r"no box in 2 attempts.*'Sorry\.'"):
        run(method("vlm_api_sam"), {"vlm": Says("Hello.", "Sorry.")})


def test_a_box_that_falls_into_the_bars_is_no_box() -> None:
    whole = Patch("original", 0, 0, 60, 40)
    assert read_box("[0.0, 0.0, 1.0, 0.15]", whole, "pad") is None
    assert read_box("[0.0, 0.0, 1.0, 0.25]", whole, "pad") == pytest.approx((0, 0, 60, 5))


# --- SAM 3


class Instances(Fake):
    """A concept segmenter that finds two halves of the square."""

    def segment_concept(self, requests: Any) -> list[tuple[Segmentation, ...]]:
        self._seen(requests)
        return [self._halves(request) for request in requests]

    @staticmethod
    def _halves(request: SegmentConcept) -> tuple[Segmentation, ...]:
        left = red(request.image.pixels)
        right = left.copy()
        left[:, 18:], right[:, :18] = False, False
        logits = [np.where(half, 3.0, -3.0).astype(np.float32) for half in (left, right)]
        found = (Segmentation(logits[0], 0.9), Segmentation(logits[1], 0.6))
        return tuple(item for item in found if "animal" in request.text)


def test_sam3_unites_its_instances() -> None:
    prediction, asked = run(method("sam3"), {"concept_segmenter": Instances()})
    assert (prediction.final.masks.hard == red(scene())).all()
    assert of(SegmentConcept, asked)[0].text == "camouflaged animal"
    assert [d["score"] for d in prediction.final.details["detections"]] == [0.9, 0.6]


def test_sam3_without_an_instance_is_empty() -> None:
    prediction, _ = run(method("sam3"), {"concept_segmenter": Instances()}, sample(task="polyp"))
    assert not prediction.final.masks.hard.any()


# --- SAPNet


class Objects(Fake):
    """An instance segmenter that finds the square, half of it as a crab, and a frog elsewhere."""

    def instances(self, requests: Any) -> list[tuple[InstanceMask, ...]]:
        self._seen(requests)
        return [self._parts(red(request.image.pixels)) for request in requests]

    @staticmethod
    def _parts(square: Any) -> tuple[InstanceMask, ...]:
        half, corner = square.copy(), np.zeros_like(square)
        half[:, 18:], corner[:3, :5] = False, True
        return (
            InstanceMask(square, "camouflaged animal", 0.9),
            InstanceMask(half, "crab", 0.5),
            InstanceMask(corner, "frog", 0.2),
        )


def test_sapnet_unites_its_instances_above_the_score_and_records_all() -> None:
    prediction, asked = run(method("sapnet"), {"instance_segmenter": Objects()})
    assert {request.role for request in asked} == {"instance_segmenter"}
    masks = prediction.final.masks
    assert (masks.hard == red(scene())).all() and masks.soft.max() == np.float32(0.9)
    recorded = prediction.final.details["instances"]
    assert [(i["category"], i["score"]) for i in recorded] == [
        ("camouflaged animal", 0.9), ("crab", 0.5), ("frog", 0.2)]  # fmt: skip
    assert recorded[2]["counts"] == run_lengths(Objects._parts(red(scene()))[2].mask)


def test_sapnet_takes_the_class_of_the_task_if_told_to() -> None:
    options = ("method.masker.category=task", "method.masker.score=0.1")
    prediction, _ = run(method("sapnet", *options), {"instance_segmenter": Objects()})
    assert (prediction.final.masks.hard == red(scene())).all()
    everything, _ = run(method("sapnet", options[1]), {"instance_segmenter": Objects()})
    assert everything.final.masks.hard[:3, :5].all()
    asking = sample(task="polyp")
    empty, _ = run(method("sapnet", *options), {"instance_segmenter": Objects()}, asking)
    assert not empty.final.masks.hard.any()


def test_a_mask_is_the_largest_logit_of_its_parts() -> None:
    class Levels(RedMask):
        @staticmethod
        def _mask(request: Segment) -> Segmentation:
            assert request.box is not None
            return Segmentation(np.full((40, 60), request.box[0] - 1, dtype=np.float32), 0.5)

    class Boxes(RedBox):
        @staticmethod
        def _find(request: Detect) -> tuple[Detection, ...]:
            return Detection((0, 0, 9, 9), 0.9), Detection((1, 0, 9, 9), 0.8)

    models = {"detector": Boxes(), "segmenter": Levels()}
    prediction, _ = run(method("grounding_sam"), models)
    assert not prediction.final.masks.hard.any(), "0 is not above 0"
    assert prediction.final.masks.soft == pytest.approx(0.5)
