"""The convolutional tower: shapes, batch invariance, and the way through the library's files."""

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModel

from int_bench.backbones.llava.conv_tower import ConvTower, ConvTowerConfig


@pytest.fixture(scope="module")
def tower() -> ConvTower:
    torch.manual_seed(0)
    config = ConvTowerConfig(image_size=64, hidden_size=32, widths=(8, 8, 16, 16), neck_width=16)
    return ConvTower(config).eval()


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_maps_and_tokens_have_the_documented_shapes(tower: ConvTower, pixels: torch.Tensor) -> None:
    maps = tower.dense(pixels)
    assert maps.features.shape == (3, 16, 8, 8)
    assert maps.names.shape == (3, 11, 8, 8)
    assert maps.boxes.shape == (3, 4, 8, 8)
    assert maps.environments.shape == (3, 10)
    out = tower(pixels)
    assert out.last_hidden_state.shape == (3, 16, 32)
    assert out.hidden_states[-1] is out.last_hidden_state


@torch.no_grad()
def test_every_cell_lies_inside_its_box(tower: ConvTower, pixels: torch.Tensor) -> None:
    boxes = tower.dense(pixels).boxes
    centres = torch.tensor([(i + 0.5) / 8 for i in range(8)])
    assert (boxes[:, 0] < centres).all()
    assert (boxes[:, 2] > centres).all()
    assert (boxes[:, 1] < centres[:, None]).all()
    assert (boxes[:, 3] > centres[:, None]).all()


@torch.no_grad()
def test_a_batch_answers_as_its_parts_do(tower: ConvTower, pixels: torch.Tensor) -> None:
    together = tower(pixels).last_hidden_state
    alone = torch.cat([tower(image[None]).last_hidden_state for image in pixels])
    assert torch.allclose(together, alone, atol=1e-4)


@torch.no_grad()
def test_saved_and_loaded_through_the_auto_classes(
    tower: ConvTower, pixels: torch.Tensor, tmp_path: Path
) -> None:
    tower.save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).widths == [8, 8, 16, 16]
    loaded = AutoModel.from_pretrained(tmp_path, dtype=torch.float32).eval()
    assert isinstance(loaded, ConvTower)
    expected = tower(pixels).last_hidden_state
    assert torch.equal(loaded(pixels).last_hidden_state, expected)
