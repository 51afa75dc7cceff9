"""Measures of masks from several points, by hand."""

import numpy as np
import pytest

from int_bench.metrics.points import boundary, boundary_distance, boundary_iou, point_scores


def square(x0, y0, x1, y1, side=40):
    mask = np.zeros((side, side), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


TRUTH = square(10, 10, 20, 20)


def test_mean_and_spread_over_positions():
    masks = [TRUTH, square(10, 10, 15, 20), np.zeros_like(TRUTH)]  # 1, 1/2 and 0
    scores = point_scores(masks, TRUTH)
    assert (scores.first, scores.mean) == (1.0, 0.5)
    assert scores.spread == pytest.approx(np.sqrt(1 / 6))


def test_masks_of_equal_quality_have_no_spread():
    assert point_scores([square(12, 10, 22, 20), square(8, 10, 18, 20)], TRUTH).spread == 0.0


def test_a_boundary_is_one_pixel_wide_and_ends_at_the_edge_of_the_image():
    assert boundary(TRUTH).sum() == 36
    assert boundary(np.ones((5, 5), dtype=bool)).sum() == 16


def test_the_distance_of_boundaries_by_hand():
    assert boundary_distance(TRUTH, TRUTH) == 0.0
    there = (4 * 10 * 2 + 4 * 2 * np.sqrt(5) + 4 * np.sqrt(8)) / 52
    away = boundary_distance(square(8, 8, 22, 22), TRUTH)
    assert away == pytest.approx((there + 2.0) / 2)  # and from the true one always 2
    assert boundary_distance(TRUTH, square(8, 8, 22, 22)) == pytest.approx(away)
    assert boundary_distance(np.zeros_like(TRUTH), TRUTH) is None
    assert np.isnan(point_scores([np.zeros_like(TRUTH)], TRUTH).distance)


def test_the_iou_of_boundaries_sees_what_the_iou_does_not():
    """A large square with a rim of one pixel less: all of its area but little of its boundary."""
    truth, mask = square(2, 2, 38, 38), square(3, 3, 37, 37)
    assert point_scores([mask], truth).mean > 0.89
    assert boundary_iou(mask, truth, 0.0) == 0.0
    assert boundary_iou(truth, truth) == 1.0
