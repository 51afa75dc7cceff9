"""What the segmenter is loaded from, and what of it is refused in a sentence."""

import json
import re
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from int_bench.backbones.sam.loading import SamSource, load_sam
from int_bench.backbones.sam.model import Sam
from int_bench.core.requests import Segment
from int_bench.errors import MissingAsset, UsageError
from tests.backbones.sam.tiny_sam import BOX, TINY, picture, write_tiny_sam


class Evil:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return (open, ("stolen.txt", "w"))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"weights": Evil()}, tmp_path / "sam.pth")
    with pytest.raises(MissingAsset, match=r"sam\.pth .*refused.*holds code") as caught:
        Sam("sam.pth", model="vit_b", device="cpu").segment([Segment(picture(8, 8), BOX)])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "stolen.txt").exists()


def break_config(folder):
    (folder / "config.json").write_text('{"image_size": 64, "colour": 3}')


def break_weights(folder):
    (folder / "model.safetensors").write_bytes(b"not a tensor")


def drop_weights(folder):
    (folder / "model.safetensors").unlink()


def other_size(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"depth": 3}))


@pytest.mark.parametrize("damage", [break_config, break_weights, drop_weights, other_size])
def test_a_bad_folder_is_one_sentence(tmp_path, damage):
    folder = write_tiny_sam(tmp_path / "sam", replace(TINY, depth=1))
    damage(folder)
    with pytest.raises(MissingAsset, match="next step") as caught:
        Sam(str(folder), device="cpu").segment([Segment(picture(8, 8), BOX)])
    message = str(caught.value)
    assert str(folder) in message
    assert "\n" not in message
    assert len(message) < 450


@pytest.mark.parametrize("checkpoint", ["zoo:no-such", "/nowhere/sam.pth", "nobody/no-such-sam"])
def test_a_missing_checkpoint_is_named(checkpoint):
    with pytest.raises(MissingAsset, match=re.escape(checkpoint)):
        Sam(checkpoint, device="cpu").segment([Segment(picture(8, 8), BOX)])


def test_quantised_weights_are_refused_by_name(tmp_path):
    folder = write_tiny_sam(tmp_path / "sam", TINY)
    weights = load_file(folder / "model.safetensors")
    name = "image_encoder.blocks.0.attn.proj.weight"
    save_file({**weights, name: weights[name].to(torch.int8)}, folder / "model.safetensors")
    with pytest.raises(MissingAsset, match=f"holds int8 as {re.escape(name)}: it is quantised"):
        load_sam(SamSource(str(folder)))


def test_a_file_needs_its_size(tmp_path):
    torch.save({}, tmp_path / "sam.pth")
    with pytest.raises(UsageError, match=r"segmenter\.model to one of vit_b, vit_l, vit_h"):
        Sam(str(tmp_path / "sam.pth"), device="cpu").segment([Segment(picture(8, 8), BOX)])
