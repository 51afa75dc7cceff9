"""How much of a device's memory the keys and values of a vision-language model may take."""

from __future__ import annotations

import torch

from int_bench.backbones.common.budget import Budget, shared_out
from int_bench.backbones.common.lru import MEBIBYTE

ON_CPU_MB = 1024


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
    return shared_out(free, rows)
