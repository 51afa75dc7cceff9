"""What the tiny GroundingDINO is judged by while it trains (validation split only)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BertTokenizer

from int_bench.data.world.names import ANIMALS, NAMES
from int_bench.zoo.training.boxes import box_iou
from int_bench.zoo.training.grounding_dino import data as data
from int_bench.zoo.training.grounding_dino.loss import corners
from int_bench.zoo.training.pool import PATCHES, Pool, load_pool

BOX_THRESHOLD = 0.30


def auc(high: Tensor, low: Tensor) -> float:
    """Probability that a score of ``high`` exceeds one of ``low``; ties count half."""
    above = (high[:, None] > low[None]).float() + 0.5 * (high[:, None] == low[None]).float()
    return float(above.mean())


def _whole(pool: Pool, kind: int, count: int) -> data.Views:
    rows = np.flatnonzero(pool.kind == kind)[:count]
    masks, names = zip(*(data.figures(pool, int(row)) for row in rows), strict=True)
    return data.pack(pool.images[rows], np.stack(masks), np.stack(names))


def _quarters(pool: Pool, count: int) -> data.Views:
    """Quarter patches of one-animal scenes that show less than 2 % of it."""
    patches = [PATCHES[name] for name in ("top_left", "top_right", "bottom_left", "bottom_right")]
    views = []
    for row in np.flatnonzero(pool.kind == 0):
        whole = pool.masks[row]
        for patch in patches:
            image, seen, _ = data.crop(pool.images[row], whole, patch)
            if seen.sum() < 0.02 * 4 * whole.sum():
                views.append((image, seen, data.visible_names(pool.names[row], whole, seen, 2.0)))
        if len(views) >= count:
            break
    return data.pack(*(np.stack(parts) for parts in zip(*views[:count], strict=True)))


def _halves(pool: Pool, count: int) -> data.Views:
    """Half patches of one-animal scenes that show at least 60 % of it; their rest is padding."""
    views = []
    for row in np.flatnonzero(pool.kind == 0):
        whole = pool.masks[row]
        for name in ("left", "right", "top", "bottom"):
            image, seen, (height, width) = data.crop(pool.images[row], whole, PATCHES[name])
            if seen.sum() >= 0.6 * whole.sum():
                valid = np.zeros(image.shape[:2], np.int64)
                valid[:height, :width] = 1
                views.append((image, seen, pool.names[row], valid))
        if len(views) >= count:
            break
    return data.pack(*(np.stack(parts) for parts in zip(*views[:count], strict=True)))


class Validator:
    """Holds the validation views; each method returns the figures of one report line."""

    def __init__(self, count: int = 256) -> None:
        pool = load_pool("validation")
        self.single, self.pairs = _whole(pool, 0, count), _whole(pool, 2, count // 2)
        self.polyps, self.lesions = _whole(pool, 3, count // 4), _whole(pool, 4, count // 4)
        self.empty, self.halves = _quarters(pool, count // 2), _halves(pool, count // 2)

    def dense(self, model: nn.Module) -> dict[str, float]:
        """Phase 1: share of right names, IoU of the box of the most certain cell."""
        pixels = data.normalise(self.single.images, self.single.pixel_mask)
        maps = model(pixels).float().flatten(2)
        logits = maps[:, : 1 + len(NAMES)]
        certain = 1 - logits.softmax(1)[:, 0]
        votes = (certain[:, None] * logits[:, 1:].log_softmax(1)).sum(2)
        name = votes.argmax(1) == self.single.names[:, 0]
        best = certain.argmax(1)
        sides = maps[torch.arange(len(best)), 1 + len(NAMES) :, best]
        centre = (torch.stack([best % 16, best // 16], 1) + 0.5) / 16
        box = torch.cat([centre - sides[:, :2], centre + sides[:, 2:]], 1)
        iou, _ = box_iou(box, self.single.boxes[:, 0])
        return {"name": float(name.float().mean()), "iou": float(iou.mean())}

    def detector(self, model: Any, tokenizer: BertTokenizer) -> dict[str, float]:
        """Phase 2, with the best box: recall, AUC of right against third names, two animals.

        Above the threshold: ``right`` name on the animal, the ``decoy``'s name on a decoy, a
        ``third`` name on the animal, any name on an ``empty`` patch. Recall again on
        views of their own: polyps, lesions, half patches.
        """
        names, decoys = self.single.names[:, 0], self.single.names[:, data.ANIMAL_SLOTS]
        box, right = top(model, tokenizer, self.single, [NAMES[n] for n in names])
        iou, _ = box_iou(box, self.single.boxes[:, 0])
        like_box, like = top(model, tokenizer, self.single, [NAMES[n] for n in decoys])
        like_iou, _ = box_iou(like_box[:, None], self.single.boxes[:, data.ANIMAL_SLOTS :])
        step = torch.randint(1, 7, names.shape, generator=torch.Generator().manual_seed(5))
        thirds = [
            [a for a in range(8) if a not in (int(n), int(d))][int(s) % 6]
            for n, d, s in zip(names, decoys, step, strict=True)
        ]
        wrong_box, wrong = top(model, tokenizer, self.single, [NAMES[n] for n in thirds])
        wrong_iou, _ = box_iou(wrong_box, self.single.boxes[:, 0])
        _, empty = top(
            model, tokenizer, self.empty, [ANIMALS[n % 8] for n in range(len(self.empty.names))]
        )
        selected = []
        for slot in range(2):
            phrases = [NAMES[n] for n in self.pairs.names[:, slot]]
            boxes, _ = top(model, tokenizer, self.pairs, phrases)
            own, _ = box_iou(boxes, self.pairs.boxes[:, slot])
            other, _ = box_iou(boxes, self.pairs.boxes[:, 1 - slot])
            selected.append(own > other)
        return {
            "recall": float((iou > 0.5).float().mean()),
            "iou": float(iou.mean()),
            "auc": auc(right, wrong),
            "select": float(torch.cat(selected).float().mean()),
            "right": float(((iou > 0.5) & (right > BOX_THRESHOLD)).float().mean()),
            "decoy": float(((like_iou.amax(1) > 0.5) & (like > BOX_THRESHOLD)).float().mean()),
            "third": float(((wrong_iou > 0.5) & (wrong > BOX_THRESHOLD)).float().mean()),
            "empty": float((empty > BOX_THRESHOLD).float().mean()),
            **self._recalls(model, tokenizer),
        }

    def _recalls(self, model: Any, tokenizer: BertTokenizer) -> dict[str, float]:
        recalls = {}
        apart = (("polyp", self.polyps), ("lesion", self.lesions), ("half", self.halves))
        for kind, views in apart:
            box, _ = top(model, tokenizer, views, [NAMES[n] for n in views.names[:, 0]])
            recalls[kind] = float((box_iou(box, views.boxes[:, 0])[0] > 0.5).float().mean())
        return recalls


@torch.no_grad()
def top(
    model: Any, tokenizer: BertTokenizer, views: data.Views, phrases: list[str]
) -> tuple[Tensor, Tensor]:
    """Best box (N, 4) as corners in fractions of the view, and its score (N,), per view."""
    boxes, scores = [], []
    for start in range(0, len(phrases), 64):
        part = slice(start, start + 64)
        texts = [f"{phrase}." for phrase in phrases[part]]
        tokens = tokenizer(texts, return_tensors="pt", padding=True)
        valid = views.pixel_mask[part]
        pixels = data.normalise(views.images[part], valid)
        out = model(pixel_values=pixels, pixel_mask=valid, **tokens)
        score, query = out.logits.float().sigmoid().amax(-1).max(1)
        boxes.append(corners(out.pred_boxes.float())[torch.arange(len(query)), query])
        scores.append(score)
    return torch.cat(boxes), torch.cat(scores)
