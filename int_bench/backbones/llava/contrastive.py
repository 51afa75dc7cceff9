"""Contrastive decoding: what a picture says, less what the model would say without it.

Sources: Li et al., "Contrastive Decoding", ACL 2023, arXiv 2210.15097; Leng et al., "Visual
Contrastive Decoding", CVPR 2024, arXiv 2311.16922 (its alpha, and its beta as ``plausibility``);
ProMaC, arXiv 2408.15205, which uses it. Both branches are rows of one batch and are fed the same
answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from int_bench.backbones.llava.engine import ROOM, Engine, Path, Writer
from int_bench.backbones.llava.prompt import Ids, Prompt


@dataclass(frozen=True)
class Contrasted:
    """One answer to write: ``prompt`` less ``contrast`` (None: no picture and no question).

    ``alpha`` and ``plausibility`` as in ``requests.ContrastiveAnswer``.
    """

    prompt: Prompt
    contrast: Prompt | None
    writer: Writer
    alpha: float
    plausibility: float


def decode(engine: Engine, pairs: Sequence[Contrasted], beginning: Ids) -> list[list[int]]:
    """Write all answers; the ids include the stop token if one came.

    Args:
        engine: computes both branches.
        pairs: the answers to write.
        beginning: the token ids of the branch without a picture.

    Raises:
        torch.OutOfMemoryError: the batch is too large for the device.
    """
    prompts = [pair.prompt for pair in pairs]
    visual = [pair.contrast for pair in pairs if pair.contrast is not None]
    paths = engine.prefill([*prompts, *visual])
    against = iter(paths[len(prompts) :])
    text = engine.prefill_text(beginning) if len(visual) < len(pairs) else []
    opposite = [text if pair.contrast is None else next(against) for pair in pairs]
    rows = [*paths[: len(prompts)], *opposite]
    _write_all(engine, rows, pairs)
    return [pair.writer.ids for pair in pairs]


def _write_all(engine: Engine, paths: Sequence[Path], pairs: Sequence[Contrasted]) -> None:
    """Token by token; the first half of the rows are the prompts, the second their contrasts."""
    logits = torch.stack([path[-1].logits for path in paths])
    block = engine.open(paths)
    while True:
        for row, pair in enumerate(pairs):
            if not pair.writer.done:
                pair.writer.write(contrasted(logits[row], logits[row + len(pairs)], pair))
        if all(pair.writer.done for pair in pairs):
            return
        if block.full:
            block = block.rebuilt(range(len(paths)), room=ROOM)
        tokens = [pair.writer.ids[-1] for pair in pairs]
        logits = engine.step(block, [*tokens, *tokens])


def contrasted(logits: Tensor, opposite: Tensor, rule: Contrasted) -> Tensor:
    """(1 + alpha) L - alpha L', (V,) float32; minus infinity where L is not plausible."""
    mixed = (1.0 + rule.alpha) * logits - rule.alpha * opposite
    if rule.plausibility <= 0.0:
        return mixed
    least = logits.max() + math.log(rule.plausibility)
    return mixed.masked_fill(logits < least, -math.inf)
