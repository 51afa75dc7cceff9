"""A shipped model's files are checked before they are loaded."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from int_bench.backbones.common.loading import zoo_folder
from int_bench.backbones.common.zoo_files import SUMS, record, verify
from int_bench.errors import MissingAsset


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    for name, text in {
        "sam/model": "weights",
        "sam/sub/config": "{}",
        "clip/model": "other",
        "training/loop.py": "code is not listed",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    record(tmp_path)
    verify.cache_clear()
    return tmp_path


@pytest.mark.parametrize("role", ["llava", "stable_diffusion", "grounding_dino", "sam", "clip"])
def test_the_shipped_files_are_the_listed_ones(role: str) -> None:
    folder = zoo_folder(role)
    verify(folder)
    listed = {line.split()[1] for line in (folder.parent / SUMS).read_text().splitlines()}
    there = {p.relative_to(folder.parent).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert there == {name for name in listed if name.startswith(f"{role}/")}


def test_only_models_are_listed(zoo: Path) -> None:
    listed = [line.split()[1] for line in (zoo / SUMS).read_text().splitlines()]
    assert listed == ["clip/model", "sam/model", "sam/sub/config"]


def test_a_damaged_file_is_named_with_both_hashes(zoo: Path) -> None:
    (zoo / "sam/model").write_text("weighty")
    hashes = [hashlib.sha256(text).hexdigest() for text in (b"weighty", b"weights")]
    with pytest.raises(MissingAsset) as caught:
        verify(zoo / "sam")
    assert all(word in str(caught.value) for word in ("sam/model", "pip install", *hashes))
    verify(zoo / "clip")


def test_a_missing_file_is_named(zoo: Path) -> None:
    (zoo / "sam/sub/config").unlink()
    with pytest.raises(MissingAsset, match=r"sub/config \(sha256 [0-9a-f]{64}\) is missing"):
        verify(zoo / "sam")


def test_a_missing_list_is_named(zoo: Path) -> None:
    (zoo / SUMS).unlink()
    with pytest.raises(MissingAsset, match=SUMS):
        verify(zoo / "sam")
