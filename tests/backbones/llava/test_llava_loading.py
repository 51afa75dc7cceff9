"""Loading LLaVA checkpoints: lazily, shared, and one sentence for whatever is wrong with them."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from int_bench.backbones.llava import kv_block
from int_bench.backbones.llava.model import Llava
from int_bench.core.requests import Answer, FirstToken, Score
from int_bench.errors import MissingAsset, UsageError
from tests.backbones.llava import tiny_llava
from tests.backbones.llava.llava_reference import NAME, pictures
from tests.backbones.llava.tiny_llava import NAMES


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    return tiny_llava.build_all(tmp_path_factory.mktemp("llava"))


@pytest.fixture
def checkpoint(checkpoints):
    return str(checkpoints["pieces"])


def test_constructing_loads_nothing(tmp_path):
    vlm = Llava(str(tmp_path / "nowhere"), dtype="float32", device="cpu")
    assert vlm.counters == {}
    assert json.loads(json.dumps(vlm.identity))["dtype"] == "float32"


def test_equal_backbones_share_weights_but_not_caches(checkpoint):
    first, second = Llava(checkpoint), Llava(checkpoint, preprocess="squash")
    assert first.ready.model is second.ready.model
    assert first.ready.engine is not second.ready.engine


def test_half_precision(checkpoint):
    vlm = Llava(checkpoint, dtype="bfloat16")
    whole = Llava(checkpoint)
    picture = pictures(1)[0]
    (near,), (exact,) = (v.first_token([FirstToken(picture, NAME)]) for v in (vlm, whole))
    assert near.dtype == np.float32 and np.abs(near - exact).max() < 0.05
    assert len(vlm.score([Score(picture, NAME, NAMES)])[0]) == len(NAMES)


def truncated(folder):
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:1000])


def without_weights(folder):
    (folder / "model.safetensors").unlink()


def without_processor(folder):
    for name in ("tokenizer.json", "tokenizer_config.json", "processor_config.json"):
        (folder / name).unlink()


def of_another_kind(folder):
    (folder / "config.json").write_text(json.dumps({"model_type": "clip"}))


def with_a_broken_config(folder):
    (folder / "config.json").write_text("{")


def pickled(folder):
    torch.save({}, folder / "pytorch_model.bin")
    without_weights(folder)


def lacking_a_layer(folder):
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["num_hidden_layers"] = 3
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    "damage",
    [
        truncated,
        without_weights,
        without_processor,
        of_another_kind,
        with_a_broken_config,
        pickled,
        lacking_a_layer,
    ],
)
def test_a_damaged_checkpoint_is_one_sentence(checkpoint, tmp_path, damage):
    folder = shutil.copytree(checkpoint, tmp_path / "copy")
    damage(folder)
    with pytest.raises(MissingAsset) as caught:
        Llava(str(folder)).answer([Answer(pictures(1)[0], NAME)])
    said = str(caught.value)
    assert str(folder) in said and "next step" in said and "\n" not in said and said.endswith(".")


def test_a_missing_checkpoint_names_the_next_step(tmp_path):
    for checkpoint in (str(tmp_path / "nowhere"), "nobody/no-such-model"):
        with pytest.raises(MissingAsset, match=checkpoint):
            Llava(checkpoint).answer([Answer(pictures(1)[0], NAME)])


def test_wrong_options(checkpoint):
    with pytest.raises(UsageError, match="device"):
        Llava(checkpoint, device="abacus")
    with pytest.raises(UsageError, match="image token"):
        Llava(checkpoint).answer([Answer(pictures(1)[0], "What is <image>?")])


def test_sliding_windows_are_refused(checkpoint):
    config = Llava(checkpoint).ready.model.config
    kv_block.check_attention(config)
    kinds = ["full_attention", "sliding_attention"]
    text = type(config.text_config)(num_hidden_layers=2, layer_types=kinds)
    with pytest.raises(UsageError, match="sliding_attention"):
        kv_block.check_attention(type(config)(text_config=text))
