"""The rate at which a device computes large products: what no model on it is faster than."""

from __future__ import annotations

import time
from functools import cache

import torch

from int_bench.backbones.common.precision import current, spelled
from int_bench.core.files import Remembered

_KNOWN = Remembered("ceilings.json")
_ENOUGH, _ROUNDS = 0.1, 50
"""Seconds, or products, after which the best is taken: an idle device takes some to wake."""
_SLOWEST, _FASTEST = 1e7, 1e18
"""Operations a second between which a remembered rate may be one."""


def ceiling(device: torch.device, precision: torch.dtype, name: str) -> float | None:
    """Operations a second; on a CPU a second of one core.

    Measured in less than .3 s and remembered in the user's cache under ``name`` and torch's
    version.

    Args:
        device: where.
        precision: of the factors; of float32 as TF32 if the process allows it.
        name: of the device's kind and its driver.

    Returns:
        None where there is no room for the matrices.
    """
    kind = spelled(precision)
    if kind == "float32" and device.type == "cuda" and torch.backends.cuda.matmul.allow_tf32:
        kind = "tf32"
    return _remembered(device, precision, f"{name}, torch {torch.__version__}: {kind}")


@cache
def _remembered(device: torch.device, precision: torch.dtype, key: str) -> float | None:
    """The rate that is kept under a key; measured if there is none."""
    known = _KNOWN.read().get(key)
    if isinstance(known, float) and _SLOWEST < known < _FASTEST:
        return known
    try:
        rate = measured(device, precision)
    except RuntimeError:
        return None
    _KNOWN.write({**_KNOWN.read(), key: rate})
    return rate


def measured(device: torch.device, precision: torch.dtype, side: int | None = None) -> float:
    """The best of some products of square matrices, in operations a second.

    Args:
        device: its memory is given back.
        precision: of the factors.
        side: of the matrices; None: 8192 on CUDA, 1024 on a CPU, 512 in half precision there.

    Raises:
        RuntimeError: they do not fit into memory.
    """
    on_cuda = device.type == "cuda"
    side = side or (8192 if on_cuda else 1024 if precision == torch.float32 else 512)
    times: list[float] = []
    with current(device), torch.inference_mode():
        left, right = (torch.randn(side, side, device=device, dtype=precision) for _ in range(2))
        left @ right  # the library gets ready
        while len(times) < _ROUNDS and sum(times) < _ENOUGH:
            started = _now(device)
            left @ right
            times.append(_now(device) - started)
        del left, right
        if on_cuda:
            torch.cuda.empty_cache()
    return float(2 * side**3 / max(min(times), 1e-9))


def _now(device: torch.device) -> float:
    """Seconds of the clock once a device is done; of all threads on a CPU."""
    if device.type != "cuda":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()
