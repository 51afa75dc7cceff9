"""What the aligner is loaded from, and what of it is refused in a sentence."""

import json
import re
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.modified_resnet import ModifiedResNet

from int_bench.backbones.clip import loading as clip_loading
from int_bench.backbones.clip.surgery import ClipSurgery
from int_bench.core.requests import Heatmap, Similarity
from int_bench.errors import MissingAsset, UsageError
from tests.backbones.clip.tiny_clip import aligner, picture, write_tiny_clip


def test_nothing_asked_nothing_loaded(tmp_path):
    one = aligner(str(tmp_path / "absent"))
    assert one.heatmap([]) == []
    assert one.similarity([]) == []
    json.dumps(one.identity)


@pytest.mark.parametrize(
    "options",
    [
        {"templates": ["a photo"]},
        {"dtype": "int8"},
        {"device": "abacus"},
    ],
)
def test_a_wrong_option_is_refused_at_once(options):
    with pytest.raises(UsageError):
        ClipSurgery("zoo:clip", **options)


@pytest.mark.parametrize(("options", "name"), [({"blocks": 4}, "blocks=4"), ({"size": 36}, "size")])
def test_an_option_that_the_model_cannot_honour_is_refused(folder, options, name):
    with pytest.raises(UsageError, match=name):
        aligner(folder, **options).heatmap([Heatmap(picture(8, 8), ("frog",))])


def break_config(folder):
    (folder / "open_clip_config.json").write_text("{")


def drop_config(folder):
    (folder / "open_clip_config.json").unlink()


def break_weights(folder):
    (folder / "open_clip_model.safetensors").write_bytes(b"not a tensor")


def drop_weights(folder):
    (folder / "open_clip_model.safetensors").unlink()


def other_size(folder):
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["embed_dim"] = 25
    (folder / "open_clip_config.json").write_text(json.dumps(config))


def drop_tokenizer(folder):
    for path in folder.glob("tokenizer*"):
        path.unlink()


class Evil:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return (open, ("stolen.txt", "w"))


def hide_code(folder):
    drop_weights(folder)
    torch.save({"weights": Evil()}, folder / "open_clip_pytorch_model.bin")


@pytest.mark.parametrize(
    "damage",
    [
        break_config,
        drop_config,
        break_weights,
        drop_weights,
        other_size,
        drop_tokenizer,
        hide_code,
    ],
)
def test_a_bad_folder_is_one_sentence(tmp_path, monkeypatch, damage):
    monkeypatch.chdir(tmp_path)
    folder = write_tiny_clip(tmp_path / "clip")
    damage(folder)
    with pytest.raises(MissingAsset, match="next step") as caught:
        aligner(str(folder)).similarity([Similarity(picture(8, 8), "frog")])
    message = str(caught.value)
    assert str(folder) in message
    assert "\n" not in message
    assert len(message) < 450
    assert not (tmp_path / "stolen.txt").exists()


@pytest.mark.parametrize("checkpoint", ["zoo:no-such", "/nowhere/clip", "nobody/no-such-clip"])
def test_a_missing_checkpoint_is_named(checkpoint):
    with pytest.raises(MissingAsset, match=re.escape(checkpoint)):
        aligner(checkpoint).similarity([Similarity(picture(8, 8), "frog")])


def test_a_tag_that_is_not_here_names_its_repository():
    one = ClipSurgery("ViT-B-16-quickgelu", "openai", device="cpu")
    with pytest.raises(MissingAsset, match=r"timm/vit_base_patch16_clip_224\.openai; ") as raised:
        one.similarity([Similarity(picture(8, 8), "frog")])
    words = "checkpoint=ViT-B-16-quickgelu backbone.aligner.pretrained=openai"
    assert f"`int-bench models fetch backbone.aligner.{words}`" in str(raised.value)


@pytest.mark.parametrize(
    ("checkpoint", "pretrained", "sentence"),
    [
        ("ViT-B-61", "openai", "did you mean ViT-B-16"),
        ("ViT-B-16", "opanai", "one of: openai"),
        ("ViT-B-16", None, "one of: openai"),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_ones(checkpoint, pretrained, sentence):
    with pytest.raises(UsageError, match=sentence):
        ClipSurgery(checkpoint, pretrained, device="cpu").loaded  # noqa: B018


def test_quick_gelu_follows_the_weights(monkeypatch):
    assert clip_loading._needs_quick_gelu("ViT-B-16", "openai")
    assert not clip_loading._needs_quick_gelu("ViT-B-16", "laion2b_s34b_b88k")
    monkeypatch.setattr("open_clip.pretrained.get_pretrained_cfg", lambda *_: {"quick_gelu": False})
    with pytest.raises(UsageError, match=r"trained without QuickGELU.*checkpoint=ViT-B-16\."):
        clip_loading._needs_quick_gelu("ViT-B-16-quickgelu", "laion2b_s34b_b88k")


def test_an_architecture_with_a_file_of_weights(folder, monkeypatch):
    config = json.loads(Path(folder, "open_clip_config.json").read_text())["model_cfg"]
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "Tiny-16", config)
    monkeypatch.setattr(
        "open_clip.get_tokenizer", lambda _: open_clip.factory.get_tokenizer(f"local-dir:{folder}")
    )
    file = f"{folder}/open_clip_model.safetensors"
    cosine = [Similarity(picture(32, 32), "frog")]
    named = ClipSurgery("Tiny-16", file, device="cpu")
    assert named.loaded.model.visual.transformer.resblocks[0].ln_1.weight[0] != 1
    assert len(named.similarity(cosine)) == 1


def test_a_tower_that_is_no_plain_vit_is_refused():
    from int_bench.backbones.clip.spatial import check_vision

    resnet = ModifiedResNet((1, 1, 1, 1), output_dim=8, heads=2, image_size=32, width=8)
    with pytest.raises(UsageError, match="plain ViT"):
        check_vision(resnet, 6, 224)
