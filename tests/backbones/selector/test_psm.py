"""Eq. (1) to (3) by hand."""

import math

import pytest
import torch

from int_bench.backbones.selector import psm

BOTH = torch.ones(1, 2, dtype=torch.bool)


def test_scores_are_the_product_of_both_softmaxes():
    classes = torch.tensor([[[0.0, math.log(3)], [math.log(3), 0.0]]])
    instances = torch.tensor([[[0.0, 0.0], [math.log(4), 0.0]]])
    scores = psm.proposal_scores(classes, instances, BOTH)
    expected = torch.tensor([[[0.25 * 0.2, 0.75 * 0.5], [0.75 * 0.8, 0.25 * 0.5]]])
    assert torch.allclose(scores, expected)
    assert torch.allclose(psm.bag_scores(scores), torch.tensor([[0.65, 0.5]]))


def test_a_proposal_without_a_mask_counts_nothing():
    valid = torch.tensor([[True, False]])
    scores = psm.proposal_scores(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2), valid)
    assert torch.equal(scores, torch.tensor([[[0.5, 0.5], [0.0, 0.0]]]))


def test_loss_is_cross_entropy_over_classes_mean_over_objects():
    bags = torch.tensor([[0.5, 0.25], [0.1, 0.8]])
    loss = psm.loss(bags, torch.tensor([0, 1]))
    expected = -(math.log(0.5) + math.log(0.75) + math.log(0.9) + math.log(0.8)) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_a_score_of_its_class_for_each_proposal():
    scores = torch.arange(12.0).reshape(2, 3, 2)
    own = psm.of_label(scores, torch.tensor([1, 0]))
    assert own.tolist() == [[1.0, 3.0, 5.0], [6.0, 8.0, 10.0]]


def _two(labels: tuple[int, int], images: tuple[int, int] = (0, 0)) -> torch.Tensor:
    return psm.neighbours(torch.tensor(images), torch.tensor(labels))


def test_neighbours_are_others_of_one_class_in_one_picture():
    assert _two((1, 1)).tolist() == [[False, True], [True, False]]
    assert not _two((1, 2)).any()
    assert not _two((1, 1), images=(0, 1)).any()


BOXES = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 50, 10]], [[30.0, 0, 50, 10], [35, 0, 45, 10]]])
POINTS = torch.tensor([[5.0, 5.0], [40.0, 5.0]])


@pytest.mark.parametrize("exponent", [0.015, 1.0])
def test_the_proposal_over_a_neighbours_point_is_scored_down(exponent):
    scores = psm.distance_scores(BOXES, POINTS, _two((1, 1)), exponent)
    low = (1 / (1 + math.exp(-1 / 35))) ** exponent
    assert torch.allclose(scores, torch.tensor([[1.0, low], [1.0, 1.0]]))
    assert torch.equal(psm.distance_scores(BOXES, POINTS, _two((1, 2))), torch.ones(2, 2))


def test_distances_to_several_neighbours_add_up():
    boxes = torch.tensor([[[0.0, 0, 99, 99]], [[0, 0, 1, 1]], [[0, 0, 1, 1]]])
    points = torch.tensor([[10.0, 10], [40, 50], [70, 90]])
    near = psm.neighbours(torch.zeros(3), torch.zeros(3))
    scores = psm.distance_scores(boxes, points, near, 1.0)
    assert scores[0, 0].item() == pytest.approx(1 / (1 + math.exp(-1 / 150)))


def test_the_published_exponent_leaves_nothing_but_ties_to_decide():
    boxes = torch.tensor([[[0.0, 0, 2000, 2000]]]).expand(2, 1, 4)
    for apart in (1.0, 50.0, 1000.0):
        points = torch.tensor([[5.0, 5.0], [5.0 + apart, 5.0]])
        scores = psm.distance_scores(boxes, points, _two((1, 1)))
        assert ((scores >= 0.5**0.015) & (scores < 1)).all()


def test_a_point_on_the_edge_is_not_inside_and_boxes_may_count_instead():
    points = torch.tensor([[5.0, 5.0], [50.0, 5.0]])
    assert not psm.reaches(BOXES, points, _two((1, 1))).any()
    by_box = psm.reaches(BOXES, points, _two((1, 1)), "box")
    assert by_box[:, :, :].any(dim=-1).tolist() == [[False, True], [True, True]]
