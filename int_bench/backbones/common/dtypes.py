"""Which precision a model computes in: the one rule, without torch, so that configuration can ask.

A backbone declares ``PRECISION``: by exactness class (see :mod:`int_bench.config.exactness`), the
precision in which its checkpoints are published, or which they bear.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Dtype = Literal["auto", "float32", "bfloat16", "float16"]


def dtype_name(precision: Mapping[str, str], exactness: str, checkpoint: str, *, cuda: bool) -> str:
    """What ``dtype: auto`` means for a model.

    float32 where nothing is declared, for E0, and instead of float16 on a CPU, which computes it
    slowly, or for the small checkpoints that ship with the package.

    Args:
        precision: declared by its class.
        exactness: ``E0``, ``E1`` or ``E2``.
        checkpoint: as configured.
        cuda: whether it computes on a CUDA device.

    >>> llava = {"E1": "float16", "E2": "float16"}
    >>> dtype_name(llava, "E1", "org/model", cuda=True), dtype_name(llava, "E1", "zoo:x", cuda=True)
    ('float16', 'float32')
    """
    name = precision.get(exactness, "float32")
    shipped = checkpoint.startswith("zoo:")
    return "float32" if name == "float16" and (shipped or not cuda) else name
