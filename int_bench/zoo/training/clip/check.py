"""Validation figures of the tiny CLIP: names of cut-outs, peaks of heat maps, selecting words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from int_bench.data.world.scenes import NAMES
from int_bench.zoo.training import views, vit
from int_bench.zoo.training.clip.loss import EMPTY, Texts
from int_bench.zoo.training.pool import ONE, TWO_DIFFERENT, Pool

FIGURES = ("name", "medical", "hit", "select", "order")
_BLOCK = 64


@dataclass(frozen=True)
class Validator:
    """Runs the model over the first ``count`` scenes of a pool.

    Figures: ``name`` right word among all names for the cut-out by the true mask (animals alone);
    ``medical`` the same for polyps and lesions; ``hit`` peak of the word's map less that of the
    environment inside the animal (all scenes with one target); ``select`` with two different
    animals, the peak lies on the named one, and ``order``, the map's highest value on the named one
    is above that on the other.
    """

    model: Any
    texts: Texts
    pool: Pool
    count: int

    def __call__(self) -> Mapping[str, float]:
        """The figures, in evaluation mode and without gradients."""
        bare, averaged = self.texts.bare(self.model), self.texts.averaged(self.model)
        rows: dict[str, list[Tensor]] = {name: [] for name in FIGURES}
        for start in range(0, min(self.count, len(self.pool.kind)), _BLOCK):
            indices = np.arange(start, min(start + _BLOCK, self.count))
            batch = views.take(self.pool, indices, np.random.default_rng(start))
            kind = torch.from_numpy(self.pool.kind[indices])
            right = self._names(batch, bare)
            inside, nearer = self._peaks(batch, averaged)
            single = torch.isin(kind, torch.tensor(ONE))
            pair = torch.isin(kind, torch.tensor(TWO_DIFFERENT))
            rows["name"].append(right[kind < 3])
            rows["medical"].append(right[kind >= 3])
            rows["hit"].append(inside[single])
            rows["select"].append(inside[pair])
            rows["order"].append(nearer[pair])
        return {name: float(torch.cat(parts).float().mean()) for name, parts in rows.items()}

    def _names(self, batch: views.Batch, words: Tensor) -> Tensor:
        canvas = batch.images * batch.target_mask()[..., None]
        whole = vit.features(self.model.visual, vit.prepare(canvas)).whole
        best = (F.normalize(whole, dim=-1) @ words[: len(NAMES)].T).argmax(1)
        return best == batch.target_name()

    def _peaks(self, batch: views.Batch, words: Tensor) -> tuple[Tensor, Tensor]:
        """Whether the peak lies on the target; whether its map beats the other's."""
        cells = vit.features(self.model.visual, vit.prepare(batch.images)).cells
        heat = heat_map(cells, words, batch.target_name(), batch.environments)
        peak = heat.argmax(1)
        y, x = (peak // vit.SIDE) * vit.PATCH, (peak % vit.SIDE) * vit.PATCH
        rows, half = torch.arange(len(peak)), vit.PATCH // 2
        inside = batch.target_mask()[rows, y + half, x + half] > 0.5
        touched = F.max_pool2d(batch.masks[:, :2], vit.PATCH).flatten(2) > 0.5
        hottest = torch.where(touched, heat[:, None], -torch.inf).amax(2)
        return inside, hottest[rows, batch.target] > hottest[rows, 1 - batch.target]


def heat_map(cells: Tensor, words: Tensor, names: Tensor, environments: Tensor) -> Tensor:
    """``(B, cells)`` Spatial CLIP as INT's predecessors compute it: word less environment.

    Each word's map is taken less the empty text's and scaled to 0..1 over the cells.
    """
    maps = F.normalize(cells, dim=-1) @ (words[: EMPTY - 1] - words[EMPTY]).T
    low, high = maps.amin(1, keepdim=True), maps.amax(1, keepdim=True)
    maps = (maps - low) / (high - low + 1e-6)
    rows = torch.arange(len(cells))
    return maps[rows, :, names] - maps[rows, :, len(NAMES) + environments]
