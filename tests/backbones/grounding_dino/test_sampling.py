"""Deformable attention against the library's, on a CPU and on a phantom device."""

from __future__ import annotations

import pytest
import torch
from transformers.models.grounding_dino.modeling_grounding_dino import MultiScaleDeformableAttention

from int_bench.backbones.grounding_dino.sampling import Levels, attended
from tests import phantom

SIZES = ((7, 9), (4, 5), (2, 3))
QUERIES, HEADS, WIDTH, POINTS = 11, 3, 8, 4


def asked(rows: int) -> dict[str, torch.Tensor]:
    draws = torch.Generator().manual_seed(0)
    positions = sum(height * width for height, width in SIZES)
    shape = (rows, QUERIES, HEADS, len(SIZES), POINTS)
    return {
        "value": torch.randn(rows, positions, HEADS, WIDTH, generator=draws),
        "places": torch.rand(*shape, 2, generator=draws) * 3 - 1,  # many lie outside
        "weights": torch.rand(shape, generator=draws),
    }


def library(value: torch.Tensor, places: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    starts = torch.tensor([0, 63, 83])
    given = (value, torch.tensor(SIZES), SIZES, starts, places, weights, 64)
    answer: torch.Tensor = MultiScaleDeformableAttention()(*given)
    return answer


def ours(
    value: torch.Tensor, places: torch.Tensor, weights: torch.Tensor, levels: Levels | None = None
) -> torch.Tensor:
    levels = levels or Levels.of(SIZES, HEADS, POINTS, torch.device("cpu"))
    sizes = torch.tensor(SIZES).flip(1)[:, None]
    pixels = (places * sizes - 0.5).permute(0, 1, 5, 2, 3, 4).flatten(4)
    there = [x.to(levels.widths.device) for x in (value, pixels, weights.flatten(3))]
    return attended(there[0], levels, *there[1:])


@pytest.mark.parametrize("rows", [1, 2])
def test_equals_the_librarys(rows):
    given = asked(rows)
    torch.testing.assert_close(ours(**given), library(**given), atol=1e-5, rtol=1e-5)


def test_on_cuda_each_level_is_summed_where_it_was_sampled():
    given = asked(2)
    with phantom.cuda() as device:
        levels = Levels.of(SIZES, HEADS, POINTS, torch.device("cuda"))
        device.clear()
        answer = ours(**given, levels=levels).cpu()
    torch.testing.assert_close(answer, library(**given), atol=1e-5, rtol=1e-5)
    assert device.dispatches["grid_sampler_2d"] == len(SIZES)
    assert device.dispatches["stack"] + device.dispatches["cat"] == 0


def test_far_outside_there_is_nothing():
    given = asked(1)
    given["places"] = given["places"] * 1e12 + 1e9
    assert not ours(**given).any()


@pytest.mark.parametrize("name", ["value", "places", "weights"])
def test_no_number_stays_no_number(name):
    given = asked(1)
    given[name].fill_(torch.nan)
    assert ours(**given).isnan().all()
