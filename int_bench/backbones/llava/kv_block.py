"""Keys and values: of one prompt segment (``Node``), and of a batch being computed (``Block``).

A block is one tensor with room for what comes, so that a decoding step writes one column instead
of copying the past. Rows have pasts of different lengths; they are aligned at their right end, the
left is masked. New tokens are aligned at the left of the new columns. transformers' own cache
interface (``DynamicLayer``) is what the model sees.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from int_bench.errors import UsageError

_ALIGNED = 16


@dataclass(frozen=True)
class Node:
    """A computed prompt segment: keys and values of its tokens, logits behind its last token.

    ``kv`` is (layers, 2, heads, tokens, head size) in the model's dtype, ``logits`` (V,) float32.
    """

    kv: Tensor
    logits: Tensor

    @property
    def length(self) -> int:
        """Number of tokens."""
        return self.kv.shape[3]

    def nbytes(self) -> int:
        """Memory held."""
        return self.kv.nbytes + self.logits.nbytes


class Block:
    """The keys and values of a batch of rows, each a path of nodes, and ``room`` for new tokens."""

    def __init__(
        self,
        model: torch.nn.Module,
        past: Sequence[Sequence[Node]],
        room: int,
        zeros: Callable[[tuple[int, ...]], Tensor] | None = None,
    ) -> None:
        lengths = [sum(node.length for node in path) for path in past]
        width = max(lengths)
        shape = cache_shape(model.config, len(past), width + room)
        # Zeros, not empty memory: a masked NaN would still spoil its row.
        make = zeros or partial(torch.zeros, dtype=_dtype(model), device=_device(model))
        kv = make(shape)
        for row, path in enumerate(past):
            start = width - lengths[row]
            for node in path:
                moved(node.kv, kv[:, :, row, :, start : start + node.length])
                start += node.length
        self._hold(kv, torch.tensor(lengths, device=kv.device), width, filled=width)

    def _hold(self, kv: Tensor, past: Tensor, width: int, filled: int) -> None:
        self._kv = kv
        self._past = past  # (rows,) tokens before the new ones
        self._width = width  # columns of the longest past
        self.cache = Cache(layers=[_Layer(layer, filled) for layer in kv])

    @property
    def filled(self) -> int:
        """Columns in use."""
        return int(self.cache.get_seq_length())

    @property
    def tokens(self) -> int:
        """Of all rows, so far; a device is waited for."""
        return int(self._past.sum()) + len(self._past) * (self.filled - self._width)

    @property
    def full(self) -> bool:
        """Whether there is no room for another token."""
        return self.filled == self._kv.shape[4]

    def mask(self, new: int, within: Tensor | None) -> Tensor | None:
        """Which columns each of ``new`` tokens may see, (rows, 1, new, columns): True; 0 on CUDA.

        None stands for plain causality where nothing is masked, which has faster kernels.
        """
        columns = self.filled
        if columns == 0 and within is None:
            return None
        index = torch.arange(columns + new, device=self._kv.device)
        started = index >= (self._width - self._past)[:, None]
        causal = index <= index[columns:, None]
        mask = started[:, None, None, :] & causal
        if within is not None:
            mask[..., columns:] &= within[:, None]
        return _added(mask, self._kv.dtype) if mask.device.type == "cuda" else mask

    def positions(self, new: int, steps: Tensor | None) -> Tensor:
        """Position of each new token in its row's text, (rows, new)."""
        if steps is None:
            steps = torch.arange(new, device=self._kv.device) + (self.filled - self._width)
        return self._past[:, None] + steps

    def written(self, row: int, start: int, end: int) -> Tensor:
        """A copy of what was written behind the past of a row, (layers, 2, heads, n, size)."""
        there = self._kv[:, :, row, :, self._width + start : self._width + end]
        return moved(there, torch.empty_like(there, memory_format=torch.contiguous_format))

    def rebuilt(self, rows: Sequence[int], room: int) -> Block:
        """A block of some of the rows with ``room`` for new tokens; the columns stay the same."""
        new = object.__new__(Block)
        used = self._kv[:, :, list(rows), :, : self.filled]
        kv = torch.nn.functional.pad(used, (0, 0, 0, room))
        new._hold(kv, self._past[list(rows)], self._width, self.filled)
        return new


class _Layer(DynamicLayer):  # type: ignore[misc, no-untyped-call]
    """One layer of a block as transformers sees it: ``update`` writes into the block."""

    def __init__(self, block: Tensor, filled: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._block = block  # (2, rows, heads, columns, head size)
        self.dtype, self.device = block.dtype, block.device
        self.is_initialized = True
        self._show(filled)

    def _show(self, filled: int) -> tuple[Tensor, Tensor]:
        """Let ``keys`` and ``values`` be the filled columns."""
        keys, values = self._block[..., :filled, :]
        self._filled, self.keys, self.values = filled, keys, values
        return keys, values

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write the new keys and values behind the filled columns and show all of them."""
        start, end = self._filled, self._filled + key_states.shape[-2]
        moved(key_states, self._block[0, ..., start:end, :])
        moved(value_states, self._block[1, ..., start:end, :])
        return self._show(end)


def moved(source: Tensor, target: Tensor) -> Tensor:
    """Copy keys or values; on CUDA eight bytes at a time, not two, where their layouts allow it.

    Copies between unlike layouts take as long as the elements are many.

    Args:
        source: (..., head size).
        target: of equal shape and dtype; is handed back.
    """
    wide = 8 // source.element_size()
    if source.is_cuda and all(_cut_in(wide, tensor) for tensor in (source, target)):
        target.view(torch.int64).copy_(source.view(torch.int64))
    else:
        target.copy_(source)
    return target


def _cut_in(wide: int, tensor: Tensor) -> bool:
    """Whether all rows of a tensor begin and end at a multiple of so many elements."""
    steps = (*tensor.stride()[:-1], tensor.shape[-1], tensor.storage_offset())
    return tensor.stride(-1) == 1 and all(step % wide == 0 for step in steps)


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask as what is added to the scores, its rows aligned as the fused kernels want them.

    Otherwise each layer would turn the truths into numbers, and copy them to align them.
    """
    columns = mask.shape[-1]
    aligned = -(-columns // _ALIGNED) * _ALIGNED
    added = torch.zeros((*mask.shape[:-1], aligned), dtype=dtype, device=mask.device)
    return added[..., :columns].masked_fill_(~mask, -torch.inf)


def check_attention(config: Any) -> None:
    """Refuse language models whose attention a block cannot represent.

    Raises:
        UsageError: some layer has sliding-window or linear attention.
    """
    kinds = set(getattr(config.get_text_config(), "layer_types", None) or ("full_attention",))
    if kinds != {"full_attention"}:
        raise UsageError(
            f"The language model has {', '.join(sorted(map(str, kinds)))} layers; "
            "choose a vlm checkpoint with full attention in every layer."
        )


def cache_shape(config: Any, rows: int, columns: int) -> tuple[int, int, int, int, int, int]:
    """(layers, 2, rows, key-value heads, columns, head size) of a model's cache."""
    text = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return text.num_hidden_layers, 2, rows, heads, columns, size


def _dtype(model: torch.nn.Module) -> torch.dtype:
    return next(model.parameters()).dtype


def _device(model: torch.nn.Module) -> torch.device:
    return next(model.parameters()).device
