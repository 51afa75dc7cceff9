"""Weights on a disk of the machine's own: copied once, whole or not at all."""

from __future__ import annotations

import os

import pytest

from int_bench.config import load_config
from int_bench.config.contents import commit_of, hub_folder
from int_bench.config.needs.fetching import bring_near
from int_bench.config.needs.weights import weights_of


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """A hub's cache with all that the paper's models load, two files each."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "shared"))
    parts = weights_of(load_config(["models=paper", "device=cpu"]))
    for part in parts:
        if part.kind == "hub":
            folder = hub_folder(part.name)
            for name in ("blobs", "refs", "snapshots/c0ffee"):
                (folder / name).mkdir(parents=True)
            (folder / "blobs" / "b").write_text(part.name)
            (folder / "refs" / "main").write_text("c0ffee")
            (folder / "snapshots" / "c0ffee" / "model").symlink_to("../../blobs/b")
    return parts


def test_weights_are_copied_once_and_read_from_there(parts, tmp_path):
    names = [part.name for part in parts if part.kind == "hub"]
    assert names
    bring_near(parts, tmp_path / "near")
    assert os.environ["HF_HUB_CACHE"] == str(tmp_path / "near")
    for name in names:
        assert hub_folder(name).is_relative_to(tmp_path / "near")
        assert (hub_folder(name) / "snapshots" / "c0ffee" / "model").read_text() == name
        assert commit_of(name) == "c0ffee"
    made = (hub_folder(names[0]) / "blobs" / "b").stat().st_ino
    os.environ["HF_HUB_CACHE"] = str(tmp_path / "shared")
    bring_near(parts, tmp_path / "near")  # the next task of the node
    assert (hub_folder(names[0]) / "blobs" / "b").stat().st_ino == made


def test_half_a_copy_of_one_that_died_is_made_anew(parts, tmp_path):
    name = next(part.name for part in parts if part.kind == "hub")
    half = tmp_path / "near" / f".{hub_folder(name).name}.part"
    (half / "blobs").mkdir(parents=True)
    (half / "blobs" / "torn").touch()
    bring_near(parts, tmp_path / "near")
    assert not half.exists() and not (hub_folder(name) / "blobs" / "torn").exists()


def test_where_weights_lack_all_stay_where_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "shared"))
    bring_near(weights_of(load_config(["models=paper", "device=cpu"])), tmp_path / "near")
    assert os.environ["HF_HUB_CACHE"] == str(tmp_path / "shared")
    assert not (tmp_path / "near").exists()
