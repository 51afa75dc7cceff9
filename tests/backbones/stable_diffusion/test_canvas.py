"""The inpainter's square by hand: windows, mirrored masks, whole cells, ramps, exact pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from int_bench.backbones.stable_diffusion import canvas


def _random(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_square_of_the_right_size_stays_as_it_is():
    image, mask = _random(16, 16), np.eye(16, dtype=bool)
    square = canvas.to_canvas(image, mask, 16, "reflect")
    assert square.window == (0, 0, 16, 16)
    assert np.array_equal(square.image, image)
    assert np.array_equal(square.mask, mask)


def test_letterbox_window_and_mirror():
    image, mask = _random(4, 8), np.zeros((4, 8), bool)
    mask[1, 5] = True
    square = canvas.to_canvas(image, mask, 8, "reflect")
    assert square.window == (2, 0, 4, 8)
    assert np.array_equal(square.image[2:6], image)
    assert np.array_equal(square.image[1], image[1])  # row -1 mirrors row 1
    assert np.array_equal(square.image[6:], image[[2, 1]])  # rows 4, 5 mirror rows 2, 1
    assert np.argwhere(square.mask).tolist() == [[1, 5], [3, 5], [7, 5]]


def test_edge_padding_repeats_the_border():
    image, mask = _random(4, 8), np.zeros((4, 8), bool)
    mask[0, 3] = True
    square = canvas.to_canvas(image, mask, 8, "edge")
    assert np.array_equal(square.image[0], image[0])
    assert np.array_equal(square.image[7], image[3])
    assert square.mask[:, 3].tolist() == [True, True, True] + [False] * 5


def test_squash_uses_the_whole_square():
    square = canvas.to_canvas(_random(5, 20), np.ones((5, 20), bool), 10, None)
    assert square.window == (0, 0, 10, 10)
    assert square.mask.all()


def test_one_masked_pixel_survives_shrinking():
    mask = np.zeros((512, 512), bool)
    mask[301, 77] = True
    square = canvas.to_canvas(_random(512, 512), mask, 64, "reflect")
    assert square.mask.sum() == 1
    assert square.mask[301 // 8, 77 // 8]


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from(["reflect", "edge", None]))
@settings(max_examples=40, deadline=None)
def test_any_shape_goes_in_and_comes_back(height, width, padding):
    image, mask = np.full((height, width, 3), 77, np.uint8), np.zeros((height, width), bool)
    mask[height // 2, width // 2] = True
    square = canvas.to_canvas(image, mask, 32, padding)
    assert square.image.shape == (32, 32, 3)
    assert square.mask.any()
    assert (square.image == 77).all()
    back = canvas.from_canvas(square.image, square.window, (height, width))
    assert np.array_equal(back, image)


def test_from_canvas_cuts_the_window():
    image, mask = _random(4, 8), np.zeros((4, 8), bool)
    square = canvas.to_canvas(image, mask, 8, "reflect")
    assert np.array_equal(canvas.from_canvas(square.image, square.window, (4, 8)), image)


def test_cover_cells():
    mask = np.zeros((8, 8), bool)
    mask[3, 4] = True
    expected = np.zeros((8, 8), bool)
    expected[0:4, 4:8] = True
    assert np.array_equal(canvas.cover_cells(mask, 4), expected)
    assert np.array_equal(canvas.cover_cells(mask, 1), mask)


def test_the_ramp_rises_inwards():
    mask = np.zeros((1, 11), bool)
    mask[0, 3:11] = True  # touches the right border, which is no rim
    row = canvas.feathered(mask, 3)[0]
    assert row == pytest.approx([0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1])
    assert canvas.feathered(mask, 0)[0].tolist() == mask[0].astype(float).tolist()
    assert (canvas.feathered(np.ones((5, 5), bool), 3) == 1).all()


def test_the_composite_is_exact_outside_and_rounded_inside():
    image, filled = np.full((1, 3, 3), 100, np.uint8), np.full((1, 3, 3), 201, np.uint8)
    blend = canvas.composite(image, filled, np.array([[0, 0.25, 1]], np.float32))
    assert blend[0, :, 0].tolist() == [100, 125, 201]
