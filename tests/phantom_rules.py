"""What a CUDA device refuses before it launches anything, and what the host waits for."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch.utils._pytree import tree_leaves

COPIES = frozenset({"copy_", "_to_copy", "_copy_from", "_foreach_copy_", "set_"})
INDEXING = frozenset({"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"})
READS = frozenset(
    {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "_unique2", "nms",
     "unique_consecutive", "unique_dim"}
)  # fmt: skip
"""What makes the host wait: a number or a shape that depends on values."""
FREE = frozenset(
    {"view", "_unsafe_view", "reshape", "transpose", "t", "permute", "expand", "slice", "select",
     "unsqueeze", "squeeze", "detach", "alias", "split", "split_with_sizes", "unbind", "as_strided",
     "_reshape_alias", "unfold", "narrow", "chunk", "view_as", "lift_fresh", "diagonal", "empty",
     "is_same_size", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
)  # fmt: skip
"""Views and memory: nothing is launched for them."""


class Refused(RuntimeError):
    """What a CUDA device would have raised."""


class Call(NamedTuple):
    """One operation, and where its operands are."""

    name: str
    leaves: list[Any]
    ours: list[torch.Tensor]
    plain: list[torch.Tensor]
    asked: torch.device | None

    @classmethod
    def of(cls, kind: type, func: Any, args: Any, kwargs: Any) -> Call:
        """The call of a function; tensors of ``kind`` are the device's."""
        leaves = tree_leaves((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        return cls(
            func._schema.name.split("::")[1],
            leaves,
            [tensor for tensor in tensors if isinstance(tensor, kind)],
            [tensor for tensor in tensors if not isinstance(tensor, kind)],
            next((leaf for leaf in leaves if isinstance(leaf, torch.device)), None),
        )

    @property
    def on_host(self) -> bool:
        """Whether the device has no part in it."""
        return not self.ours and (self.asked is None or self.asked.type != "cuda")

    @property
    def to_host(self) -> bool:
        return self.name == "_to_copy" and self.asked is not None and self.asked.type == "cpu"

    @property
    def by_truths(self) -> bool:
        """Whether it indexes by truths, of which the number decides a shape."""
        truths = (torch.bool, torch.uint8)
        tensors = (leaf for leaf in self.leaves[1:] if isinstance(leaf, torch.Tensor))
        return self.name in INDEXING and any(tensor.dtype in truths for tensor in tensors)


def refuse(call: Call) -> None:
    """What torch checks before it launches anything."""
    for leaf in call.leaves:
        if isinstance(leaf, torch.Generator) and leaf.device.type != "cuda":
            raise Refused(f"{call.name}: expected a 'cuda' generator, found '{leaf.device}'")
    if call.name in COPIES or not call.ours:
        return
    first = call.ours[0]
    for tensor in call.plain:
        number = tensor.ndim == 0 and call.name not in ("cat", "stack")
        if not number and not (call.name in INDEXING and call.leaves[0] is first):
            raise Refused(
                f"{call.name}: expected all tensors to be on the same device, but found cuda:0 "
                f"{tuple(first.shape)} and {tensor.device} {tuple(tensor.shape)}"
            )
