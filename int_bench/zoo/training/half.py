"""Weights of the zoo on disk: half precision, readable by all, never half written."""

from pathlib import Path

from safetensors.torch import save_file
from torch import nn


def save_half(model: nn.Module, path: Path) -> None:
    """Write a model's state dict as fp16 safetensors: aside first, then renamed."""
    weights = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    aside = path.with_name(f".{path.name}")
    save_file(weights, aside, metadata={"format": "pt"})
    aside.chmod(0o644)
    aside.replace(path)
