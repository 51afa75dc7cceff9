"""How much memory the models of a configuration need, as far as their sizes are known.

Weights: parameters times the bytes of the precision that the configuration resolves to, whatever
the precision of the file. The vision-language model's keys and values are needed for the patches of
two images at least (:mod:`int_bench.backbones.common.budget`); what calls need comes on top
(:mod:`int_bench.config.needs.plan`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from int_bench.backbones.common.budget import PICTURES
from int_bench.config.needs.weights import Weights, weights_of
from int_bench.config.run_config import RunConfig

_IMAGES = 2  # side by side, at least
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Demand:
    """What one model needs in memory.

    Attributes:
        role: of the model.
        name: of its weights, as configured.
        device: as configured: ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
        dtype: that it computes in.
        weights: bytes; 0 where its size is not known.
        prefixes: bytes of keys and values for two images.
        max_batch: most rows of a call.
        token_bytes: of keys and values; 0 for what is no language model, or not known.
        tokens: of one picture and a question about it.
    """

    role: str
    name: str
    device: str
    dtype: str
    weights: int
    prefixes: int = 0
    max_batch: int = 1
    token_bytes: int = 0
    tokens: int = 0


def demands(config: RunConfig) -> list[Demand]:
    """What each model needs; models without weights need nothing worth counting."""
    return [
        _demand(part, config.backbone[part.role])
        for part in weights_of(config)
        if part.known.parameters or part.kind in ("shipped", "file")
    ]


def _demand(part: Weights, node: Mapping[str, Any]) -> Demand:
    dtype = str(node.get("dtype", "float32"))
    size = _BYTES.get(dtype, 4)
    known = part.known
    weights = known.parameters * size or _on_disk(part.place)
    if size < 4:
        weights += 4 * known.head
    token_bytes = known.bytes_per_token * size // 2  # what is known is in 16 bit
    return Demand(
        part.role,
        part.name,
        str(node.get("device", "auto")),
        dtype,
        weights,
        token_bytes * known.tokens * PICTURES * _IMAGES,
        int(node.get("max_batch", 1)),
        token_bytes,
        known.tokens,
    )


def _on_disk(place: Path) -> int:
    """Bytes of a file of weights, or of all in a folder."""
    if place.is_file():
        return place.stat().st_size
    return sum(path.stat().st_size for path in place.rglob("*.safetensors") if path.is_file())
