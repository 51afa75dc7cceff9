"""Parity with the authors' code on a thousand bags.

``released.npz`` holds what the functions of zhaoyangwei123/SAPNet @ ed0d086 answered once for the
crowds of ``crowds.py``: both stages of selection, the positive and negative generators, the losses.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from int_bench.backbones.selector import bms, pnpg, prm, psm, released
from tests.backbones.selector.crowds import CLASSES, HEIGHT, OBJECTS, WIDTH, crowds, logits

CROWDS = crowds()
COUNT = len(CROWDS.labels)
VALID = torch.ones(COUNT, 6, dtype=torch.bool)
LIMITS = torch.tensor([[WIDTH, HEIGHT, WIDTH, HEIGHT]]).expand(COUNT, 4)
NEAR = psm.neighbours(CROWDS.images, CROWDS.labels)
CENTRES = (CROWDS.truths[:, :2] + CROWDS.truths[:, 2:]) / 2


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray[np.generic]]:
    with np.load(Path(__file__).parent / "released.npz") as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def first() -> tuple[Tensor, Tensor]:
    """Scores of the PSM for the objects' classes, and the boxes mined from its selection."""
    scores = psm.proposal_scores(*_first_logits(), VALID)
    own = psm.of_label(scores, CROWDS.labels)
    selected = released.weighted_best(CROWDS.bags, own, LIMITS)
    return own, bms.mine(selected, CROWDS.bags, None, compared="proposal")


@pytest.fixture(scope="module")
def positive(first: tuple[Tensor, Tensor]) -> Tensor:
    distances = released.root_distances(CROWDS.bags, CENTRES, NEAR)
    return released.positive_boxes(CROWDS.bags, first[1], distances)


def _first_logits() -> tuple[Tensor, Tensor]:
    return logits(1, COUNT, 6, CLASSES + 1), logits(2, COUNT, 6, CLASSES + 1)


def test_boxes_of_the_first_stage_are_equal(first, golden):
    assert (first[1] - torch.from_numpy(golden["psm_boxes"])).abs().max() <= 1e-4


def test_certainty_of_the_first_stage_is_equal(first, golden):
    assert np.allclose(first[0].sum(dim=1), golden["dynamic"], rtol=0, atol=1e-6)


def test_loss_of_the_first_stage_is_equal(golden):
    classes, instances = _first_logits()
    distances = released.root_distances(CROWDS.bags, CENTRES, NEAR)
    assert (distances < 1).any()
    guided = released.guided(classes, distances)
    bags = psm.bag_scores(psm.proposal_scores(guided, instances, VALID))
    assert 0.25 * psm.loss(bags, CROWDS.labels).item() == pytest.approx(
        golden["psm_loss"], rel=1e-6
    )


def test_boxes_of_the_positive_generator_are_equal(positive, golden):
    some = positive[:, 6:][:, [0, 14, 15, 19]]
    assert np.abs(some.numpy() - golden["added_some"]).max() <= 1e-4
    assert np.abs(positive[:50, 6:].numpy() - golden["added_all"]).max() <= 1e-4


def test_losses_and_boxes_of_the_second_stage_are_equal(first, positive, golden):
    classes, instances = logits(3, COUNT, 26, CLASSES), logits(4, COUNT, 26, CLASSES)
    valid = torch.ones(COUNT, 26, dtype=torch.bool)
    bags = prm.proposal_scores(classes, instances, valid).sum(dim=1)
    certainty = first[0].sum(dim=1)
    loss = 0.25 * prm.positive_loss(bags, CROWDS.labels, certainty).item()
    assert loss == pytest.approx(golden["pos_loss"], rel=1e-6)
    own = psm.of_label(psm.proposal_scores(classes, instances, valid), CROWDS.labels)
    selected = released.weighted_best(positive, own, LIMITS)
    mined = bms.mine(selected, CROWDS.bags, None, compared="proposal")
    assert (mined - torch.from_numpy(golden["prm_boxes"])).abs().max() <= 1e-4


def test_masks_of_the_negative_generator_are_equal(first, golden):
    counts, place = golden["neg_counts"], 0
    kept = np.unpackbits(golden["neg_kept"]).astype(bool)
    for picture in range(8):
        rows = slice(picture * OBJECTS, (picture + 1) * OBJECTS)
        boxes = torch.from_numpy(golden["negatives"][place : place + counts[picture]])
        bags = CROWDS.bags[rows]
        background = pnpg.is_background(boxes[:500], bags.reshape(-1, 4))
        best = first[0][rows].argmax(dim=1)
        selected = bags[torch.arange(OBJECTS), best]
        parts, counted = pnpg.part_boxes(np.random.default_rng(0), selected, "centre_half")
        assert torch.allclose(parts[counted], boxes[500:], rtol=0, atol=1e-4)
        ours = torch.cat([background, counted[counted]])
        assert np.array_equal(ours, kept[place : place + counts[picture]])
        place += counts[picture]
    assert 0 < kept[:place].mean() < 1


def test_loss_of_the_negatives_is_equal(first, golden):
    counted = torch.from_numpy(np.unpackbits(golden["all_kept"])[: golden["neg_counts"].sum()])
    classes = logits(5, len(counted), CLASSES)
    certainty = first[0].sum(dim=1)
    loss = 0.75 * prm.negative_loss(classes, counted.bool(), certainty, "objects").item()
    assert loss == pytest.approx(golden["neg_loss"], rel=1e-6)


def test_the_last_stored_box_is_expanded_where_mining_moved_the_selected_one():
    bags = torch.tensor([[[0.0, 0, 10, 10], [20, 20, 40, 60]]])
    alone = torch.ones(1, 2)
    far = released.positive_boxes(bags, torch.tensor([[0.0, 0, 12, 10]]), alone)
    near = released.positive_boxes(bags, torch.tensor([[0.0, 0, 10.5, 10]]), alone)
    centres = (torch.cat([far, near])[:, 2:, :2] + torch.cat([far, near])[:, 2:, 2:]) / 2
    assert torch.allclose(centres[0], torch.tensor([30.0, 40.0]))
    assert (near[0, 2:, 2:] > 10).all()
    assert (near[0, 2:, :2] == 0).all(), "cut at the left and the top"


def test_guidance_moves_logits_by_a_hundredth_at_most():
    distances = torch.sigmoid(1 / torch.tensor([[1.0, 1e6]]))
    factors = released.guided(torch.ones(1, 2, 1), distances)
    assert 0.989 <= factors.min() < factors.max() < 1
