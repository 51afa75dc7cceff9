"""Where weights lie on the host before they go to a device: in the file's own pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from int_bench.backbones.common import loading
from int_bench.backbones.grounding_dino import GroundingDino
from int_bench.backbones.llava.model import Llava
from int_bench.backbones.stable_diffusion import StableDiffusion


@pytest.fixture(autouse=True)
def _fresh_weights():
    loading.forget_loaded()
    yield
    loading.forget_loaded()


def pages() -> Iterator[range]:
    """The addresses at which this process sees files of weights."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(".safetensors"):
            start, end = line.split()[0].split("-")
            yield range(int(start, 16), int(end, 16))


def copied(*modules) -> float:
    """The share of the bytes of some weights that lie elsewhere."""
    mapped, tensors = list(pages()), [t for module in modules for t in module.parameters()]
    there = sum(t.nbytes for t in tensors if any(t.data_ptr() in part for part in mapped))
    return 1 - there / sum(t.nbytes for t in tensors)


def of_llava(dtype):
    return (Llava("zoo:llava", device="cpu", dtype=dtype).loaded.model,)


def of_stable_diffusion(dtype):
    pipeline = StableDiffusion("zoo:stable_diffusion", device="cpu", dtype=dtype).loaded
    return pipeline.unet, pipeline.vae, pipeline.text_encoder


def of_grounding_dino(dtype):
    return (GroundingDino("zoo:grounding_dino", device="cpu", dtype=dtype).loaded[1],)


@pytest.mark.parametrize(
    ("models", "most"),
    # Convolutions that change their layout are copied: on a GPU one after the other, as they go.
    [(of_llava, 0), (of_stable_diffusion, 0), (of_grounding_dino, 0.7)],
)
def test_weights_in_the_precision_of_their_file_are_not_copied_on_the_host(models, most):
    assert copied(*models("float16")) <= most
    assert copied(*models("float32")) == 1  # as these files are in 16 bit: the test can tell
