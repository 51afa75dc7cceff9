"""Losses and texts of the tiny CLIP: cells, peaks, and whole cut-outs against words.

Words are ranked by cosine times the learned scale. *Cells* are the patch tokens of the surgery path
(`vit.features`); each should be nearest to the name of the animal it lies on, or else to the word
of its environment. *Peaks*: the map of one word, less that of the empty text, should peak on what
it names. A decoy goes by the name of what it looks like.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from int_bench.core.templates import CLIP_TEMPLATES
from int_bench.data.world.names import (
    ENVIRONMENTS,
    LOOKALIKE,
    NAMES,
    TARGETS,
    TASK_PROMPTS,
)
from int_bench.zoo.training.clip.format import tokens
from int_bench.zoo.training.views import Batch
from int_bench.zoo.training.vit import PATCH

LABELS = (*NAMES, *ENVIRONMENTS)
"""Words that a cell or a cut-out is told apart by."""
ANIMAL, EMPTY = len(LABELS), len(LABELS) + 1
_PHRASES = (*((label,) for label in LABELS), (TASK_PROMPTS["cod"], "animal"), ("",))
_TASK_OF = {name: task for task, names in TARGETS.items() for name in names} | {
    LOOKALIKE[8]: "polyp",
    LOOKALIKE[9]: "skin",
}
_GENERIC = {"cod": ANIMAL, "polyp": NAMES.index("polyp"), "skin": NAMES.index("lesion")}
GENERIC = torch.tensor([_GENERIC[_TASK_OF[i]] if i in _TASK_OF else -1 for i in range(len(NAMES))])
"""Label of the task's prompt for each name that it means; a look-alike is meant too."""
_MUTE = torch.tensor([-1e4 if name in ("polyp", "lesion") else 0.0 for name in LABELS])
"""Names of tasks are above the names of what hides, not beside them."""
_SYNONYM = {NAMES.index("lesion"): TASK_PROMPTS["skin"]}
_FORMS = ("{name}", *CLIP_TEMPLATES)


class Texts:
    """Token ids of every label in every form: the bare word and CLIP's templates."""

    def __init__(self) -> None:
        phrases = [(*p, _SYNONYM[i]) if i in _SYNONYM else p for i, p in enumerate(_PHRASES)]
        self._ids = [
            tokens([form.format(name=phrase) for phrase in choices for form in _FORMS])
            for choices in phrases
        ]

    def random(self, model: Any, rng: np.random.Generator) -> Tensor:
        """``(34, D)`` normalised text features, each label in a form drawn at random."""
        ids = torch.stack([forms[rng.integers(len(forms))] for forms in self._ids])
        return _encode(model, ids)

    def pairs(self, model: Any, names: Tensor) -> Tensor:
        """``(B, D)`` features of "frog and owl" for names ``(B, 2)``."""
        phrases = [f"{NAMES[a]} and {NAMES[b]}" for a, b in names.tolist()]
        return _encode(model, tokens(phrases))

    def bare(self, model: Any) -> Tensor:
        """``(34, D)`` features of the bare words."""
        ids = torch.stack([forms[0] for forms in self._ids])
        return _encode(model, ids)

    def averaged(self, model: Any) -> Tensor:
        """``(34, D)`` features averaged over the templates, as in CLIP Surgery."""
        ids = torch.cat([forms[1 : len(_FORMS)] for forms in self._ids])
        features = _encode(model, ids)
        return F.normalize(features.view(len(self._ids), len(CLIP_TEMPLATES), -1).mean(1), dim=-1)


def _encode(model: Any, ids: Tensor) -> Tensor:
    """Normalised text features on the CPU."""
    encoded = model.encode_text(ids.to(model.logit_scale.device))
    return F.normalize(encoded.float().cpu(), dim=-1)


def occupancy(masks: Tensor) -> Tensor:
    """Share of each cell that masks ``(B, M, H, W)`` cover, as ``(B, M, cells)``."""
    return F.avg_pool2d(masks, PATCH).flatten(2)


def cell_loss(
    cells: Tensor, texts: Tensor, scale: Tensor, batch: Batch, black: Tensor | None = None
) -> Tensor:
    """Cross-entropy of every cell over LABELS; cells on an outline (10 to 60 %) are left out.

    ``black`` ``(B,)`` marks cut-outs, whose background says nothing and is left out as well.
    """
    share = occupancy(batch.masks)
    most, slot = share.max(1)
    names = batch.names.gather(1, slot)
    labels = torch.where(most > 0.5, names, len(NAMES) + batch.environments[:, None])
    weights = torch.where(most > 0.5, torch.where(slot < 2, 4.0, 2.0), 1.0)
    weights = ((most > 0.6) | (most < 0.1)).float() * weights
    if black is not None:
        weights = weights * ((most > 0.5) | ~black[:, None]).float()
    logits = scale * F.normalize(cells, dim=-1) @ texts[: len(LABELS)].T + _MUTE
    losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return (losses * weights.flatten()).sum() / weights.sum()


def peak_loss(cells: Tensor, texts: Tensor, scale: Tensor, batch: Batch,
              rng: np.random.Generator) -> Tensor:  # fmt: skip
    """Cross-entropy between the softmax of a word's map over the cells and its figures' cells.

    A quarter of the figures is asked for by the task's prompt, which means look-alikes as well.
    """
    share, named = occupancy(batch.masks), batch.target_name()
    generic = torch.from_numpy(rng.random(len(cells)) < 0.25) & (GENERIC[named] >= 0)
    same = batch.names == named[:, None]
    meant = GENERIC[batch.names.clamp(min=0)] == GENERIC[named][:, None]
    chosen = torch.where(generic[:, None], meant, same) & (batch.names >= 0)
    words = torch.where(generic, GENERIC[named], named)
    return map_loss(cells, texts[words] - texts[EMPTY], scale, (share * chosen[..., None]).sum(1))


def map_loss(cells: Tensor, directions: Tensor, scale: Tensor, share: Tensor) -> Tensor:
    """The same for directions ``(B, D)`` and the share ``(B, cells)`` that is meant."""
    wanted = torch.where(share > 0.5, share.clamp(max=1.0), 0.0)
    total = wanted.sum(1)
    logits = scale * torch.einsum("bnd,bd->bn", F.normalize(cells, dim=-1), directions)
    losses = -(logits.log_softmax(1) * wanted / (total + 1e-6)[:, None]).sum(1)
    return (losses * (total > 0)).sum() / (total > 0).sum().clamp(min=1)


def word_loss(
    whole: Tensor, texts: Tensor, scale: Tensor, labels: Tensor, weights: Tensor
) -> Tensor:
    """Cross-entropy of class tokens over LABELS."""
    logits = scale * F.normalize(whole, dim=-1) @ texts[: len(LABELS)].T + _MUTE
    losses = F.cross_entropy(logits, labels, reduction="none")
    return (losses * weights).sum() / weights.sum().clamp(min=1.0)


def rank_loss(good: Tensor, bad: Tensor, texts: Tensor, scale: Tensor, names: Tensor) -> Tensor:
    """The exact cut-out should be nearer to its name than a worse cut-out of the same animal."""
    words = texts[names]
    gap = ((F.normalize(bad, dim=-1) - F.normalize(good, dim=-1)) * words).sum(-1)
    return F.softplus(scale * gap + 0.5).mean()
