"""What the backbone tests share: no network, one thread."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before any library reads it

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    """No test may reach out, even if a library was imported before this file."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
