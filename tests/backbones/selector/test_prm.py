"""Eq. (5) to (8) by hand."""

import math

import pytest
import torch

from int_bench.backbones.selector import prm


def test_scores_are_sigmoid_times_softmax_over_proposals():
    classes = torch.tensor([[[0.0], [math.log(3)]]])
    instances = torch.tensor([[[0.0], [math.log(4)]]])
    scores = prm.proposal_scores(classes, instances, torch.ones(1, 2, dtype=torch.bool))
    assert torch.allclose(scores, torch.tensor([[[0.5 * 0.2], [0.75 * 0.8]]]))


def test_focal_weighs_cross_entropy_by_the_squared_distance():
    loss = prm.focal(torch.tensor([0.5, 0.2]), torch.tensor([1.0, 0.0]))
    expected = -(0.25 * math.log(0.5) + 0.04 * math.log(0.8))
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_positives_count_as_much_as_the_first_learner_is_sure():
    bags = torch.tensor([[0.5], [0.5]])
    loss = prm.positive_loss(bags, torch.tensor([0, 0]), torch.tensor([1.0, 0.2]))
    assert loss.item() == pytest.approx(-0.25 * math.log(0.5) * 1.2 / 2, rel=1e-4)


@pytest.mark.parametrize(("norm", "number"), [("count", 2), ("objects", 4)])
def test_negatives_show_no_class(norm, number):
    classes = torch.tensor([[0.0, 0.0], [0.0, 0.0], [9.0, 9.0]])
    counted = torch.tensor([True, True, False])
    certainty = torch.tensor([0.2, 0.4, 0.6, 0.8])
    loss = prm.negative_loss(classes, counted, certainty, norm)
    expected = 0.5 * 4 * -0.25 * math.log(0.5) / number
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_no_negatives_no_loss():
    loss = prm.negative_loss(torch.zeros(0, 2), torch.zeros(0, dtype=torch.bool), torch.ones(1))
    assert loss.item() == 0


def test_negatives_weigh_three_times_the_positives():
    assert prm.loss(torch.tensor(4.0), torch.tensor(8.0)).item() == 7.0
