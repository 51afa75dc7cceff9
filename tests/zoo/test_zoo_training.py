"""What all trainings of the zoo share: resuming, the views of patches, dimming, question packs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from int_bench.errors import MissingAsset, UsageError
from int_bench.learning.loop import Recipe, fit, pace
from int_bench.zoo.training.llava.text import Packer, Truth, tokenizer, vocabulary
from int_bench.zoo.training.pool import MEAN_COLOUR, PATCHES, dim, load_pool, patch_view


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))


def _run(name: str, folder: Path, stop: int | None) -> nn.Module:
    """Train 12 steps, or be interrupted at one."""
    network, calls = _network(), [0]

    def loss(rng: np.random.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        if calls[0] == stop:
            raise KeyboardInterrupt
        calls[0] += 1
        x = torch.from_numpy(rng.standard_normal((8, 16), dtype=np.float32))
        return ((network(x + 0.1 * torch.randn_like(x)) - x.flip(1)) ** 2).mean(), {}

    recipe = Recipe(name, 12, warm_up=2, muon=True, autocast=False, save_every=0.0, cache=folder)
    return fit(network, recipe, loss)


def test_a_stopped_run_ends_as_one_that_was_never_stopped(tmp_path: Path) -> None:
    whole = _run("whole", tmp_path, None)
    with pytest.raises(KeyboardInterrupt):
        _run("stopped", tmp_path, 7)
    resumed = _run("stopped", tmp_path, None)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(whole[0].weight, _network()[0].weight)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stopped.ckpt", "whole.ckpt"]


def test_a_phase_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    whole = _run("whole", tmp_path, None)
    again = _run("whole", tmp_path, 0)  # would be interrupted at its first step
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_pace_warms_up_and_falls_to_a_fiftieth() -> None:
    recipe = Recipe("x", 100, warm_up=10)
    assert pace(recipe, 0) == pytest.approx(0.1)
    assert pace(recipe, 50) == pytest.approx(0.51)
    assert 0.02 <= pace(recipe, 99) < 0.021


def test_half_patches_are_padded_and_quarters_enlarged() -> None:
    rng = np.random.default_rng(0)
    # Middle tones: Pillow cuts overshoots off between its two passes.
    images = rng.integers(96, 160, (2, 128, 128, 3), dtype=np.uint8)
    masks = rng.random((2, 2, 128, 128)) < 0.5
    view, seen = patch_view(images, masks, PATCHES["right"])
    assert (view[:, :, :32] == np.array(MEAN_COLOUR)).all()
    assert np.array_equal(view[:, :, 32:96], images[:, :, 64:])
    assert not seen[..., 96:].any()
    assert np.array_equal(seen[..., 32:96], masks[..., 64:])
    view, seen = patch_view(images, masks, PATCHES["bottom_left"])
    quarter = Image.fromarray(images[1, 64:, :64]).resize((128, 128), Image.Resampling.BICUBIC)
    assert np.abs(view[1].astype(int) - np.asarray(quarter).astype(int)).max() <= 1
    assert np.array_equal(seen[..., ::2, 1::2], masks[..., 64:, :64])


def test_dimming_is_equation_12_repeated() -> None:
    image, mask = np.full((1, 1, 3, 3), 200, np.uint8), np.array([[[1.0, 0.0, 0.5]]], np.float32)
    state = image.astype(float)
    for _ in range(3):  # X_{i+1} = 0.3 (X . M) + 0.7 X_i
        state = 0.3 * image * mask[..., None] + 0.7 * state
    assert np.abs(dim(image, mask, 3) - state).max() <= 0.5


def test_training_sequences_are_what_the_tokenizer_makes_of_their_text() -> None:
    packer, words = Packer(4), {index: word for word, index in vocabulary().items()}
    truth = Truth("skin lesion", "lesion", 1.0, "skin", (0.1, 0.22, 0.333, 1.0))
    lengths = set()
    for seed in range(12):
        pack = packer.pack(truth, np.random.default_rng(seed))
        ids = pack.ids.tolist()
        text = " ".join(words[i] for i in ids)
        assert tokenizer()(text, add_special_tokens=False).input_ids == ids
        assert "<unk>" not in text
        assert pack.coordinates.sum() in (4, 8)
        starts = np.flatnonzero(np.diff(pack.block)) + 1
        assert (pack.positions[starts] == 3 + 4).all()
        lengths.add(len(starts))
    assert lengths == {1, 4}


def test_an_unknown_or_missing_pool_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="validation"):
        load_pool("test")
    with pytest.raises(MissingAsset, match=r"zoo\.training\.pool"):
        load_pool("train", tmp_path)
