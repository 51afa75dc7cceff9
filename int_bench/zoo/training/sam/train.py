"""Train the tiny SAM of the zoo: ``python -m int_bench.zoo.training sam``.

The class is ``segment_anything.modeling.Sam`` with a small ``ImageEncoderViT`` of 256 pixels, which
starts as the tower of the zoo's CLIP (`clip.pretrain_tower`). Pictures of 128 pixels are enlarged
twice, as ``SamPredictor`` does. Trained on whole scenes and INT's patches, with one and two
animals and with decoys, each of which may be asked for, bright and dimmed as in Eq. 12 with masks
as the cycle makes them, and with boxes, points, or both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from int_bench.backbones.sam.loading import CONFIG_FILE, WEIGHTS_FILE, build_sam
from int_bench.learning.loop import Recipe, device, fit
from int_bench.zoo.training import views, vit
from int_bench.zoo.training.clip.train import pretrain_tower
from int_bench.zoo.training.half import save_half
from int_bench.zoo.training.pool import CACHE, Pool, load_pool
from int_bench.zoo.training.sam.check import Validator
from int_bench.zoo.training.sam.forward import CONFIG, decode, overlaps, square
from int_bench.zoo.training.sam.prompts import random_prompt

STEPS, AGAIN = 1600, 1000
SCENES, PAIRS, PATCHES = 5, 6, 5
DIMMED = 0.7
_LEAST = 48.0
"""Cells that a figure needs to be asked for."""


def mask_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Five times the binary cross-entropy plus the dice loss, per mask: ``(B, M)``."""
    target = masks[:, None].expand_as(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((2, 3))
    soft = logits.sigmoid()
    overlap = 2.0 * (soft * target).sum((2, 3)) + 1.0
    return 5.0 * entropy + 1.0 - overlap / (soft.sum((2, 3)) + target.sum((2, 3)) + 1.0)


@dataclass(frozen=True)
class Trainer:
    """The loss over one pool; the saliency head only helps the encoder and is not shipped."""

    sam: Any
    saliency: nn.Module
    pool: Pool

    def loss(self, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        """One encoder pass, two prompts per image: for two figures where there are two."""
        pixels, masks = self._images(rng)
        embedding = self.sam.image_encoder(pixels.to(self.sam.device))
        salient = F.pixel_shuffle(self.saliency(embedding), 4).float().cpu()
        hint = mask_loss(_fine(salient), masks.amax(1)).mean()
        terms = []
        for wanted in _two(masks, rng):
            others = (masks.sum(1) - wanted).clamp(min=0.0)
            terms.append(self._prompted(embedding, wanted, others, rng))
        single, several, score = (torch.stack(part).mean() for part in zip(*terms, strict=True))
        total = single + several + 0.5 * score + 0.3 * hint
        figures = {"single": single, "several": several, "score": score, "hint": hint}
        return total, {name: value.detach() for name, value in figures.items()}

    def _images(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Whole scenes and patches with at least one figure in view, and the figures' masks."""
        singles = self._dimmed(views.sample(self.pool, SCENES, rng, decoys=0.4), rng)
        pairs = self._dimmed(views.sample(self.pool, PAIRS, rng, (1, 2, 5, 6), 0.3), rng)
        spare = self._dimmed(views.sample(self.pool, 2 * PATCHES, rng, decoys=0.4), rng)
        whole, patch = views.random_patch(rng, full=1.0), views.random_patch(rng, full=0.0)
        parts = [square(singles, whole), square(pairs, whole), square(spare, patch)]
        area = parts[2][1].sum((2, 3))
        order = torch.argsort((area.amax(1) > 160).float(), descending=True, stable=True)[:PATCHES]
        parts[2] = (parts[2][0][order], parts[2][1][order])
        pixels, masks = (torch.cat(part) for part in zip(*parts, strict=True))
        seen = masks.sum((2, 3)) > _LEAST
        return pixels, torch.where(seen[:, :, None, None], masks, 0.0)

    def _dimmed(self, batch: views.Batch, rng: np.random.Generator) -> views.Batch:
        batch = replace(batch, images=views.dim_cut(batch, rng, DIMMED))
        return views.augment(batch, rng, dimmed=0.0)

    def _prompted(
        self, embedding: Tensor, wanted: Tensor, others: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss of the single mask, of the several masks (best, and all a little), of the IoUs."""
        logits, scores = decode(self.sam, embedding, random_prompt(wanted, others, rng))
        logits = _fine(logits)
        weights = (wanted.sum((1, 2)) > 0).float()
        losses = mask_loss(logits, wanted)
        several = 0.7 * losses[:, 1:].amin(1) + 0.3 * losses[:, 1:].mean(1)
        errors = (scores - overlaps(logits.detach(), wanted)).square().mean(1)
        total = weights.sum().clamp(min=1.0)
        return tuple((part * weights).sum() / total for part in (losses[:, 0], several, errors))  # type: ignore[return-value]


def _fine(logits: Tensor) -> Tensor:
    """Logits ``(B, M, 64, 64)`` enlarged to the 128 x 128 cells of the masks: small outlines."""
    return F.interpolate(logits, scale_factor=2, mode="bilinear")


def _two(masks: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Two figures in view, ``(B, 128, 128)``, animals rather than decoys; one twice if alone."""
    shown = masks.sum((2, 3)) > 0
    weight = torch.tensor([1.0, 1.0, 0.7, 0.7, 0.7])
    order = torch.from_numpy(rng.random(shown.shape)).float() * weight * shown
    first, second = order.topk(2, dim=1).indices.unbind(1)
    rows = torch.arange(len(masks))
    second = torch.where(shown[rows, second], second, first)
    return masks[rows, first], masks[rows, second]


def save(sam: nn.Module, folder: Path) -> None:
    """Write ``config.json`` and fp16 ``model.safetensors``."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(CONFIG), indent=2) + "\n"
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")
    save_half(sam, folder / WEIGHTS_FILE)


def train(out: Path, steps: int | None = None, cache: Path = CACHE) -> None:
    """Train, or go on where a checkpoint lies, and write the folder ``out``."""
    tower = pretrain_tower(cache=cache)
    torch.manual_seed(0)
    sam, saliency = build_sam(CONFIG), nn.Conv2d(CONFIG.out_chans, 16, 1)
    vit.copy_to_sam(tower.visual.cpu(), sam.image_encoder)
    modules = nn.ModuleDict({"sam": sam, "saliency": saliency}).to(device())
    trainer = Trainer(sam, saliency, load_pool("train", cache))
    check = Validator(sam, load_pool("validation", cache), count=192)
    hidden = {name: 3.0 for name, p in modules.named_parameters()
              if p.ndim == 2 and min(p.shape) >= 16 and "embed" not in name}  # fmt: skip
    # It has not finished learning when the rate has fallen: a second run from a higher rate.
    for name, count, seed in (("sam", STEPS, 0), ("sam_again", steps or AGAIN, 1)):
        recipe = Recipe(name=name, steps=count, learning_rate=1.5e-3, muon=True, factors=hidden,
                        weight_decay=0.01, report_every=200, seed=seed, cache=cache)  # fmt: skip
        fit(modules, recipe, trainer.loss, check)
    save(sam, out)
    full = replace(check, count=2048)
    print({name: round(value, 3) for name, value in full().items()}, flush=True)
