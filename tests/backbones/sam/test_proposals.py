"""All masks of a prompt against the library's predictor, and what they cost."""

import numpy as np
import pytest
from segment_anything import SamPredictor

from int_bench.backbones.sam.loading import SamSource, load_sam
from int_bench.backbones.sam.model import Sam
from int_bench.core.requests import Point, Proposals, Segment
from tests.backbones.sam.tiny_sam import BOX, picture, write_tiny_sam

POINT = (Point(30.5, 20.5, True),)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(write_tiny_sam(tmp_path_factory.mktemp("sam")))


@pytest.mark.parametrize("box", [None, BOX])
def test_they_are_all_multimask_outputs_of_the_library_best_first(folder, box):
    request = Proposals(picture(48, 70), POINT, box)
    (answers,) = Sam(folder, device="cpu").proposals([request])
    predictor = SamPredictor(load_sam(SamSource(folder)))
    predictor.set_image(request.image.pixels)
    masks, ious, _ = predictor.predict(
        point_coords=np.array([[30.5, 20.5]]),
        point_labels=np.array([1]),
        box=None if box is None else np.array(box),
        return_logits=True,
    )
    assert len(answers) == 3
    for answer, index in zip(answers, np.argsort(-ious, kind="stable"), strict=True):
        assert np.allclose(answer.logits, masks[index], atol=2e-4)
        assert answer.iou == pytest.approx(np.clip(ious[index], 0, 1), abs=1e-5)


def test_the_first_is_the_mask_that_segment_answers(folder):
    image = picture(64, 64)
    sam = Sam(folder, device="cpu")
    ((best, *_),) = sam.proposals([Proposals(image, POINT)])
    (alone,) = sam.segment([Segment(image, points=POINT)])
    assert np.array_equal(best.logits, alone.logits)
    assert best.iou == alone.iou


def test_a_picture_is_encoded_once_for_all_of_its_objects(folder):
    images = [picture(48, 70), picture(64, 64)]
    points = [(Point(float(x), 20.0, True),) for x in (5, 15, 25, 35)]
    requests = [Proposals(i, p, b) for i in images for p in points for b in (None, BOX)]
    sam = Sam(folder, device="cpu", max_batch=3)
    answers = sam.proposals(requests)
    assert sam.counters["images_encoded"] == 2
    assert sam.counters["rows"] == 16
    alone = Sam(folder, device="cpu").proposals(requests[-1:])[0]
    for together, single in zip(answers[-1], alone, strict=True):
        assert np.allclose(together.logits, single.logits, atol=1e-4)


def test_a_prompt_of_nothing_is_refused(folder):
    with pytest.raises(ValueError, match=r"Proposals of .* has neither a box nor a point"):
        Sam(folder, device="cpu").proposals([Proposals(picture(48, 70))])
