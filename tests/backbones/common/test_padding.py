"""Squares, by hand."""

import numpy as np
import pytest

from int_bench.backbones.common.square import LARGEST_SIDE, shrunk, to_square
from int_bench.core.geometry import box_patch_from_square


def test_pad_keeps_everything_in_the_middle():
    image = np.arange(2 * 5 * 3, dtype=np.uint8).reshape(2, 5, 3)
    square = to_square(image, "pad", (7, 8, 9))
    assert square.shape == (5, 5, 3)
    assert np.array_equal(square[1:3], image)  # 3 rows of bars: 1 above, 2 below
    assert (square[[0, 3, 4]] == (7, 8, 9)).all()
    tall = to_square(image.transpose(1, 0, 2), "pad", (7, 8, 9))
    assert np.array_equal(tall[:, 1:3], image.transpose(1, 0, 2))


def test_crop_and_squash():
    image = np.arange(2 * 5 * 3, dtype=np.uint8).reshape(2, 5, 3)
    assert np.array_equal(to_square(image, "center_crop", (0, 0, 0)), image[:, 1:3])
    assert to_square(image, "squash", (0, 0, 0)).shape == (5, 5, 3)
    level = np.full((4, 9, 3), 50, np.uint8)
    assert (to_square(level, "squash", (0, 0, 0)) == 50).all()
    assert to_square(level[:, :4], "pad", (0, 0, 0)) is not None


@pytest.mark.parametrize("preprocess", ["pad", "center_crop", "squash"])
@pytest.mark.parametrize("size", [(30, 71), (71, 30), (40, 40)])
def test_geometry_maps_a_box_back_from_the_square(preprocess, size):
    image = np.zeros((*size, 3), np.uint8)
    image[16:24, 17:23] = 255
    square = to_square(image, preprocess, (0, 0, 0))
    rows, columns = np.where(square[..., 0] > 127)
    ends = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    box_square = tuple(float(end) / len(square) for end in ends)
    box_patch = box_patch_from_square(box_square, size, preprocess)
    if preprocess == "center_crop":  # what the crop has left of it
        kept = np.zeros(size, bool)
        top, left = (size[0] - min(size)) // 2, (size[1] - min(size)) // 2
        kept[top : top + min(size), left : left + min(size)] = True
        rows, columns = np.where(kept & (image[..., 0] > 0))
        expected = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    else:
        expected = (17, 16, 23, 24)
    np.testing.assert_allclose(box_patch, expected, atol=1.0 if preprocess == "squash" else 1e-9)


@pytest.mark.parametrize("preprocess", ["pad", "center_crop", "squash"])
def test_a_square_is_bounded(preprocess):
    long = np.full((20, 3 * LARGEST_SIDE, 3), 90, np.uint8)
    side = len(to_square(long, preprocess, (0, 0, 0)))
    assert side == (20 if preprocess == "center_crop" else LARGEST_SIDE)


def test_shrinking_keeps_the_aspect_and_at_least_a_pixel():
    image = np.random.default_rng(0).integers(0, 256, (40, 100, 3), np.uint8)
    assert shrunk(image, 100) is image
    assert shrunk(image, 50).shape == (20, 50, 3)
    assert shrunk(image[:1], 10).shape == (1, 10, 3)
