"""The inpainter without weights: three fills, nothing changed outside of the mask."""

from typing import get_args

import cv2
import numpy as np
import pytest

from int_bench.backbones.opencv import ClassicInpainter, Fill, _blurred
from int_bench.core.requests import Inpaint
from int_bench.core.types import Picture, Stencil

FILLS = get_args(Fill)
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)
MASK = np.zeros((40, 60), bool)
MASK[10:20, 15:40] = True


def _request(image=IMAGE, mask=MASK, seed=0):
    return Inpaint(Picture(image), Stencil(mask), "leaves", "frog is not an animal.", seed)


@pytest.mark.parametrize("fill", FILLS)
def test_only_the_mask_changes(fill):
    (filled,) = ClassicInpainter(fill).inpaint([_request()])
    assert filled.shape == IMAGE.shape
    assert filled.dtype == np.uint8
    assert np.array_equal(filled[~MASK], IMAGE[~MASK])
    assert (filled[MASK] != IMAGE[MASK]).any(axis=1).mean() > 0.9


@pytest.mark.parametrize("fill", FILLS)
def test_equal_requests_have_equal_answers_in_any_company(fill):
    other = _request(RNG.integers(0, 256, (9, 7, 3), dtype=np.uint8), np.eye(9, 7, dtype=bool))
    inpainter = ClassicInpainter(fill)
    first = inpainter.inpaint([_request()])[0]
    again = inpainter.inpaint([other, _request(seed=1)])
    assert again[0].shape == (9, 7, 3)
    assert np.array_equal(again[1], first)


def test_blackout_is_black():
    (filled,) = ClassicInpainter("blackout").inpaint([_request()])
    assert (filled[MASK] == 0).all()


def test_telea_is_opencvs_and_continues_a_plain_surface():
    (filled,) = ClassicInpainter("telea", radius=4).inpaint([_request()])
    expected = cv2.inpaint(IMAGE, MASK.astype(np.uint8), 4, cv2.INPAINT_TELEA)
    assert np.array_equal(filled[MASK], expected[MASK])
    plain = np.full((40, 60, 3), 90, np.uint8)
    scene = np.where(MASK[..., None], 255, plain).astype(np.uint8)
    (filled,) = ClassicInpainter("telea").inpaint([_request(scene)])
    assert np.abs(filled.astype(int) - 90).max() <= 3  # OpenCV truncates


def test_blur_keeps_the_mean_and_loses_the_detail():
    (filled,) = ClassicInpainter("blur", blur=0.1).inpaint([_request()])
    assert filled[MASK].mean() == pytest.approx(IMAGE[10:20, 15:40].mean(), abs=8)
    assert filled[MASK].std() < IMAGE[MASK].std() / 4


def test_a_wide_blur_is_that_of_the_whole_image_up_to_rounding():
    smooth = cv2.resize(RNG.integers(0, 256, (9, 12, 3), dtype=np.uint8), (450, 300))
    filled = _blurred(smooth, 90.0)
    assert filled.shape == smooth.shape
    assert np.abs(filled.astype(int) - cv2.GaussianBlur(smooth, (0, 0), 90.0)).max() <= 3


def test_blur_of_an_even_image_changes_nothing():
    plain = np.full((40, 60, 3), 90, np.uint8)
    assert np.array_equal(ClassicInpainter("blur").inpaint([_request(plain)])[0], plain)


@pytest.mark.parametrize("fill", FILLS)
def test_an_empty_mask_gives_the_image_itself(fill):
    inpainter = ClassicInpainter(fill)
    request = _request(mask=np.zeros((40, 60), bool))
    assert inpainter.inpaint([request])[0] is request.image.pixels
    assert inpainter.counters == {}


@pytest.mark.parametrize("fill", ["telea", "blackout"])
def test_a_full_mask_leaves_nothing_of_the_image(fill):
    (filled,) = ClassicInpainter(fill).inpaint([_request(mask=np.ones((40, 60), bool))])
    assert (filled == 0).all()


def test_counts_and_identity():
    inpainter = ClassicInpainter("telea", radius=5)
    inpainter.inpaint([_request(), _request(seed=1)])
    assert inpainter.counters["images"] == 2
    assert inpainter.identity == {
        "class": "ClassicInpainter",
        "fill": "telea",
        "radius": 5,
        "blur": 0.05,
        "version": cv2.__version__,
    }


def test_a_mask_of_another_size():
    with pytest.raises(ValueError, match="differ in size"):
        ClassicInpainter().inpaint([_request(mask=np.ones((4, 4), bool))])
