"""Algorithm 2 by hand."""

import pytest
import torch

from int_bench.backbones.selector import bms

BOX = torch.tensor([[10.0, 10.0, 20.0, 20.0]])


def _mined(*proposals: tuple[float, float, float, float], **options: object) -> list[float]:
    bag = torch.tensor([proposals])
    scores = options.pop("scores", torch.arange(len(proposals), 0, -1.0)[None])
    return bms.mine(BOX, bag, scores, **options)[0].tolist()


def test_a_larger_proposal_that_is_close_draws_the_box_most():
    u = 100 / 150  # the box inside 15 x 10
    expected = [(10 + u * 10) / (1 + u), 10.0, (25 + u * 20) / (1 + u), 20.0]
    assert _mined((10.0, 10.0, 25.0, 20.0)) == pytest.approx(expected)


def test_one_that_encloses_it_further_away_draws_it_less():
    u = 100 / 200
    assert _mined((10.0, 10.0, 30.0, 20.0)) == pytest.approx([10, 10, (u * 30 + 20) / (1 + u), 20])


@pytest.mark.parametrize(
    "proposal",
    [
        (10.0, 10.0, 19.0, 20.0),  # smaller
        (10.0, 10.0, 50.0, 20.0),  # encloses, IoU 1/4
        (13.0, 10.0, 28.0, 20.0),  # IoU .39, not around it
    ],
)
def test_others_leave_it(proposal):
    assert _mined(proposal) == BOX[0].tolist()


def test_two_pixels_may_lack():
    assert _mined((11.9, 10.0, 29.0, 20.0)) != BOX[0].tolist()
    assert _mined((12.1, 10.0, 29.0, 20.0)) == BOX[0].tolist()


def test_only_the_best_three_are_looked_at_and_by_score():
    small, large = (10.0, 10.0, 11.0, 11.0), (10.0, 10.0, 25.0, 20.0)
    bag = (small, small, small, large)
    assert _mined(*bag) == BOX[0].tolist()
    assert _mined(*bag, k=4) != BOX[0].tolist()
    best_last = torch.tensor([[0.1, 0.2, 0.3, 0.9]])
    assert _mined(*bag, scores=best_last) == _mined(large)
    assert _mined(*bag, scores=None) == BOX[0].tolist(), "as they are stored"


def test_a_second_merge_needs_a_larger_overlap_than_the_first():
    first = (10.0, 10.0, 25.0, 20.0)  # IoU 2/3, after which the box ends at 23
    assert _mined(first)[2] == pytest.approx(23.0)
    assert _mined(first, (10.0, 10.0, 30.0, 20.0))[2] == pytest.approx(23.0), "IoU .65"
    u = 13 / 19
    twice = _mined(first, (10.0, 10.0, 29.0, 20.0))
    assert twice[2] == pytest.approx((29 + u * 23) / (1 + u))


def test_areas_are_compared_with_the_box_or_the_last_proposal():
    first, second = (10.0, 10.0, 25.0, 20.0), (10.0, 10.0, 24.0, 20.0)
    assert _mined(first, second) != _mined(first), "larger than the merged box"
    assert _mined(first, second, compared="proposal") == _mined(first)


def test_the_mask_is_that_of_the_nearest_proposal_which_has_one():
    bag = torch.tensor([[[10.0, 10, 21, 20], [10, 10, 30, 20], [50, 50, 60, 60]]])
    assert bms.nearest(BOX, bag, torch.tensor([[True, True, True]])).tolist() == [0]
    assert bms.nearest(BOX, bag, torch.tensor([[False, True, True]])).tolist() == [1]
    assert bms.nearest(BOX, bag, torch.tensor([[False, False, True]])).tolist() == [2]
