"""Blocks that keep channels last, against the library's own."""

from __future__ import annotations

import copy

import pytest
import torch

from int_bench.backbones.stable_diffusion.channels_last import group_norm, keep_channels_last
from scripts.bench.untrained import library
from tests import phantom


def drawn_biases(model: torch.nn.Module) -> torch.nn.Module:
    """A copy of a model of random weights whose gains and biases are drawn as well."""
    model, generator = copy.deepcopy(model), torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.ndim < 2:
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return model


@pytest.fixture(scope="module")
def pipeline():
    return library.stable_diffusion(False, "cpu", "float32", channels_last=False).loaded


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


@pytest.mark.parametrize(
    ("part", "side"), [("unet", 8), ("unet", 10), ("decoder", 8), ("encoder", 32)]
)
@torch.inference_mode()
def test_a_model_that_keeps_channels_last_is_the_model(part, side, pipeline):
    """Ten is no multiple of what the UNet halves: some maps do not come out doubled."""
    plain = drawn_biases(pipeline.unet if part == "unet" else getattr(pipeline.vae, part))
    plain.to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(2)
    channels = {"unet": 9, "decoder": 4, "encoder": 3}[part]
    given = [torch.randn(2, channels, side, side, generator=generator)]
    if part == "unet":
        given += [torch.tensor(3), torch.randn(2, 24, 32, generator=generator)]
    named = {"return_dict": False} if part == "unet" else {}
    before = plain(*given, **named)
    keep_channels_last(plain)
    after = plain(*given, **named)
    if part == "unet":
        before, after = before[0], after[0]
    assert after.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_its_blocks_are_compiled_where_that_is_asked_for(pipeline):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    unet = copy.deepcopy(pipeline.unet).to(memory_format=torch.channels_last)
    given = torch.randn(1, 9, 8, 8), torch.tensor(3), torch.randn(1, 24, 32)
    before = unet(*given, return_dict=False)[0]
    unet.compile_repeated_blocks(backend=backend)
    keep_channels_last(unet)
    after = unet(*given, return_dict=False)[0]
    assert graphs
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)


def test_no_pass_of_a_step_but_a_few_is_over_unlike_layouts(pipeline):
    passes = {}
    for keeps in (False, True):
        unet = copy.deepcopy(pipeline.unet).to(memory_format=torch.channels_last)
        with phantom.cuda() as device, torch.no_grad():
            unet.to("cuda")
            if keeps:
                keep_channels_last(unet)
            device.large = 1000
            given = torch.zeros(2, 9, 8, 8), torch.tensor(3), torch.zeros(2, 24, 32)
            unet(*[x.to("cuda") for x in given], return_dict=False)
        passes[keeps] = device.slow.total()
    # Norms, times, and biases of convolutions that nothing else adds.
    assert passes[False] >= 60 and passes[True] <= 36, passes
