"""Deformable attention of CUDA and of batches against the library's, on a phantom device too."""

from __future__ import annotations

import pytest
import torch
from transformers.models.grounding_dino.modeling_grounding_dino import MultiScaleDeformableAttention

from int_bench.backbones.grounding_dino.sampling import summed_where_sampled
from tests import phantom

SIZES = [(7, 9), (4, 5), (2, 3)]
ROWS, QUERIES, HEADS, WIDTH, POINTS = 2, 11, 3, 8, 4


def asked(rows=ROWS):
    draws = torch.Generator().manual_seed(0)
    positions = sum(height * width for height, width in SIZES)
    value = torch.randn(rows, positions, HEADS, WIDTH, generator=draws)
    shape = (rows, QUERIES, HEADS, len(SIZES), POINTS)
    places = torch.rand(*shape, 2, generator=draws) * 1.4 - 0.2  # some lie outside
    weights = torch.rand(shape, generator=draws)
    starts = torch.tensor([0, 63, 83])
    return [value, torch.tensor(SIZES), SIZES, starts, places, weights, 64]


def there(value):
    return value.to("cuda") if isinstance(value, torch.Tensor) else value


def test_each_level_is_summed_where_it_was_sampled():
    expected = MultiScaleDeformableAttention()(*asked())
    with phantom.cuda() as device:
        values = [there(value) for value in asked()]
        device.clear()
        answer = summed_where_sampled(MultiScaleDeformableAttention())(*values).cpu()
    torch.testing.assert_close(answer, expected, atol=1e-5, rtol=1e-5)
    assert device.dispatches["grid_sampler_2d"] == len(SIZES)
    assert device.dispatches["stack"] == device.dispatches["cat"] == 0


@pytest.mark.parametrize("argument", [0, 4, 5])
@pytest.mark.parametrize("rows", [1, ROWS])
def test_of_one_picture_not_a_bit_changes_and_all_arguments_count(argument, rows):
    module, values = summed_where_sampled(MultiScaleDeformableAttention()), asked(rows)
    expected = MultiScaleDeformableAttention()(*values)
    if rows == 1:
        assert torch.equal(module(*values), expected)
    torch.testing.assert_close(module(*values), expected, atol=1e-5, rtol=1e-5)
    values[argument] = values[argument] * 0.5
    assert not torch.allclose(module(*values), expected)
