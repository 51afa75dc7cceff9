"""Measures of selection by hand."""

import numpy as np
import pytest

from int_bench.metrics.selection import box_iou, filling, gaps, is_local, takes_a_group


def mask(*columns: int) -> np.ndarray:
    row = np.zeros((2, 8), dtype=bool)
    row[:, list(columns)] = True
    return row


def test_boxes_that_do_not_meet_or_are_not_there_have_no_overlap():
    assert box_iou((0.0, 0.0, 2.0, 2.0), (2.0, 0.0, 4.0, 2.0)) == 0
    assert box_iou(None, (2.0, 0.0, 4.0, 2.0)) == 0
    assert box_iou((0.0, 0.0, 4.0, 2.0), (0.0, 0.0, 4.0, 2.0)) == 1


def test_more_than_half_of_a_neighbour_makes_a_group():
    assert takes_a_group(mask(0, 1, 2, 3), [mask(3, 4, 5), mask(2, 3, 6)]) == 1
    assert takes_a_group(mask(0, 1, 2), [mask(2, 3)]) == 0
    assert takes_a_group(mask(0, 1, 2), []) is None


def test_half_an_object_is_local():
    assert [is_local(value) for value in (0.0, 0.549, 0.55, 1.0)] == [1, 1, 0, 0]


def test_a_mask_fills_a_share_of_its_box():
    assert filling(mask(1, 2)) == 1
    assert filling(mask(0, 3)) == 0.5
    assert filling(mask()) == 0


def test_the_gap_is_over_masks_that_are_fuller_than_the_fullest_of_bags_on_average():
    fullest = np.array([0.4, 0.6, 0.5])  # of three bags; their mean is .5
    selected, true = np.array([0.4, 0.6, 0.52]), np.array([0.9, 0.4, 0.5])
    assert gaps(selected, true, fullest) == pytest.approx([0.2, 0.02])
    assert gaps(np.zeros(3), true, fullest).size == 0
