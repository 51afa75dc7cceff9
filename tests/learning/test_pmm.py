"""The point matching loss, by hand and by its symmetries."""

import numpy as np
import pytest
import torch

from int_bench.learning.pmm import contours_of, matched, point_loss

BETA = 1 / 64


def animal(seed=0, count=40):
    """A lopsided closed contour without symmetries."""
    generator = np.random.default_rng(seed)
    turns = 2 * np.pi * np.arange(count) / count
    radii = 0.25 + 0.05 * sum(generator.normal() * np.cos(k * turns + k) for k in range(1, 4))
    points = 0.5 + radii[:, None] * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    return torch.tensor(points, dtype=torch.float32)[None]


@pytest.mark.parametrize("matching", ["cyclic", "nearest"])
@pytest.mark.parametrize("start", [0, 1, 17, 39])
@pytest.mark.parametrize("backwards", [False, True])
def test_the_true_contour_has_loss_0_from_any_start_in_any_direction(start, backwards, matching):
    truth = animal()
    other = truth.flip(1).roll(start, 1) if backwards else truth.roll(start, 1)
    assert point_loss(other, matched(other, truth, matching), BETA).tolist() == [0.0]


def test_the_loss_by_hand():
    """A square moved by half a cell to the right, and one point two cells down."""
    truth = torch.tensor([[[0.2, 0.2], [0.8, 0.2], [0.8, 0.8], [0.2, 0.8]]])
    moved = truth + torch.tensor([BETA / 2, 0.0])
    moved[0, 2, 1] += 2 * BETA
    pairs = matched(moved, truth)
    assert torch.equal(pairs, truth)
    expected = (4 * 0.5 * (BETA / 2) ** 2 / BETA + (2 * BETA - BETA / 2)) / 4
    torch.testing.assert_close(point_loss(moved, pairs, BETA), torch.tensor([expected]))


def test_a_shift_is_matched_as_a_whole():
    """Going around counts: the cyclic match keeps the order, the nearest points need not."""
    truth = animal()
    moved = truth + torch.tensor([0.06, 0.0])
    assert torch.equal(matched(moved, truth, "cyclic"), truth)
    assert not torch.equal(matched(moved, truth, "nearest"), truth)


def test_the_gradient_goes_to_the_moved_points_alone():
    truth, moved = animal(), animal(1).requires_grad_()
    point_loss(moved, matched(moved, truth), BETA).sum().backward()
    assert moved.grad.abs().sum() > 0


def test_contours_of_masks_at_any_resolution():
    masks = np.zeros((2, 32, 32), dtype=bool)
    masks[0, 8:24, 8:24] = True
    contours = contours_of(masks, 8)
    assert contours.isnan().all((1, 2)).tolist() == [False, True]
    assert contours[0, 0].tolist() == [8.5 / 32, 8.5 / 32]
    assert contours[0].amax(0).tolist() == [23.5 / 32, 23.5 / 32]
