"""Copies of keys and values, on a phantom device."""

from __future__ import annotations

import pytest
import torch

from int_bench.backbones.llava.kv_block import moved
from tests import phantom


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize(("size", "start"), [(8, 0), (8, 3), (6, 0), (3, 1)])
def test_all_of_a_source_arrives_and_nothing_beside_it(dtype, size, start):
    source = torch.randn(2, 5, 3, size).to(dtype).transpose(1, 2)  # unlike the target
    with phantom.cuda():
        target = torch.zeros(2, 3, 9, size, dtype=dtype, device="cuda")
        handed = moved(source.to("cuda"), target[:, :, start : start + 5])
        assert torch.equal(handed.cpu(), source)
        target = target.cpu()
    assert torch.equal(target[:, :, start : start + 5], source)
    assert not target[:, :, :start].any() and not target[:, :, start + 5 :].any()
