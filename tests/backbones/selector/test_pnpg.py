"""Eq. (4) and Algorithm 1 by hand."""

import numpy as np
import pytest
import torch

from int_bench.backbones.selector import pnpg
from int_bench.backbones.selector.boxes import area, iou

BOX = torch.tensor([[100.0, 100.0, 300.0, 200.0]])
SQUARE = torch.full((1, 4), 500.0)
BAG = torch.tensor([[[0.0, 0, 10, 10], [100, 100, 300, 200]]])


def _widths(boxes: torch.Tensor) -> torch.Tensor:
    return boxes[..., 2] - boxes[..., 0]


def test_a_box_without_neighbours_only_grows():
    boxes = pnpg.positive_boxes(BAG, BOX, torch.tensor([1.0]), SQUARE)
    assert boxes.shape == (1, 22, 4)
    assert torch.equal(boxes[:, :2], BAG)
    grown = [200 * (1 + 0.01 * n) for n in range(1, 16)]
    grown += [200 * (1 + 0.005 * n) for n in range(16, 21)]
    assert torch.allclose(_widths(boxes[0, 2:]), torch.tensor(grown), atol=1e-3)
    centres = (boxes[0, 2:, :2] + boxes[0, 2:, 2:]) / 2
    assert torch.allclose(centres, torch.tensor([200.0, 150.0]), atol=1e-3)


def test_a_box_over_a_neighbour_also_shrinks_the_more_the_lower_its_score():
    mild = _widths(pnpg.positive_boxes(BAG, BOX, torch.tensor([0.99]), SQUARE))[0, -5:]
    hard = _widths(pnpg.positive_boxes(BAG, BOX, torch.tensor([0.5]), SQUARE))[0, -5:]
    assert torch.allclose(hard, torch.tensor([198.0, 196, 194, 192, 190]))
    assert torch.allclose(mild, 200 * (1 - 0.005 * torch.arange(1, 6) / 0.99))


def test_boxes_end_with_the_picture():
    boxes = pnpg.positive_boxes(
        BAG, BOX, torch.tensor([1.0]), torch.tensor([[305.0, 205, 305, 205]])
    )
    assert boxes[..., 2].max() == 305
    assert boxes[..., 3].max() == 205
    assert boxes.min() == 0


def test_background_boxes_lie_in_and_around_the_picture():
    boxes = pnpg.background_boxes(np.random.default_rng(0), 4000, (100, 200))
    low, high = boxes.amin(dim=0), boxes.amax(dim=0)
    assert (low >= torch.tensor([-40.0, -20, -40, -20])).all()
    assert (high <= torch.tensor([200.0, 100, 240, 120])).all()
    assert (low[:2] < torch.tensor([-38.0, -19])).all()
    assert (high[2:] > torch.tensor([235.0, 117])).all()
    assert (boxes[:, 2:] >= boxes[:, :2]).all()


def test_background_overlaps_no_proposal_by_the_threshold():
    boxes = torch.tensor([[0.0, 0, 10, 3], [0, 0, 10, 2.9], [50, 50, 60, 60]])
    kept = pnpg.is_background(boxes, torch.tensor([[0.0, 0, 10, 10], [90, 90, 99, 99]]), 0.3)
    assert kept.tolist() == [False, True, True]


@pytest.mark.parametrize(("kind", "number"), [("random3", 3), ("centre_half", 1), ("off", 0)])
def test_parts_are_smaller_boxes_inside(kind, number):
    selected = torch.cat([BOX, torch.tensor([[0.0, 0.0, 64.0, 64.0]])])
    boxes, counted = pnpg.part_boxes(np.random.default_rng(1), selected, kind)
    assert boxes.shape == (2, number, 4)
    assert counted[0].all()
    assert not counted[1].any(), "64 x 64 is not larger than 64 x 64"
    assert (iou(boxes[0], BOX) < 0.5).all()
    assert (iou(boxes[0], BOX) >= 0.25 - 1e-5).all()
    together = torch.cat([boxes[0], BOX.expand(number, 4)])
    assert torch.allclose(iou(boxes[0], BOX) * area(BOX), area(together[:number]))


def test_the_centre_half_covers_a_quarter_so_that_no_threshold_above_it_decides():
    boxes, _ = pnpg.part_boxes(np.random.default_rng(1), BOX, "centre_half")
    assert boxes.tolist() == [[[150.0, 125.0, 250.0, 175.0]]]
    assert iou(boxes[:, 0], BOX).item() == 0.25
    _, counted = pnpg.part_boxes(np.random.default_rng(1), BOX, "centre_half", most=0.25)
    assert not counted.any()
