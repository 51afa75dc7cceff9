"""Prefill, decoding and scoring of a language model over prompts that share their beginnings.

The keys and values of every prompt segment (``llava_prompt``) are computed once and kept: those of
the picture serve all its questions, those of a question serve its answer, its scores and the turns
that follow. Each segment is always computed as one piece on top of the segments before it, so what
is found in the cache is what a fresh computation gives; with one prompt per call even its bits.

A batch is a ``Block`` (``kv_block``): pasts aligned at their right end, positions and masks given
explicitly. Autoregression is Eq. (1) of the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from inspect import signature
from itertools import accumulate, islice
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from int_bench.backbones.common.batching import chunks
from int_bench.backbones.common.budget import Budget
from int_bench.backbones.common.lru import Lru
from int_bench.backbones.common.precision import FiniteCheck
from int_bench.backbones.llava.flops import LanguageWork
from int_bench.backbones.llava.kv_block import Block, Node, cache_shape
from int_bench.backbones.llava.prompt import Ids, Prompt
from int_bench.backbones.llava.static_steps import StaticBlock, StaticSteps
from int_bench.core.types import Picture

Path = list[Node]
"""The segments of one prompt, from the picture on; the last one's logits predict the answer."""
Look = Callable[[Sequence[Picture]], list[Tensor]]
"""From distinct pictures to their image tokens, each (tokens, hidden)."""

ROOM = 64
"""Columns by which a block grows while answers are written."""
BLOCK_BYTES = 2 * 2**30
"""Of keys and values that are computed in one pass and copied to where they stay; a batch's budget
where that is more."""


@dataclass
class Writer:
    """How one answer is to be decoded, and what has been written so far.

    ``temperature`` 0 takes the most probable token. Above 0, each token is found by inverting the
    cumulative distribution at one number of the request's own CPU generator: one draw per token,
    whatever else is in the batch.
    """

    max_tokens: int
    stop: frozenset[int]
    temperature: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        self.ids: list[int] = []
        self._generator = torch.Generator().manual_seed(self.seed)

    @property
    def done(self) -> bool:
        """Whether the answer has ended or is as long as it may be."""
        ended = bool(self.ids) and self.ids[-1] in self.stop
        return ended or len(self.ids) >= self.max_tokens

    def write(self, logits: Tensor) -> None:
        """One more token; ``logits`` is (V,) float32."""
        self.ids.append(self.draw(logits) if self.temperature > 0 else int(logits.argmax()))

    def draw(self, logits: Tensor) -> int:
        """One sampled token id; ``logits`` is (V,) float32."""
        weights = torch.softmax(logits.double().cpu() / self.temperature, -1).cumsum(-1)
        point = torch.rand((), generator=self._generator, dtype=torch.float64) * weights[-1]
        return min(int(torch.searchsorted(weights, point, right=True)), len(weights) - 1)


class Engine:
    """The language side of one loaded model, with its resident prefixes.

    Counts in ``counters``: ``prefill_tokens`` (prompt positions computed, image tokens included,
    padding not), ``prefix_hits`` (prompts whose picture was already there), ``decode_steps`` (rows
    times decoding passes), ``scored_tokens`` (name tokens whose log-probability was computed).
    """

    def __init__(
        self,
        model: torch.nn.Module,
        look: Look,
        budget: Budget,
        work: LanguageWork,
        finite: FiniteCheck,
    ) -> None:
        self._model = model
        self._finite = finite
        self._work = work
        self._look = look
        self._counters = work.counters
        self._embedding: torch.nn.Module = model.get_input_embeddings()  # type: ignore[operator]
        weight = next(self._embedding.parameters())
        self._device, self._embedding_size = weight.device, weight.element_size()
        self._nodes: Lru[object, Node] = Lru(budget.prefixes, Node.nbytes)
        # Newer transformers call it cache, and 5.40 drops the old name.
        accepted = signature(model.forward).parameters
        self._cache_argument = "cache" if "cache" in accepted else "past_key_values"
        graphs = self._device.type == "cuda"
        self._budget = budget
        self._batch_bytes = budget.batch_bytes(self._token_bytes(), self._picture_tokens())
        steps = StaticSteps(model, self._cache_argument, self._batch_bytes)
        self._steps = steps if graphs else None

    def forget(self) -> None:
        """Drop all resident prefixes; they are computed again when they are needed."""
        self._nodes.clear()
        if self._steps is not None:
            self._steps.forget()

    def resident_pictures(self) -> int:
        """How many pictures with a question each the memory for prefixes holds, about.

        LLaVA-1.5 has 576 tokens of a picture; LLaVA-OneVision sees a picture of one tile twice.
        """
        return self._budget.pictures(self._token_bytes(), self._picture_tokens())

    def _picture_tokens(self) -> int:
        config: Any = self._model.config
        tokens = getattr(config, "image_seq_length", None)
        if tokens is None:
            vision = config.vision_config
            tokens = 2 * (vision.image_size // vision.patch_size) ** 2
        return int(tokens)

    def _token_bytes(self) -> int:
        """Keys and values of one token."""
        return int(prod(cache_shape(self._model.config, 1, 1)) * self._embedding_size)

    def prefill(self, prompts: Sequence[Prompt]) -> list[Path]:
        """The computed segments of each prompt; what is missing is computed, in one batch a depth.

        Raises:
            torch.OutOfMemoryError: the batch is too large for the device.
        """
        nodes: dict[object, Node] = {}
        for depth in range(max(len(prompt.segments) for prompt in prompts)):
            rows = {p.key(depth): p for p in prompts if depth < len(p.segments)}
            rows = {key: prompt for key, prompt in rows.items() if key not in nodes}
            resident = {key: self._nodes.get(key) for key in rows}
            nodes |= {key: node for key, node in resident.items() if node is not None}
            missing = [rows[key] for key, node in resident.items() if node is None]
            if depth == 0:
                self._counters["prefix_hits"] += len(prompts) - len(missing)
            # A picture's first question goes along, but where a prompt is alone not a bit may
            # depend on what was there.
            along = depth == 0 and self._steps is not None and len(missing) > 1
            depths = range(depth, depth + 1 + along)
            for part in chunks(missing, self._rows_at_once(depths, missing, nodes)):
                nodes |= self._extend(depths, part, nodes)
        for key in reversed(nodes):  # deepest first: a picture outlives its questions
            self._nodes.put(key, nodes[key])
        return [[nodes[p.key(depth)] for depth in range(len(p.segments))] for p in prompts]

    def _rows_at_once(
        self, depths: range, prompts: Iterable[Prompt], nodes: dict[object, Node]
    ) -> int:
        """How many prompts go through the model together: their block is held beside the nodes."""

        def tokens(prompt: Prompt) -> int:
            above = sum(nodes[prompt.key(place)].length for place in range(depths[0]))
            new = sum(len(prompt.segments[depth]) for depth in depths)
            return new + (above if depths[0] else self._picture_tokens())

        longest = max(map(tokens, prompts), default=1)
        most = max(BLOCK_BYTES, self._batch_bytes)
        return max(1, most // (self._token_bytes() * longest))

    def rows_in_memory(self) -> int:
        """How many prompts' keys and values may be held for one call: those that would stay."""
        return self._budget.rows_in_memory(self._token_bytes(), self._picture_tokens())

    def _block(self, past: Sequence[Sequence[Node]], room: int) -> Block:
        """A batch to be computed in one pass, while none is being decoded."""
        return Block(self._model, past, room, self._steps.zeros if self._steps else None)

    def _extend(
        self, depths: range, prompts: Sequence[Prompt], nodes: dict[object, Node]
    ) -> dict[object, Node]:
        """The nodes of some segments of each prompt, on top of the segments before them."""
        past = [[nodes[p.key(above)] for above in range(depths[0])] for p in prompts]
        pieces = [self._embed([p.segments[depth] for p in prompts]) for depth in depths]
        if depths[0] == 0:
            features = self._look([p.picture for p in prompts])
            pieces[0] = [torch.cat(pair) for pair in zip(pieces[0], features, strict=True)]
        rows = [torch.cat(row) for row in zip(*pieces, strict=True)]
        ends = [list(accumulate(map(len, row))) for row in zip(*pieces, strict=True)]
        self._work.prefill(past, list(map(len, rows)), len(rows) * len(depths))
        block = self._block(past, room=max(map(len, rows)))
        kept = sorted({end - 1 for row in ends for end in row})
        logits = self._forward(block, pad_sequence(rows, batch_first=True), keep=kept)
        return {
            prompt.key(depth): Node(
                block.written(row, start, end), logits[row, kept.index(end - 1)].clone()
            )
            for row, prompt in enumerate(prompts)
            for depth, start, end in zip(depths, [0, *ends[row]], ends[row], strict=False)
        }

    def decode(self, paths: Sequence[Path], writers: Sequence[Writer]) -> list[list[int]]:
        """Write all answers, row by row of one batch; the ids include the stop token if one came.

        Rows that have ended stay in the batch until half of them have, then the block shrinks.
        """
        logits = torch.stack([path[-1].logits for path in paths])
        _write(writers, logits)
        live = [row for row, writer in enumerate(writers) if not writer.done]
        block = self.open([paths[row] for row in live]) if live else None
        while block is not None:
            logits = self.step(block, [writers[row].ids[-1] for row in live])
            _write([writers[row] for row in live], logits)
            open_rows = [place for place, row in enumerate(live) if not writers[row].done]
            if not open_rows:
                break
            if block.full or 2 * len(open_rows) <= len(live):
                block = block.rebuilt(open_rows, room=ROOM)
                live = [live[place] for place in open_rows]
        return [writer.ids for writer in writers]

    def open(self, paths: Sequence[Path]) -> Block | StaticBlock:
        """A batch with room for answers behind the given prompts."""
        if self._steps is not None:
            return self._steps.open(paths, room=ROOM)
        return Block(self._model, paths, room=ROOM)

    def step(self, block: Block | StaticBlock, tokens: Sequence[int]) -> Tensor:
        """One more token for every row of a block that is not full; logits (rows, V) float32."""
        self._work.step(block, len(tokens))
        if isinstance(block, StaticBlock):
            return self._finite.see("logits", block.step(tokens))
        embeds = self._embedding(self._ids([(token,) for token in tokens]))
        return self._forward(block, embeds, keep=[0])[:, 0]

    def prefill_text(self, ids: Ids) -> Path:
        """The computed segment of a prompt without a picture; it is not kept."""
        self._work.prefill([[]], [len(ids)], 1)
        block = self._block([[]], room=len(ids))
        logits = self._forward(block, self._embedding(self._ids([ids])), keep=[len(ids) - 1])
        return [Node(block.written(0, 0, len(ids)), logits[0, 0].clone())]

    def score(
        self, paths: Sequence[Path], names: Sequence[Sequence[Ids]]
    ) -> list[list[tuple[float, ...]]]:
        """Natural-log probabilities of each name's tokens, full vocabulary, softmax in float32.

        All names of a prompt go through the model as one row behind the shared past: an item mask
        keeps them apart and each counts its positions from the end of the prompt. A name's first
        token needs no pass, the prompt predicts it.
        """
        self._counters["scored_tokens"] += sum(len(name) for row in names for name in row)
        packed = [[token for name in row for token in name[:-1]] for row in names]
        firsts = [(row, name[0]) for row, listed in enumerate(names) for name in listed if name]
        picked = [_picked(torch.stack([path[-1].logits for path in paths]), firsts)]
        if any(packed):
            rest = [
                (row, place, token)
                for row, listed in enumerate(names)
                for place, token in enumerate(token for name in listed for token in name[1:])
            ]
            picked.append(_picked(self._score_packed(paths, packed, names), rest))
        scores = torch.cat(picked).tolist()
        first, later = iter(scores[: len(firsts)]), iter(scores[len(firsts) :])
        return [
            [(next(first), *islice(later, len(name) - 1)) if name else () for name in listed]
            for listed in names
        ]

    def _score_packed(
        self, paths: Sequence[Path], packed: list[list[int]], names: Sequence[Sequence[Ids]]
    ) -> Tensor:
        """Logits (rows, packed tokens, V) float32 behind every packed token."""
        self._work.score(paths, list(map(len, packed)))
        width = max(len(row) for row in packed)
        ids = self._ids([tuple(row) + (0,) * (width - len(row)) for row in packed])
        items = torch.full(ids.shape, -1, device=ids.device)
        steps = torch.zeros_like(ids)
        for row, listed in enumerate(names):
            tags = [(item, at) for item, name in enumerate(listed) for at in range(len(name) - 1)]
            if tags:
                items[row, : len(tags)], steps[row, : len(tags)] = self._ids(tags).T
        block = self._block(paths, room=width)
        same = items[:, :, None] == items[:, None, :]
        embeds = self._embedding(ids)
        return self._forward(block, embeds, range(width), steps=steps, within=same)

    def _forward(
        self,
        block: Block,
        embeds: Tensor,
        keep: Sequence[int],
        *,
        steps: Tensor | None = None,
        within: Tensor | None = None,
    ) -> Tensor:
        """One pass over new tokens (rows, n, hidden); logits (rows, kept, V) float32.

        Args:
            block: the past; the new keys and values are written into it.
            embeds: the new tokens; rows shorter than the batch are padded on the right.
            keep: which of the n positions need logits.
            steps: (rows, n) positions relative to the end of the past; default 0..n-1.
            within: (rows, n, n) which new tokens may see each other, apart from causality.
        """
        output = self._model(
            inputs_embeds=embeds,
            attention_mask=block.mask(embeds.shape[1], within),
            position_ids=block.positions(embeds.shape[1], steps),
            use_cache=True,
            logits_to_keep=torch.tensor(list(keep), device=embeds.device),
            **{self._cache_argument: block.cache},
        )
        logits: Tensor = output.logits
        return self._finite.see("logits", logits).float()

    def _embed(self, rows: Sequence[Ids]) -> list[Tensor]:
        """The embeddings of each row of ids, (n, hidden)."""
        ids = self._ids([[token for row in rows for token in row]])[0]
        return list(self._embedding(ids).split([len(row) for row in rows]))

    def _ids(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Rows of equal length as a tensor on the model's device."""
        return torch.tensor(rows, dtype=torch.long, device=self._device)


def _write(writers: Sequence[Writer], logits: Tensor) -> None:
    """One more token for every answer that has not ended; ``logits`` is (rows, V) float32."""
    best = logits.argmax(-1).tolist()
    for writer, greedy, row in zip(writers, best, logits, strict=True):
        if not writer.done:
            writer.ids.append(writer.draw(row) if writer.temperature > 0 else greedy)


def _picked(logits: Tensor, places: Sequence[tuple[int, ...]]) -> Tensor:
    """The log-probabilities at some places, each a row (and a position) and a token."""
    index = (
        torch.tensor(places, dtype=torch.long).reshape(len(places), logits.ndim).to(logits.device)
    )
    return torch.log_softmax(logits, -1)[tuple(index.T)]
