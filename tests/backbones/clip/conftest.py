"""Tiny checkpoints of the aligner, in open_clip's format."""

from __future__ import annotations

import pytest

from int_bench.backbones.common.loading import forget_loaded
from tests.backbones.clip.tiny_clip import write_tiny_clip


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return str(write_tiny_clip(tmp_path_factory.mktemp("clip")))


@pytest.fixture(scope="session")
def quick_folder(tmp_path_factory):
    return str(write_tiny_clip(tmp_path_factory.mktemp("quick"), quick_gelu=True, seed=1))


@pytest.fixture(autouse=True)
def _nothing_loaded():
    forget_loaded()
