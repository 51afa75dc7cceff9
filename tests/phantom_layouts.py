"""Passes over memory that a CUDA device makes slowly, as operands lie in unlike layouts.

Kernels of element-wise operations read and write whole vectors if all operands are dense and lie
alike; else they reckon the place of each element, at about a third of the speed. A convolution
copies an input that lies unlike its weights, and its bias is a pass of its own over the answer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch._prims_common import suggest_memory_format

LARGE = 2**14
"""Elements from which on a pass counts, unless a device says another number."""
_COPIES = frozenset({"clone", "copy_", "_to_copy", "cat", "stack", "constant_pad_nd"})


def slow_passes(func: Any, name: str, tensors: list[torch.Tensor], large: int) -> int:
    """How many slow passes an operation makes.

    Args:
        func: the operation, and
        name: its name.
        tensors: what it reads and writes; the input, the weight and the bias of a convolution.
        large: elements from which on a pass counts.
    """
    numbers = [tensor for tensor in tensors if tensor.numel() > 1]
    if max((tensor.numel() for tensor in numbers), default=0) < large:
        return 0
    if name == "convolution":
        return _of_convolution(*tensors[:3])
    if torch.Tag.pointwise not in func.tags and name not in _COPIES:
        return 0
    return int(not _lie_alike(numbers, shapes=name not in ("cat", "stack")))


def _lie_alike(tensors: list[torch.Tensor], shapes: bool) -> bool:
    if shapes and len({tensor.shape for tensor in tensors}) > 1:
        return False
    if all(tensor.is_contiguous() for tensor in tensors):
        return True
    if all(_is_channels_last(tensor) for tensor in tensors):
        return True
    strides = {tensor.stride() for tensor in tensors}
    return len(strides) == 1 and torch.ops.aten.is_non_overlapping_and_dense(tensors[0])


def _is_channels_last(tensor: torch.Tensor) -> bool:
    return tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)


def _of_convolution(x: torch.Tensor, weight: torch.Tensor, *rest: torch.Tensor) -> int:
    bias = rest and rest[0].ndim == 1 and len(rest[0]) == len(weight)
    last = torch.channels_last in map(suggest_memory_format, (x, weight))
    return int(last and not _is_channels_last(x)) + bool(bias)


def convolution(x: torch.Tensor, weight: torch.Tensor, *rest: Any) -> torch.Tensor:
    """As on CUDA, the answer has its channels last where input or weights have."""
    answer = torch.ops.aten.convolution(x, weight, *rest)
    if x.ndim == 4 and torch.channels_last in map(suggest_memory_format, (x, weight)):
        return answer.contiguous(memory_format=torch.channels_last)
    return answer
