"""Devices, the one rule for precisions, and numbers that are not finite."""

import pytest
import torch

from int_bench.backbones.clip.surgery import ClipSurgery
from int_bench.backbones.common.precision import (
    FiniteCheck,
    all_finite,
    pick_device,
    pick_dtype,
)
from int_bench.backbones.grounding_dino.model import GroundingDino
from int_bench.backbones.grounding_dino.package import GroundingDinoPackage
from int_bench.backbones.llava.model import Llava
from int_bench.backbones.sam.model import Sam
from int_bench.backbones.sam3 import Sam3
from int_bench.backbones.stable_diffusion.model import StableDiffusion
from int_bench.errors import SampleError, UsageError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
HUB = "org/name"


def test_auto_is_the_cpu_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == CPU
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match=r"cuda:1.*1 CUDA devices"):
        pick_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto").type == "cuda"


@pytest.mark.parametrize("name", ["", "gpu", "cuda:x", "7"])
def test_an_unknown_device_is_refused(name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UsageError):
        pick_device(name)


@pytest.mark.parametrize("name", ["", "float", "fp16", "torch.float32", "int8"])
def test_an_unknown_dtype_is_refused(name):
    with pytest.raises(UsageError, match="float32, bfloat16, float16"):
        pick_dtype(name, CPU, {}, HUB)


@pytest.mark.parametrize("model", [Llava, StableDiffusion])
def test_what_is_published_in_half_is_computed_so_on_cuda_alone(model):
    assert pick_dtype("auto", CUDA, model.PRECISION, HUB) is torch.float16
    assert pick_dtype("auto", CPU, model.PRECISION, HUB) is torch.float32
    assert pick_dtype("auto", CUDA, model.PRECISION, "zoo:x") is torch.float32


@pytest.mark.parametrize("model", [Sam, Sam3, GroundingDino, GroundingDinoPackage, ClipSurgery])
def test_the_others_are_float32_everywhere_unless_told_otherwise(model):
    assert pick_dtype("auto", CUDA, model.PRECISION, HUB) is torch.float32
    assert pick_dtype("bfloat16", CPU, model.PRECISION, HUB) is torch.bfloat16


def test_a_class_that_declares_nothing_is_float32():
    assert pick_dtype("auto", CUDA, {}, HUB) is torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_one_number_that_is_not_finite_is_seen_anywhere(dtype):
    numbers = torch.tensor([[torch.finfo(dtype).max, 0.0], [torch.finfo(dtype).min, 1.0]])
    assert all_finite(numbers.to(dtype)) and all_finite(torch.empty(0, dtype=dtype))
    for wrong in (torch.nan, torch.inf, -torch.inf):
        for place in range(4):
            spoilt = numbers.to(dtype)
            spoilt.view(-1)[place] = wrong
            assert not all_finite(spoilt)


def test_finite_numbers_pass_and_the_first_that_is_not_is_named():
    finite = FiniteCheck()
    finite.verdict("vlm", HUB)
    good, bad = torch.zeros(2), torch.tensor([0.0, torch.inf])
    assert finite.see("logits", good) is good
    finite.verdict("vlm", HUB)
    for name, tensor in (("tokens", good), ("boxes", bad.half()), ("logits", bad * torch.nan)):
        finite.see(name, tensor)
    with pytest.raises(SampleError) as told:
        finite.verdict("vlm", HUB)
    assert str(told.value) == (
        "The vlm org/name computed boxes that are NaN or infinite in float16; next step: float16 "
        "ends at 65504, set backbone.vlm.dtype to bfloat16 or float32."
    )
    finite.verdict("vlm", HUB)  # each verdict is on what came since the last


@pytest.mark.parametrize(
    ("dtype", "remedy"), [(torch.bfloat16, "dtype=float32"), (torch.float32, "vlm.checkpoint")]
)
def test_where_the_precision_is_not_to_blame_the_weights_are(dtype, remedy):
    finite = FiniteCheck()
    finite.see("logits", torch.full((1,), torch.nan, dtype=dtype))
    with pytest.raises(SampleError, match=f"fetch the checkpoint again|{remedy}"):
        finite.verdict("vlm", HUB)


def test_modules_are_watched_for_as_long_as_the_block_runs():
    finite, layer = FiniteCheck(), torch.nn.Linear(1, 1)
    torch.nn.init.constant_(layer.weight, torch.nan)
    with finite.watching({"outputs": layer}):
        layer(torch.ones(1))
    with pytest.raises(SampleError, match="outputs"):
        finite.verdict("inpainter", HUB)
    layer(torch.ones(1))
    finite.verdict("inpainter", HUB)
