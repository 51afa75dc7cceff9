"""Operations of a phantom device without values: shapes of fractions, values of whole numbers.

Numbers with a fraction are ``meta`` tensors. Whole numbers and truths keep their values as long as
no fraction decides them, since indices and masks steer what is computed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map

SMALL = 4096
"""Fractions of at most so many numbers are computed with: positions, scales, schedules."""
_CHOOSE = frozenset({"index", "index_put", "index_put_", "_index_put_impl_"})
_BY_VALUE = frozenset(
    {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "_unique2"}
)


def readable(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor on the host; zeros for what has a shape only."""
    return torch.zeros(tensor.shape, dtype=tensor.dtype) if tensor.is_meta else tensor


def attend(query: Any, key: Any, value: Any, mask: Any = None, **named: Any) -> torch.Tensor:
    """Attention by shape; as on CUDA, the heads of a token lie side by side."""
    *rows, heads, length, _ = query.shape
    return query.new_empty((*rows, length, heads, value.shape[-1])).transpose(-3, -2)


def run(name: str, kernel: Any, args: Any, kwargs: Any, to_device: bool) -> Any:
    """One operation on tensors of which some have no values.

    Args:
        name: of the operation.
        kernel: what computes it.
        args, kwargs: its arguments, no phantom among them.
        to_device: whether the result is to stay on the device.
    """
    leaves = tree_leaves((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    if name == "_to_copy" and not to_device and args[0].is_meta:
        # Ones: flags of numbers that are finite come to the host beside the numbers.
        return torch.ones(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
    if name == "copy_" and args[1].is_meta and not args[0].is_meta:
        return args[0].fill_(1)  # to the host, as above
    if not _shapes_only(tensors, kwargs):
        return kernel(*args, **kwargs)
    if name == "_local_scalar_dense" and args[0].dtype == torch.bool:
        return True  # "all finite", as it should be
    if name in _BY_VALUE:
        return kernel(*tree_map(_zeros, args), **kwargs)
    if name in _CHOOSE:
        return _indexed(name, kernel, args, kwargs)
    args, kwargs = tree_map(_meta, (args, kwargs))
    kwargs.pop("generator", None)
    return kernel(*args, **kwargs)


def _shapes_only(tensors: list[torch.Tensor], kwargs: Any) -> bool:
    dtype = kwargs.get("dtype")
    if not tensors:
        return dtype is None or dtype.is_floating_point
    large = (t.is_floating_point() and t.numel() > SMALL for t in tensors)
    return any(t.is_meta for t in tensors) or any(large)


def _indexed(name: str, kernel: Any, args: Any, kwargs: Any) -> Any:
    """Indexing: where is known, or nowhere is chosen."""
    places: list[Any] = []
    for index in args[1]:
        known = None if index is None else readable(index)
        if known is not None and known.dtype == torch.bool:
            if name != "index":
                return args[0]
            places += known.nonzero(as_tuple=True)
        else:
            places.append(known)
    args, kwargs = tree_map(_meta, ((args[0], places, *args[2:]), kwargs))
    return kernel(*args, **kwargs)


def _meta(leaf: Any) -> Any:
    if isinstance(leaf, torch.device):
        return torch.device("meta")
    return leaf.to("meta") if isinstance(leaf, torch.Tensor) and not leaf.is_meta else leaf


def _zeros(leaf: Any) -> Any:
    return readable(leaf) if isinstance(leaf, torch.Tensor) else leaf
