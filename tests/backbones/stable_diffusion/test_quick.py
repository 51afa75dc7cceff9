"""What a pipeline's parts compute on CUDA, against the library's own."""

import pytest
import torch

from int_bench.backbones.stable_diffusion.quick import group_norm


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float16, 5e-3)])
def test_a_norm_with_channels_last_is_the_norm(dtype, bound):
    generator = torch.Generator().manual_seed(0)
    norm = torch.nn.GroupNorm(4, 24, eps=1e-6).requires_grad_(False)
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter, 1, 0.3, generator=generator)
    x = torch.randn(3, 24, 5, 7, generator=generator).mul(2).add(5).to(dtype)  # far from zero
    last = x.to(memory_format=torch.channels_last)
    exact = norm(x.float())
    answer = group_norm(norm.to(dtype), last)
    assert answer.dtype == dtype and answer.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(answer.float(), exact, atol=bound, rtol=bound)
    torch.testing.assert_close(group_norm(norm, x), norm(x), atol=0, rtol=0)  # channels first
