"""Run folders are named after what decides a result: classes by name, options by value."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from int_bench.config import building, contents, load_config
from int_bench.config.contents import commit_of, content_of
from int_bench.config.identity import class_name, digest, identity, named
from int_bench.config.places import CONF
from int_bench.config.sources import definition


def digest_of(*overrides: str) -> str:
    return digest(identity(load_config(["device=cpu", *overrides]), {"manifest": "m"}))


def install(site: Path, distribution: str, package: str) -> None:
    """A distribution with a package of its own that defines ``Sam``."""
    (site / package).mkdir(parents=True)
    (site / package / "__init__.py").write_text("class Sam:\n    def __init__(self, size=1): ...\n")
    info = site / f"{distribution}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "top_level.txt").write_text(f"{package}\n")
    (info / "RECORD").write_text(f"{package}/__init__.py,,\n")


@pytest.fixture
def others(tmp_path, monkeypatch):
    """Three classes called Sam: this package's, and those of two distributions."""
    install(tmp_path, "first-dist", "first_models")
    install(tmp_path, "second-dist", "second_models")
    monkeypatch.syspath_prepend(tmp_path)
    return ["int_bench.backbones.sam.Sam", "first_models.Sam", "second_models.Sam"]


def test_two_classes_of_one_name_never_share_a_folder(others):
    assert [class_name(target) for target in others] == [
        "Sam",
        "first-dist:first_models.Sam",
        "second-dist:second_models.Sam",
    ]
    config = load_config(["device=cpu"])
    digests = set()
    for target in others:
        node = {"_target_": target}
        model = replace(config, backbone={**config.backbone, "segmenter": node})
        digests |= {digest(identity(model, {})), digest(identity(replace(config, method=node), {}))}
    assert len(digests) == 6


def test_no_two_classes_that_the_configuration_names_share_a_name():
    homes: dict[str, set[str]] = {}
    for target in building._named_under(CONF):
        homes.setdefault(class_name(target), set()).add(definition(target)[0])
    assert len(homes) > 20 and all(len(modules) == 1 for modules in homes.values())


def test_a_class_is_named_and_not_located():
    long, short = "int_bench.backbones.sam.model.Sam", "int_bench.backbones.sam.Sam"
    assert named({"_target_": long}) == named({"_target_": short})
    assert "int_bench" not in str(identity(load_config(["device=cpu"]), {}))


@pytest.mark.parametrize(
    "said", ["method.prompter.generation.grid.overlap=0.0", "backbone.vlm.max_side=null"]
)
def test_a_default_said_aloud_changes_nothing(said):
    assert digest_of(said) == digest_of()


def test_only_the_models_that_the_method_can_ask_count():
    assert digest_of("method=centre_box") == digest_of("method=centre_box", "models=paper")
    assert digest_of("method=grounding_sam") == digest_of(
        "method=grounding_sam", "backbone/inpainter=telea", "backbone/vlm=openai"
    )
    telea = "backbone/inpainter=telea"
    assert digest_of("ablation=no_psnm") == digest_of("ablation=no_psnm", telea)
    assert digest_of() != digest_of(telea)


def test_a_file_of_weights_counts_by_what_it_holds(tmp_path):
    weights = [tmp_path / name for name in ("a.pth", "b.pth", "c.pth")]
    for path, content in zip(weights, (b"one", b"one", b"two"), strict=True):
        path.write_bytes(content)
    found = [digest_of(f"backbone.segmenter.checkpoint={path}") for path in weights]
    assert found[0] == found[1] != found[2]


def test_hashes_are_remembered_until_the_file_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weights = tmp_path / "large.safetensors"
    weights.write_bytes(b"x" * (contents._BLOCK + 1))
    os.utime(weights, (1e9, 1e9))
    first = content_of.__wrapped__(str(weights))
    with monkeypatch.context() as patched:
        patched.setattr(contents, "_read", lambda path, size: "read again")
        assert content_of.__wrapped__(str(weights)) == first
        os.utime(weights, (1e9, 1e9 + 1))
        assert content_of.__wrapped__(str(weights)) == "sha256:read again"
    (tmp_path / "cache" / "int-bench" / "hashes.json").write_text("[[")
    assert content_of.__wrapped__(str(weights)) == first


def test_a_folder_counts_by_its_weights_and_texts(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    first = content_of.__wrapped__(str(tmp_path))
    (tmp_path / "training.log").write_text("noise")
    assert content_of.__wrapped__(str(tmp_path)) == first
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert content_of.__wrapped__(str(tmp_path)) != first


def test_of_a_large_file_size_and_spaced_blocks_count(tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "_WHOLE", 100)
    monkeypatch.setattr(contents, "_BLOCK", 4)
    monkeypatch.setattr(contents, "_BLOCKS", 8)
    digests = set()
    for data in (b"a" * 1000, b"a" * 1001, b"b" + b"a" * 999, b"a" * 999 + b"b"):
        (tmp_path / "model.bin").write_bytes(data)
        digests.add(content_of.__wrapped__(str(tmp_path / "model.bin")))
    assert len(digests) == 4


def test_a_shipped_model_counts_by_the_list_of_hashes(tmp_path, monkeypatch):
    shipped = content_of.__wrapped__("zoo:llava")
    assert shipped.startswith("sha256:")
    sums = tmp_path / "SHA256SUMS"
    sums.write_text("0" * 64 + "  llava/model.safetensors\n")
    monkeypatch.setattr(contents, "_SUMS", sums)
    assert content_of.__wrapped__("zoo:llava") != shipped
    assert content_of.__wrapped__("zoo:nothing") == "zoo:nothing"


def test_the_commit_of_a_hubs_checkpoint_is_read_from_the_librarys_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert content_of.__wrapped__("org/name") == "org/name"
    assert commit_of("org/name") is None
    refs = tmp_path / "models--org--name" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text("c0ffee\n")
    assert commit_of("org/name") == "c0ffee" and commit_of("org/name", "v2") is None
