"""How much of a device's memory the keys and values of a vision-language model may take."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from int_bench.backbones.common.lru import MEBIBYTE

WORK_BYTES = 14 * 2**30
"""Of a device, beside weights, keys and values: what the five models of the paper compute with."""
ON_CPU_MB = 1024


@dataclass(frozen=True)
class Budget:
    """Memory of keys and values, in bytes.

    Attributes:
        prefixes: of those that stay between calls.
        batch: of those that one call computes with, ...
        rows: ... at most so many prompts.
    """

    prefixes: int
    batch: int
    rows: int


def budget(place: torch.device, given_mb: int | None, rows: int) -> Budget:
    """The memory for keys and values; on CUDA the other models are best loaded before.

    Args:
        place: of the model, which is loaded.
        given_mb: for prefixes, in MiB, as configured; a batch may take as much again.
        rows: of the largest batch.
    """
    if given_mb is not None or place.type != "cuda":
        held = (ON_CPU_MB if given_mb is None else given_mb) * MEBIBYTE
        return Budget(held, held, rows)
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(place)
    spare = max(free - WORK_BYTES, free // 2)
    return Budget(spare * 2 // 3, spare // 3, rows)
