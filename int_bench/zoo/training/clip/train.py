"""Train the tiny CLIP of the zoo: ``python -m int_bench.zoo.training clip``.

The class is ``open_clip.CLIP`` with a ViT of 128 pixels and a word-level text tower. Phase 1, the
*tower*, sees small windows around the animals and learns cells and peaks on CLIP Surgery's path;
SAM's encoder starts from it too. Phase 2 sees whole scenes, INT's patches and dimmed scenes, and
cut-outs on a black canvas, whose class token is compared with the bare word (Eq. 10). Decoys are
figures like others, by the name of what they look like: the word decides where the map peaks.
Names and environments are drawn independently, so that no word can be guessed from the colours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import open_clip
import torch
from torch import Tensor

from int_bench.data.world.scenes import NAMES
from int_bench.learning.loop import Recipe, device, fit
from int_bench.zoo.training import views, vit
from int_bench.zoo.training.clip import format as clip_format
from int_bench.zoo.training.clip import loss as clip_loss
from int_bench.zoo.training.clip.check import Validator
from int_bench.zoo.training.pool import CACHE, KINDS, SIZE, TWO_DIFFERENT, Pool, load_pool

TOWER_STEPS, CLIP_STEPS = 800, 1000
WINDOWS, MIXED_WINDOWS, SCENES, CUTS = 96, 48, 14, 5
LARGEST_SCALE = 100.0
_ALL = tuple(range(len(KINDS)))
DECOYS = 0.3
_HIDDEN = ("attn.in_proj_weight", "attn.out_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
_FASTER = {f"visual.transformer.resblocks.{i}.{part}": 4.0
           for i in range(vit.DEPTH) for part in _HIDDEN}  # fmt: skip


@dataclass(frozen=True)
class Trainer:
    """The losses over one pool."""

    model: open_clip.CLIP
    texts: clip_loss.Texts
    pool: Pool

    def window_loss(self, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Phase 1: windows alone."""
        return self._windows(rng, self.texts.random(self.model, rng), WINDOWS, cut=False)

    def mixed_loss(self, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Phase 2: windows (a quarter cut out), whole views, and cut-outs on a black canvas."""
        texts, scale = self.texts.random(self.model, rng), self._scale()
        near, _ = self._windows(rng, texts, MIXED_WINDOWS, cut=True)
        # With two different animals a word must tell one from the other.
        kinds = TWO_DIFFERENT if rng.random() < 0.5 else _ALL
        batch = views.sample(self.pool, SCENES, rng, kinds, decoys=DECOYS)
        batch = views.crop(batch, views.random_patch(rng, full=0.6), (SIZE, SIZE))
        batch = views.augment(batch, rng)
        cuts = views.augment(views.sample(self.pool, CUTS, rng, decoys=DECOYS), rng, dimmed=0.0)
        exact, away = cuts.target_mask(), rng.random() < 0.25
        bad = (views.moved if away else views.deform)(exact, rng)
        images = torch.cat([batch.images, *(cuts.images * m[..., None] for m in (exact, bad))])
        features = vit.features(self.model.visual, vit.prepare(images))
        cell = clip_loss.cell_loss(features.cells[:SCENES], texts, scale, batch)
        peak = clip_loss.peak_loss(features.cells[:SCENES], texts, scale, batch, rng)
        if kinds == TWO_DIFFERENT:
            pairs = self.texts.pairs(self.model, batch.names[:, :2]) - texts[clip_loss.EMPTY]
            share = clip_loss.occupancy(batch.masks[:, :2]).sum(1)
            peak = peak + clip_loss.map_loss(features.cells[:SCENES], pairs, scale, share)
        names = cuts.target_name()
        good, worse = features.whole[SCENES:].split(CUTS)
        touched = (bad * cuts.masks.sum(1)).sum((1, 2))
        # A cut-out elsewhere shows the environment alone; one cut by a patch may show nothing.
        valid = touched < 0.05 * bad.sum((1, 2)) if away else touched > 0.3 * exact.sum((1, 2))
        labels = torch.cat([names, len(NAMES) + cuts.environments if away else names])
        weights = torch.cat([torch.ones(CUTS), valid.float()])
        word = clip_loss.word_loss(torch.cat([good, worse]), texts, scale, labels, weights)
        rank = clip_loss.rank_loss(good, worse, texts, scale, names)
        whole = self._word_loss(features.whole[:SCENES], texts, batch)
        total = near + cell + 0.3 * peak + word + 0.2 * rank + 0.1 * whole
        figures = {"near": near, "cell": cell, "peak": peak, "word": word, "rank": rank}
        return total, {name: value.detach() for name, value in figures.items()}

    def _windows(
        self, rng: np.random.Generator, texts: Tensor, count: int, cut: bool
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Loss of windows somewhere in the grid of positions, the first quarter cut out if so."""
        # The animals of pairs are smaller and harder to name.
        kinds = (1, 2, 5, 6) if cut and rng.random() < 0.5 else _ALL
        batch = views.windows(views.sample(self.pool, count, rng, kinds, DECOYS), rng)
        batch = views.augment(batch, rng)
        black = (torch.arange(count) < count // 4) & cut & (batch.target_mask().mean((1, 2)) > 0.02)
        keep = torch.where(black[:, None, None], batch.target_mask(), 1.0)
        batch = replace(batch, images=batch.images * keep[..., None])
        spare = vit.SIDE - views.WINDOW // vit.PATCH
        corner = (int(rng.integers(spare + 1)), int(rng.integers(spare + 1)))
        features = vit.features(self.model.visual, vit.prepare(batch.images), corner)
        cell = clip_loss.cell_loss(features.cells, texts, self._scale(), batch, black)
        peak = clip_loss.peak_loss(features.cells, texts, self._scale(), batch, rng)
        word = self._word_loss(features.whole, texts, batch)
        figures = {"cell": cell.detach(), "peak": peak.detach(), "word": word.detach()}
        return cell + 0.3 * peak + 0.3 * word, figures

    def _word_loss(self, whole: Tensor, texts: Tensor, batch: views.Batch) -> Tensor:
        """The name of the target where it is in view, else the environment."""
        area = batch.target_mask().mean((1, 2))
        labels = torch.where(area > 0.02, batch.target_name(), len(NAMES) + batch.environments)
        seen = batch.masks.mean((2, 3)) > 0.005
        single = ~(seen & (batch.names != batch.target_name()[:, None])).any(1)
        weights = (single & ((area > 0.02) | (area < 0.002))).float()
        return clip_loss.word_loss(whole, texts, self._scale(), labels, weights)

    def _scale(self) -> Tensor:
        scale: Tensor = self.model.logit_scale.exp().clamp(max=LARGEST_SCALE).cpu()
        return scale


def pretrain_tower(steps: int = TOWER_STEPS, cache: Path = CACHE) -> open_clip.CLIP:
    """Phase 1, or its result where it has been done."""
    torch.manual_seed(0)
    model, pool = clip_format.build(), load_pool("train", cache)
    model.logit_scale.data.fill_(math.log(20.0))
    scenes = views.sample(pool, 512, np.random.default_rng(0))
    vit.initialise(model.visual, vit.prepare(scenes.images))
    model.to(device())
    trainer = Trainer(model, clip_loss.Texts(), pool)
    check = Validator(model, trainer.texts, load_pool("validation", cache), count=192)
    recipe = Recipe(name="tower", steps=steps, muon=True, factors=_FASTER, weight_decay=0.01,
                    report_every=200, cache=cache)  # fmt: skip
    fit(model, recipe, trainer.window_loss, check)
    return model


def train(out: Path, steps: int | None = None, cache: Path = CACHE) -> None:
    """Train both phases, or go on where a checkpoint lies, and write the folder ``out``."""
    model = pretrain_tower(cache=cache)
    trainer = Trainer(model, clip_loss.Texts(), load_pool("train", cache))
    check = Validator(model, trainer.texts, load_pool("validation", cache), count=192)
    recipe = Recipe(name="clip", steps=steps or CLIP_STEPS, learning_rate=1e-3, muon=True,
                    factors=_FASTER, weight_decay=0.01, report_every=200, cache=cache)  # fmt: skip
    fit(model, recipe, trainer.mixed_loss, check)
    clip_format.save(model, out)
    full = replace(check, count=2048)
    print({name: round(value, 3) for name, value in full().items()}, flush=True)
