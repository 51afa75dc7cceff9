"""The diffusion inpainter against the library's own call, on a random pipeline."""

import shutil

import numpy as np
import PIL.Image
import pytest
import torch

from int_bench.backbones.stable_diffusion import canvas
from int_bench.backbones.stable_diffusion.model import StableDiffusion
from int_bench.core.requests import Inpaint
from int_bench.core.types import Picture, Stencil
from int_bench.errors import MissingAsset, UsageError
from tests.backbones.stable_diffusion.tiny_stable_diffusion import build_pipeline

SIZE, STEPS = 32, 3
OPTIONS = {"size": SIZE, "steps": STEPS, "guidance_scale": 2.0, "device": "cpu"}


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("stable_diffusion")
    build_pipeline().save_pretrained(path)
    return str(path)


@pytest.fixture
def inpainter(folder):
    return StableDiffusion(folder, **OPTIONS)


def _request(height=40, width=56, seed=7, prompt="leaves", negative="frog"):
    image = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)
    mask = np.zeros((height, width), bool)
    mask[height // 4 : height // 2, width // 4 : width // 2] = True
    return Inpaint(Picture(image), Stencil(mask), prompt, negative, seed)


REQUESTS = [
    _request(),
    _request(seed=8),
    _request(32, 32, prompt="sand, high quality"),
    _request(30, 90, seed=2**63 - 1, negative="owl is not an animal."),
    _request(7, 5),
]


def test_nothing_outside_the_mask_changes_and_the_inside_does(inpainter):
    for request, filled in zip(REQUESTS, inpainter.inpaint(REQUESTS), strict=True):
        image, mask = request.image.pixels, request.mask.mask
        assert filled.shape == image.shape
        assert filled.dtype == np.uint8
        assert np.array_equal(filled[~mask], image[~mask])
        assert (filled[mask] != image[mask]).any()


def test_alone_an_answer_repeats_bit_for_bit_whatever_came_between(folder, inpainter):
    first = [inpainter.inpaint([request])[0] for request in REQUESTS]
    inpainter.inpaint(REQUESTS)
    again = [inpainter.inpaint([request])[0] for request in reversed(REQUESTS)]
    fresh = StableDiffusion(folder, **OPTIONS)
    for a, b, request in zip(first, reversed(again), REQUESTS, strict=True):
        assert np.array_equal(a, b)
        assert np.array_equal(a, fresh.inpaint([request])[0])


@pytest.mark.parametrize("max_batch", [2, 8])
def test_a_batch_agrees_with_single_calls(folder, max_batch):
    alone = StableDiffusion(folder, **OPTIONS, composite=False, max_batch=1).inpaint(REQUESTS)
    batch = StableDiffusion(folder, **OPTIONS, composite=False, max_batch=max_batch)
    for a, b in zip(alone, reversed(batch.inpaint(REQUESTS[::-1])), strict=True):
        assert np.abs(a.astype(int) - b).max() <= 1


@pytest.mark.parametrize("channels", [9, 4])
def test_equals_the_librarys_own_call(tmp_path, channels):
    pipeline = build_pipeline(channels)
    pipeline.save_pretrained(tmp_path)
    pipeline.set_progress_bar_config(disable=True)
    request = _request(SIZE, SIZE, prompt="bark, detailed", negative="a snake is not an animal.")
    generator = torch.Generator().manual_seed(request.seed)
    # With 9 channels the library itself draws the noise first; with 4 it encodes the image first.
    noise = None if channels == 9 else torch.randn((1, 4, 8, 8), generator=generator)
    expected = pipeline(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        image=PIL.Image.fromarray(request.image.pixels),
        mask_image=PIL.Image.fromarray(request.mask.mask),
        height=SIZE,
        width=SIZE,
        num_inference_steps=STEPS,
        guidance_scale=2.0,
        generator=generator,
        latents=noise,
        output_type="np",
    ).images[0]
    filled = StableDiffusion(str(tmp_path), **OPTIONS, composite=False).inpaint([request])[0]
    assert np.abs(filled - expected * 255).max() <= 1


def test_the_composite_is_that_of_the_generated_image(folder, inpainter):
    request = REQUESTS[0]
    generated = StableDiffusion(folder, **OPTIONS, composite=False).inpaint([request])[0]
    opacity = canvas.feathered(request.mask.mask, 0.01 * 40)
    expected = canvas.composite(request.image.pixels, generated, opacity)
    assert np.array_equal(inpainter.inpaint([request])[0], expected)


def test_a_feather_from_1_on_counts_pixels(folder):
    request = REQUESTS[0]
    generated = StableDiffusion(folder, **OPTIONS, composite=False).inpaint([request])[0]
    filled = StableDiffusion(folder, **OPTIONS, feather=3).inpaint([request])[0]
    expected = canvas.composite(
        request.image.pixels, generated, canvas.feathered(request.mask.mask, 3)
    )
    assert np.array_equal(filled, expected)


def test_what_is_under_the_mask_cannot_be_seen(inpainter):
    """Not even through the mirror of the letterbox: the mask reaches the border here."""
    height, width = 16, 48
    mask = np.zeros((height, width), bool)
    mask[:8, 10:20] = True
    answers = []
    for value in (0, 255):
        image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        image[mask] = value
        answers += inpainter.inpaint([Inpaint(Picture(image), Stencil(mask), "", "", 0)])
    inner = canvas.feathered(mask, 0.16) == 1
    assert inner.any()
    assert np.array_equal(answers[0][inner], answers[1][inner])


def test_seed_prompt_and_negative_prompt_each_matter(folder):
    inpainter = StableDiffusion(folder, **{**OPTIONS, "guidance_scale": 50.0}, composite=False)
    variants = [
        _request(),
        _request(seed=8),
        _request(prompt="snow and sand"),
        _request(negative="owl"),
    ]
    answers = [inpainter.inpaint([variant])[0].tobytes() for variant in variants]
    assert len(set(answers)) == 4


def test_low_precision_starts_from_the_same_noise(folder):
    exact = StableDiffusion(folder, **OPTIONS, composite=False).inpaint([REQUESTS[2]])[0]
    half = StableDiffusion(folder, **OPTIONS, composite=False, dtype="bfloat16")
    other = StableDiffusion(folder, **OPTIONS, composite=False).inpaint([_request(32, 32, seed=9)])
    difference = np.abs(half.inpaint([REQUESTS[2]])[0].astype(int) - exact).mean()
    assert difference < np.abs(other[0].astype(int) - exact).mean() / 4


def test_an_empty_mask_needs_no_model():
    request = _request()
    empty = Inpaint(request.image, Stencil(np.zeros((40, 56), bool)), "", "", 0)
    inpainter = StableDiffusion("no/such-model", **OPTIONS)
    assert inpainter.inpaint([empty])[0] is request.image.pixels
    assert inpainter.counters == {}


def test_counters_count_what_ran(folder):
    inpainter = StableDiffusion(folder, **OPTIONS, max_batch=2)
    inpainter.inpaint(REQUESTS[:3])
    assert inpainter.counters == {
        "images": 3,
        "unet_calls": 2 * STEPS,
        "rows": 2 * 3 * STEPS,
        "texts_encoded": 3,  # leaves, frog, sand; each once
    }
    unguided = StableDiffusion(folder, **{**OPTIONS, "guidance_scale": 1.0})
    unguided.inpaint(REQUESTS[:2])
    assert unguided.counters["rows"] == 2 * STEPS
    assert unguided.counters["texts_encoded"] == 1


def test_layout_options_agree_up_to_rounding(folder, inpainter):
    other = StableDiffusion(folder, **OPTIONS, channels_last=True)
    a, b = inpainter.inpaint(REQUESTS[:1])[0], other.inpaint(REQUESTS[:1])[0]
    assert np.abs(a.astype(int) - b).max() <= 1


def test_squashed_and_edge_padded_squares_differ_from_the_mirrored_one(folder, inpainter):
    reference = inpainter.inpaint([REQUESTS[3]])[0]
    for option in ({"letterbox": False}, {"padding": "edge"}):
        filled = StableDiffusion(folder, **OPTIONS, **option).inpaint([REQUESTS[3]])[0]
        assert not np.array_equal(filled, reference)


def test_constructing_is_free_and_identity_says_what_decides(folder):
    inpainter = StableDiffusion("org/name", revision="main", steps=20)
    assert inpainter.identity["checkpoint"] == "org/name"
    assert inpainter.identity["steps"] == 20
    assert StableDiffusion(folder, device="cpu").identity["dtype"] == "float32"


def test_a_size_that_the_vae_cannot_take(folder):
    inpainter = StableDiffusion(folder, **{**OPTIONS, "size": 34})
    with pytest.raises(UsageError, match="34 is not a multiple of 4"):
        inpainter.inpaint([_request()])


def test_a_mask_of_another_size(inpainter):
    request = _request()
    bad = Inpaint(request.image, Stencil(np.ones((4, 4), bool)), "", "", 0)
    with pytest.raises(ValueError, match="differ in size"):
        inpainter.inpaint([request, bad])


def _remove_weights(path):
    (path / "unet" / "diffusion_pytorch_model.safetensors").unlink()


def _cut_weights(path):
    file = path / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def _pickle_weights(path):
    _remove_weights(path)
    torch.save({"conv_in.weight": torch.zeros(1)}, path / "unet" / "diffusion_pytorch_model.bin")


def _remove_index(path):
    (path / "model_index.json").unlink()


@pytest.mark.parametrize("damage", [_remove_weights, _cut_weights, _pickle_weights, _remove_index])
def test_an_unusable_folder_is_one_sentence(folder, tmp_path, damage):
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    damage(broken)
    with pytest.raises(MissingAsset) as caught:
        StableDiffusion(str(broken), **OPTIONS).inpaint([_request()])
    assert str(broken) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("checkpoint", ["org/no-such-model", "zoo:none", "/no/such/folder"])
def test_a_missing_checkpoint_is_named(checkpoint):
    with pytest.raises(MissingAsset, match=checkpoint.removeprefix("zoo:")):
        StableDiffusion(checkpoint, **OPTIONS).inpaint([_request()])
