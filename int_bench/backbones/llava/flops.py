"""The operations of a language model, from how many tokens look at how many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from torch import nn

from int_bench.backbones.flops.counting import Flops
from int_bench.backbones.llava.kv_block import Block, Node
from int_bench.backbones.llava.static_steps import StaticBlock


class LanguageWork:
    """Counts what a language model is given.

    Args:
        model: of transformers, with a picture's tower.
        counters: see ``Engine``.
        flops: of the whole backbone.
    """

    def __init__(self, model: Any, counters: Counter[str], flops: Flops) -> None:
        self.counters = counters
        self._model, self._flops = model, flops

    def prefill(self, past: Sequence[Sequence[Node]], new: Sequence[int], kept: int) -> None:
        """Rows of ``new`` tokens on top of their pasts; logits behind ``kept`` of them in all."""
        self.counters["prefill_tokens"] += sum(new)
        self._count(past, new, kept)

    def step(self, block: Block | StaticBlock, rows: int) -> None:
        """One more token for each row of a batch."""
        self.counters["decode_steps"] += rows
        self._add(rows, block.tokens + rows, rows)

    def score(self, past: Sequence[Sequence[Node]], new: Sequence[int]) -> None:
        """Rows of ``new`` tokens on top of their pasts, with logits behind each."""
        self._count(past, new, sum(new))

    def _count(self, past: Sequence[Sequence[Node]], new: Sequence[int], kept: int) -> None:
        before = [sum(node.length for node in path) for path in past]
        seen = sum(n * (m + n) for m, n in zip(before, new, strict=True))
        self._add(sum(new), seen, kept)

    def _add(self, tokens: int, seen: int, kept: int) -> None:
        """Operations of tokens, of the keys that they see together, and of logits."""
        for number, cost in zip((tokens, seen, kept), self._costs, strict=True):
            self._flops.total += number * cost

    @cached_property
    def _costs(self) -> tuple[int, int, int]:
        """Of a token through all layers, of a query and a key, of the logits behind a token."""
        text = self._model.config.get_text_config()
        layers = [
            part for part in self._model.get_decoder().modules() if isinstance(part, nn.Linear)
        ]
        size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        pair = 4 * text.num_hidden_layers * text.num_attention_heads * size
        head = self._model.get_output_embeddings().weight
        return 2 * sum(layer.weight.numel() for layer in layers), pair, 2 * head.numel()
