"""The encoder that moves less memory gives the library's numbers, its windows bit by bit."""

from __future__ import annotations

import copy

import pytest
import torch

from int_bench.backbones.sam.attention import fuse_attention
from int_bench.backbones.sam.loading import SamConfig, build_sam
from int_bench.backbones.sam.windows import moved_less
from tests import phantom

SIDE = 80
"""Ten patches, in windows of four: the last ones are padded."""


@pytest.fixture(scope="module")
def plain():
    torch.manual_seed(0)
    config = SamConfig(
        SIDE, 32, 3, 2, patch_size=8, out_chans=32, window_size=4, global_attn_indexes=(1,),
        decoder_mlp_dim=64, decoder_num_heads=2, iou_head_hidden_dim=32,
    )  # fmt: skip
    sam = fuse_attention(build_sam(config)).requires_grad_(False)
    for parameter in sam.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    return sam


@pytest.mark.parametrize("count", [1, 3])
@torch.no_grad()
def test_numbers_are_the_librarys_and_windows_change_no_bit(count, plain):
    pictures = torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(count))
    less = moved_less(copy.deepcopy(plain))
    expected = less.image_encoder(pictures)
    torch.testing.assert_close(expected, plain.image_encoder(pictures), rtol=0, atol=1e-5)
    for block in less.image_encoder.blocks:
        block.attn.tables.clear()  # they lie where they were first asked for
    with phantom.cuda() as device:
        encoder = less.to("cuda").image_encoder
        there = pictures.to("cuda")
        assert torch.equal(encoder(there).cpu(), expected)
        device.clear()
        encoder(there)
    assert device.dispatches["index_select"] == 4  # two blocks of windows, there and back
    assert not device.uploads and not device.syncs
