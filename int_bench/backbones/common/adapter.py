"""Adapters: small trained weights that belong to one frozen model.

A folder with ``config.json`` (what it is, and the hash of the frozen model), ``model.safetensors``
(its weights) and ``card.json`` (what it was trained on, see :mod:`int_bench.core.cards`). Nothing
in it is unpickled, imported or built by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import xxhash
from torch import Tensor, nn

from int_bench.backbones.common.adapter_config import (
    CONFIG_FILE,
    FORMAT,
    WEIGHTS_FILE,
    read_config,
)
from int_bench.backbones.common.loading import ZOO_PREFIX, resolve
from int_bench.core.files import expanded, read_plain, write_whole
from int_bench.errors import MissingAsset

_AGAIN = "train it again for this model with `int-bench train`, or leave the key out"


@dataclass(frozen=True)
class Adapter:
    """A checked adapter.

    Attributes:
        folder: where it lies.
        sizes: what its kind says of itself: numbers, texts and lists, JSON.
        weights: by name, on the CPU, floating point, as stored.
    """

    folder: Path
    sizes: Mapping[str, Any]
    weights: Mapping[str, Tensor]

    def fill(self, module: nn.Module, prefix: str = "") -> None:
        """Copy the weights into a module that has exactly these names and shapes, in its precision.

        Args:
            module: is filled.
            prefix: what every name in the adapter begins with, and the module's do not.

        Raises:
            MissingAsset: the names or shapes differ; the first one is named.
        """
        own = {prefix + name: tensor for name, tensor in module.state_dict().items()}
        for name in sorted({*own, *self.weights}):
            here = tuple(own[name].shape) if name in own else None
            there = tuple(self.weights[name].shape) if name in self.weights else None
            if here != there:
                raise MissingAsset(
                    f"The adapter {self.folder} does not fit: {name} is {there or 'not there'} in "
                    f"it and {here or 'not there'} in the model; {_AGAIN}."
                )
        module.load_state_dict({n.removeprefix(prefix): t for n, t in self.weights.items()})


def hash_of_weights(module: nn.Module) -> str:
    """A hash of a model's weights, ``xxh3:...``: names, shapes and values as float32 on the CPU.

    Take it of the model as it was read, before its precision or its layers are changed.
    """
    state = xxhash.xxh3_128()
    for name, tensor in sorted(module.state_dict().items()):
        values = tensor.detach().to("cpu", torch.float32).contiguous()
        state.update(f"{name} {tuple(values.shape)}\n".encode())
        state.update(values.numpy().data)
    return f"xxh3:{state.hexdigest()}"


def write(
    folder: Path,
    kind: str,
    frozen: str,
    sizes: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    half: bool = False,
) -> None:
    """Write ``config.json`` and ``model.safetensors`` into a folder that is there.

    Args:
        folder: of the adapter.
        kind: what reads it: ``sam_plm``, ``sam_decoder``, ...
        frozen: :func:`hash_of_weights` of the model that it belongs to.
        sizes: what rebuilds the module, JSON-ready.
        weights: the module's state dict.
        half: store float16.
    """
    from safetensors.torch import save

    stored = torch.float16 if half else torch.float32
    tensors = {name: t.detach().to("cpu", stored).contiguous() for name, t in weights.items()}
    config = {"kind": kind, "format": FORMAT, "frozen": frozen, "sizes": dict(sizes)}
    write_whole(folder / WEIGHTS_FILE, save(tensors, metadata={"format": "pt"}))
    write_whole(folder / CONFIG_FILE, f"{json.dumps(config, indent=2)}\n".encode())


def read(folder: str | Path, kind: str, frozen: str) -> Adapter:
    """Read an adapter and check that it belongs to a model.

    Args:
        folder: the folder, or ``zoo:NAME``.
        kind: that the model takes.
        frozen: :func:`hash_of_weights` of the model.

    Raises:
        MissingAsset: it is not there, of another kind or format, for other weights, or holds
            anything but floating-point numbers; in one sentence.
    """
    place = Path(resolve(str(folder))) if str(folder).startswith(ZOO_PREFIX) else expanded(folder)
    config = read_config(place, kind)
    if config["frozen"] != frozen:
        raise MissingAsset(
            f"The adapter {place} belongs to other weights ({config['frozen'][:17]}) than this "
            f"model has ({frozen[:17]}); choose the checkpoint that it was trained on, or "
            f"{_AGAIN}."
        )
    return Adapter(place, config["sizes"], _weights(place))


def _weights(folder: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = folder / WEIGHTS_FILE
    try:
        weights: dict[str, Tensor] = load(read_plain(path))
    except OSError as error:
        raise MissingAsset(f"The adapter {folder} has no readable {WEIGHTS_FILE}.") from error
    except SafetensorError as error:
        raise MissingAsset(
            f"{path} is damaged or no safetensors ({error}); copy it again, or train it again."
        ) from error
    for name, tensor in weights.items():
        if not tensor.is_floating_point() or not torch.isfinite(tensor.float()).all():
            raise MissingAsset(f"{path}: {name} holds no finite numbers; {_AGAIN}.")
    return weights
