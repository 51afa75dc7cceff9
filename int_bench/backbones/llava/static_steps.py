"""Decoding on CUDA: a step is one replayed graph instead of some thousand launches.

A graph remembers addresses and shapes. So the keys and values of a batch lie in one buffer that
stays (the arena), its rows and columns are rounded up to sizes that recur (buckets), and each step
attends to all columns under one additive mask, written column by column on the device. The rows
and columns that are not in use are masked; their memory is zeroed, as a masked NaN would spoil all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from int_bench.backbones.common.graphs import shared_pool
from int_bench.backbones.llava.kv_block import Node, cache_shape, moved

ROWS = (1, 2, 4, 6, 9, 12, 16, 18, 24, 27, 32, 36, 48, 64)
"""Numbers of rows for which there are graphs; more rows are rounded up to a multiple of 64."""
COLUMNS = 64
"""Columns are a multiple of this: few graphs, and masks aligned for the fused kernels."""
GRAPHS_KEPT = 16


def bucket(rows: int, columns: int) -> tuple[int, int]:
    """The sizes that recur.

    >>> bucket(10, 650)
    (12, 704)
    """
    wide = -(-columns // COLUMNS) * COLUMNS
    return next((size for size in ROWS if size >= rows), -(-rows // 64) * 64), wide


class StaticSteps:
    """The arena of one model and the graphs over it; one batch at a time.

    Args:
        model: whose steps they are.
        cache_argument: what it calls its keys and values.
        arena_bytes: the least size of the arena.
    """

    def __init__(self, model: torch.nn.Module, cache_argument: str, arena_bytes: int) -> None:
        self.model = model
        self.arena_bytes = arena_bytes
        self.cache_argument = cache_argument
        self._arena: Tensor | None = None
        self._steps: dict[tuple[int, int], Step] = {}

    def forget(self) -> None:
        """Give the memory back."""
        self._steps.clear()
        self._arena = None

    def open(self, past: Sequence[Sequence[Node]], room: int) -> StaticBlock:
        """A batch of rows, each a path of nodes, with room for new tokens."""
        lengths = [sum(node.length for node in path) for path in past]
        width = max(lengths)
        step = self.step_of(*bucket(len(past), width + room))
        step.clear()
        for row, path in enumerate(past):
            start = width - lengths[row]
            for node in path:
                moved(node.kv, step.kv[:, :, row, :, start : start + node.length])
                start += node.length
        return StaticBlock(self, step, lengths, width)

    def step_of(self, rows: int, columns: int) -> Step:
        """The step for a bucket."""
        memory = self._memory(cache_shape(self.model.config, rows, columns))
        known = self._steps.pop((rows, columns), None)
        if known is None and len(self._steps) >= GRAPHS_KEPT:
            self._steps.pop(next(iter(self._steps)))
        step = known or Step(self, memory)
        self._steps[rows, columns] = step
        return step

    def _memory(self, shape: tuple[int, ...]) -> Tensor:
        """The beginning of the arena, which grows where it is too small."""
        weight = next(self.model.parameters())
        if self._arena is None or self._arena.numel() < prod(shape):
            self.forget()
            size = max(prod(shape), self.arena_bytes // weight.element_size())
            self._arena = torch.zeros(size, dtype=weight.dtype, device=weight.device)
        return self._arena[: prod(shape)].view(shape)

    def zeros(self, shape: tuple[int, ...]) -> Tensor:
        """Zeros for what is computed while no batch is open; in the arena where it is large enough.

        Args:
            shape: of keys and values.
        """
        weight = next(self.model.parameters())
        if prod(shape) * weight.element_size() > self.arena_bytes:
            return torch.zeros(shape, dtype=weight.dtype, device=weight.device)
        return self._memory(shape).zero_()


class StaticBlock:
    """A batch being decoded; as ``kv_block.Block``, for steps of one token."""

    def __init__(self, steps: StaticSteps, step: Step, past: Sequence[int], width: int) -> None:
        self._steps = steps
        self._step = step
        self._past = list(past)
        self._width = width  # columns of the longest past
        self.filled = width
        step.begin(self._past, width, width)

    @property
    def tokens(self) -> int:
        """Of all rows, so far."""
        return sum(self._past) + len(self._past) * (self.filled - self._width)

    @property
    def full(self) -> bool:
        """Whether there is no room for another token."""
        return self.filled == self._step.kv.shape[4]

    def step(self, tokens: Sequence[int]) -> Tensor:
        """One more token for every row; logits (rows, V) float32, valid until the next step."""
        self.filled += 1
        return self._step.run(tokens)[: len(tokens)]

    def rebuilt(self, rows: Sequence[int], room: int) -> StaticBlock:
        """A block of some of the rows with ``room`` for new tokens; itself if the bucket stays."""
        size = bucket(len(rows), self.filled + room)
        if len(rows) == len(self._past) and not self.full:
            return self
        used = self._step.kv[:, :, list(rows), :, : self.filled].clone()
        step = self._steps.step_of(*size)
        step.clear()
        step.kv[:, :, : len(rows), :, : self.filled] = used
        new = object.__new__(StaticBlock)
        new._steps, new._step = self._steps, step
        new._past, new._width = [self._past[row] for row in rows], self._width
        new.filled = self.filled
        step.begin(new._past, self._width, self.filled)
        return new


@dataclass
class _State:
    """What a step reads and writes, at fixed addresses: rows B, columns N."""

    tokens: Tensor  # (B, 1)
    positions: Tensor  # (B, 1)
    column: Tensor  # (1,), where the next keys and values go
    mask: Tensor  # (B, 1, 1, N), added to the scores
    logits: Tensor  # (B, V) float32


class Step:
    """One token for a bucket of rows and columns: computed plainly once, from then on replayed."""

    def __init__(self, steps: StaticSteps, kv: Tensor) -> None:
        rows, columns = kv.shape[2], kv.shape[4]
        long: Any = {"dtype": torch.long, "device": kv.device}
        config: Any = steps.model.config
        self.kv = kv
        self._steps = steps
        self._graph: Any = None
        self._state = _State(
            torch.zeros(rows, 1, **long),
            torch.zeros(rows, 1, **long),
            torch.zeros(1, **long),
            torch.zeros(rows, 1, 1, columns, dtype=kv.dtype, device=kv.device),
            torch.zeros(rows, config.get_text_config().vocab_size, device=kv.device),
        )
        column = self._state.column
        self._cache = Cache(layers=[_StaticLayer(layer, column) for layer in kv])

    def clear(self) -> None:
        """Zero all keys and values."""
        self.kv.zero_()

    def begin(self, past: Sequence[int], width: int, filled: int) -> None:
        """Set positions and mask for rows with these pasts, aligned at the right of ``width``."""
        rows, columns = self.kv.shape[2], self.kv.shape[4]
        lengths = torch.tensor([*past, *[0] * (rows - len(past))])
        places = torch.arange(columns)
        visible = (places >= (width - lengths)[:, None]) & (places < filled)
        mask = torch.zeros(rows, columns).masked_fill_(~visible, -torch.inf)
        self._state.mask.copy_(mask[:, None, None].to(self.kv.dtype))
        self._state.positions.copy_((lengths + filled - width)[:, None])
        self._state.column.fill_(filled)

    def run(self, tokens: Sequence[int]) -> Tensor:
        """Logits (B, V) behind one more token of each row."""
        padded = [*tokens, *[0] * (self.kv.shape[2] - len(tokens))]
        self._state.tokens.copy_(torch.tensor(padded)[:, None])
        if self._graph is not None:
            self._graph.replay()
        else:
            self._compute()  # allocates what the libraries want to have before a capture
            self._graph = shared_pool().capture(self._compute)
        return self._state.logits

    def _compute(self) -> None:
        """The step, on fixed addresses; nothing in it depends on values."""
        state, model = self._state, self._steps.model
        state.mask.index_fill_(3, state.column, 0.0)
        output = model(
            inputs_embeds=model.get_input_embeddings()(state.tokens),  # type: ignore[operator]
            attention_mask=state.mask,
            position_ids=state.positions,
            use_cache=True,
            **{self._steps.cache_argument: self._cache},
        )
        state.logits.copy_(output.logits[:, 0])
        state.positions += 1
        state.column += 1


class _StaticLayer(DynamicLayer):  # type: ignore[misc, no-untyped-call]
    """One layer as transformers sees it: ``update`` writes one column and shows all."""

    def __init__(self, block: Tensor, column: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._column = column
        self._block = block
        self.dtype, self.device = block.dtype, block.device
        self.is_initialized = True
        self.keys, self.values = block  # each (rows, heads, columns, head size)

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write the new token's keys and values, (rows, heads, 1, size)."""
        keys, values = self._block
        keys.index_copy_(2, self._column, key_states)
        values.index_copy_(2, self._column, value_states)
        return keys, values
