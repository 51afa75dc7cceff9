"""What configuration reads from the sources of all backbones, without importing them."""

import dataclasses
import importlib

import pytest

from int_bench.backbones.common.dtypes import dtype_name
from int_bench.config import binding
from int_bench.errors import UsageError

ROOT = "int_bench.backbones"
LOCAL = {
    "llava.Llava": ("float16", "float16"),
    "stable_diffusion.StableDiffusion": ("float16", "float16"),
    "sam.Sam": ("float32", "float16"),
    "sam3.Sam3": ("float32", "bfloat16"),
    "grounding_dino.GroundingDino": ("float32", "float16"),
    "grounding_dino.package.GroundingDinoPackage": ("float32", "float32"),
    "clip.ClipSurgery": ("float32", "float32"),
}
OTHERS = ("openai.OpenAI", "opencv.ClassicInpainter")
REQUIRED = {"openai.OpenAI": {"model": "eye-1"}, "opencv.ClassicInpainter": {}}


def imported(name):
    module, _, attribute = f"{ROOT}.{name}".rpartition(".")
    return getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("name", [*LOCAL, *OTHERS])
def test_what_a_class_declares_is_read_without_importing_it(name):
    for constant, default in (("RUNTIME", ()), ("PRECISION", {}), ("REMOTE", False)):
        read = binding.constant(f"{ROOT}.{name}", constant, default)
        assert read == getattr(imported(name), constant)
    taken = binding.signature(f"{ROOT}.{name}")
    assert set(imported(name).RUNTIME) <= set(taken)
    assert set(taken) == {option.name for option in dataclasses.fields(imported(name))}


def test_only_the_endpoint_is_remote():
    remote = [n for n in (*LOCAL, *OTHERS) if binding.constant(f"{ROOT}.{n}", "REMOTE", False)]
    assert remote == ["openai.OpenAI"]


@pytest.mark.parametrize("name", LOCAL)
def test_the_precision_of_every_class_and_device(name):
    declared = binding.constant(f"{ROOT}.{name}", "PRECISION")
    e1, e2 = LOCAL[name]
    on_cuda = [dtype_name(declared, e, "org/name", cuda=True) for e in ("E0", "E1", "E2")]
    assert on_cuda == ["float32", e1, e2]
    on_cpu = [dtype_name(declared, e, "org/name", cuda=False) for e in ("E0", "E1", "E2")]
    assert on_cpu == ["float32", "float32", "bfloat16" if e2 == "bfloat16" else "float32"]


@pytest.mark.parametrize(
    ("name", "option", "value", "told"),
    [
        *[(name, "max_batch", 0, "must be") for name in LOCAL],
        *[(name, "dtype", "fp16", "float32") for name in LOCAL],
        ("llava.Llava", "preprocess", "strech", "pad, center_crop or squash"),
        ("llava.Llava", "prefix_cache_mb", -1, "at least 0"),
        ("llava.Llava", "max_side", 0, "at least 1"),
        ("stable_diffusion.StableDiffusion", "padding", "reflekt", "Did you mean 'reflect'"),
        ("stable_diffusion.StableDiffusion", "steps", 0, "at least 1"),
        ("stable_diffusion.StableDiffusion", "size", 0, "at least 1"),
        ("stable_diffusion.StableDiffusion", "feather", -1, "at least 0"),
        ("sam.Sam", "model", "vit_s", "vit_b, vit_l"),
        ("sam.Sam", "cache_mb", -1, "at least 0"),
        ("grounding_dino.GroundingDino", "nms", 1.5, "from 0 to 1"),
        ("grounding_dino.GroundingDino", "max_boxes", -1, "at least 0"),
        ("grounding_dino.package.GroundingDinoPackage", "architecture", "swin_z", "swin_t"),
        ("grounding_dino.package.GroundingDinoPackage", "dtype", "float16", "auto or float32"),
        ("clip.ClipSurgery", "attention", "qq", "kk or vv"),
        ("clip.ClipSurgery", "norm", "batch", "channel or token"),
        ("clip.ClipSurgery", "templates", "long", "bare, short or surgery"),
        ("clip.ClipSurgery", "templates", [], "not empty"),
        ("openai.OpenAI", "retries", -1, "at least 0"),
        ("openai.OpenAI", "timeout_s", 0, "above 0"),
        ("openai.OpenAI", "preprocess", "crop", "center_crop"),
        ("opencv.ClassicInpainter", "fill", "magic", "telea, blackout or blur"),
        ("opencv.ClassicInpainter", "radius", 0, "above 0"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_loaded(name, option, value, told):
    node = {"_target_": f"{ROOT}.{name}", **REQUIRED.get(name, {"checkpoint": "org/name"})}
    binding.check(node, "backbone.role")
    with pytest.raises(UsageError, match=rf"backbone\.role\.{option} .*{told}"):
        binding.check({**node, option: value}, "backbone.role")
