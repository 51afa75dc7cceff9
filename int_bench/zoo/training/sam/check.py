"""Validation figures of the tiny SAM: IoU by prompt, and whether a prompt selects its animal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from int_bench.zoo.training import views
from int_bench.zoo.training.pool import ONE, SIZE, Pool
from int_bench.zoo.training.sam.forward import decode, overlaps, square
from int_bench.zoo.training.sam.prompts import Prompt, centre_points, random_points, true_boxes

_BLOCK = 32
_WHOLE = (0, 0, SIZE, SIZE)


@dataclass(frozen=True)
class Validator:
    """Runs SAM over the first ``count`` scenes of a pool, with the mask of highest predicted IoU.

    Figures: mean IoU at 128 pixels with the true ``box``, the ``centre`` point, and ``both`` (the
    box with 8 points inside and 8 outside), over scenes with one target; ``two_box`` and
    ``two_centre``, with two animals: the mask overlaps more with the meant one than with the other.
    """

    sam: Any
    pool: Pool
    count: int

    def __call__(self) -> Mapping[str, float]:
        """The figures, in evaluation mode and without gradients."""
        rows: dict[str, list[Tensor]] = {}
        for start in range(0, min(self.count, len(self.pool.kind)), _BLOCK):
            indices = np.arange(start, min(start + _BLOCK, self.count))
            rng = np.random.default_rng(start)
            batch = views.take(self.pool, indices, rng)
            kind = torch.from_numpy(self.pool.kind[indices])
            single = torch.isin(kind, torch.tensor(ONE))
            pair = ~single
            for name, (own, other) in self._overlaps(batch, rng).items():
                rows.setdefault(name, []).append(own[single])
                if name != "both":
                    rows.setdefault(f"two_{name}", []).append((own > other)[pair].float())
        return {name: float(torch.cat(parts).mean()) for name, parts in rows.items()}

    def _overlaps(
        self, batch: views.Batch, rng: np.random.Generator
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """IoU with the target and with the other animal, per kind of prompt."""
        pixels, masks = square(batch, _WHOLE)
        rows = torch.arange(len(masks))
        wanted, others = masks[rows, batch.target], masks[rows, 1 - batch.target]
        embedding = self.sam.image_encoder(pixels.to(self.sam.device))
        centre, box = centre_points(wanted), true_boxes(wanted)
        points, labels = random_points(wanted, others, (8, 8), rng)
        prompts = {
            "box": Prompt(box, None, None),
            "centre": Prompt(None, centre, torch.ones(centre.shape[:2])),
            "both": Prompt(box, points, labels),
        }
        return {name: self._scores(embedding, p, batch) for name, p in prompts.items()}

    def _scores(
        self, embedding: Tensor, prompt: Prompt, batch: views.Batch
    ) -> tuple[Tensor, Tensor]:
        logits, scores = decode(self.sam, embedding, prompt)
        rows = torch.arange(len(logits))
        best = logits[rows, 1 + scores[:, 1:].argmax(1)][:, None]
        large = F.interpolate(best, (SIZE, SIZE), mode="bilinear")
        own = overlaps(large, batch.masks[rows, batch.target])
        return own[:, 0], overlaps(large, batch.masks[rows, 1 - batch.target])[:, 0]
