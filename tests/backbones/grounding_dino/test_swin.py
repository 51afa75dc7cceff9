"""A Swin whose windows are gathered, against the library's, on a CPU and on a phantom device."""

from __future__ import annotations

import pytest
import torch
from transformers import SwinConfig
from transformers.models.swin.modeling_swin import SwinBackbone

from int_bench.backbones.grounding_dino import swin
from tests import phantom
from tests.backbones.grounding_dino import tiny_grounding_dino


def backbone(**options):
    config = SwinConfig(
        embed_dim=16, depths=[2, 2, 2], num_heads=[1, 2, 4], window_size=3, out_indices=[1, 3],
        **options,
    )  # fmt: skip
    return tiny_grounding_dino.randomise(SwinBackbone(config)).requires_grad_(False)


def known(key, make):
    return make()


@pytest.fixture(scope="module")
def both():
    """The library's, and ours of the same weights."""
    ours = backbone()
    swin.finished(ours)
    return backbone(), ours


@pytest.mark.parametrize("rows", [1, 2])
# Maps of 24 x 24 tokens, 9 x 12, 2 x 3 (smaller than a window), 8 x 31, all odd ones included.
@pytest.mark.parametrize("size", [(96, 96), (33, 47), (8, 12), (30, 122)])
def test_equals_the_librarys(both, rows, size):
    pixels = torch.randn(rows, 3, *size, generator=torch.Generator().manual_seed(0))
    library, ours = both
    with torch.inference_mode():
        expected = library(pixels).feature_maps
        answers = swin.features(ours, pixels, known)
    for answer, value in zip(answers, expected, strict=True):
        torch.testing.assert_close(answer, value, atol=2e-5, rtol=1e-4)
        assert answer.is_contiguous(memory_format=torch.channels_last)


def test_only_the_last_windows_of_a_shifted_map_are_masked():
    made = swin.windows(swin.Layout(2, 7, 9, 3, 1), torch.zeros(1))
    assert made.whole == 2 * 2 * 2 and len(made.masks) == 2 * (3 * 3 - 2 * 2)
    assert len(made.holes) == 2 * 2 * 9  # 7 rows are filled up to 9
    assert torch.equal(made.into[made.back.long()], torch.arange(2 * 7 * 9, dtype=torch.int32))
    plain = swin.windows(swin.Layout(1, 7, 9, 3, 0), torch.zeros(1))
    assert plain.whole == 9 and not len(plain.masks)


def test_on_cuda_maps_are_not_turned(both):
    pixels = torch.randn(2, 3, 96, 132, generator=torch.Generator().manual_seed(0))
    library, ours = backbone(), backbone()
    swin.finished(ours)
    slow = []
    with phantom.cuda() as device:
        there = pixels.to("cuda").contiguous(memory_format=torch.channels_last)
        kept = {}
        given = (
            lambda: library.to("cuda")(there).feature_maps,
            lambda: swin.features(ours.to("cuda"), there, lambda k, m: kept.setdefault(k, m())),
        )
        for compute in given:
            compute()
            device.clear()
            device.large = 2**10
            answers = [answer.cpu() for answer in compute()]
            slow.append(device.slow.total())
    for answer, value in zip(answers, both[0](pixels).feature_maps, strict=True):
        torch.testing.assert_close(answer, value, atol=2e-5, rtol=1e-4)
    assert slow[1] <= 0.4 * slow[0], slow


def test_a_swin_of_another_make_computes_as_it_does():
    placed = backbone(use_absolute_embeddings=True, image_size=96)
    pixels = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    expected = placed(pixels).feature_maps
    swin.finished(placed)
    for answer, value in zip(swin.features(placed, pixels, known), expected, strict=True):
        assert torch.equal(answer, value)
