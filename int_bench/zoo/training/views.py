"""Views of pooled scenes for the trainings of SAM and CLIP: windows, patches, dimming, cut-outs.

Everything is drawn from a numpy generator. Scenes come from a ``Pool``; a *target* is one of the
*figures* of a scene: its (at most two) animals, and its (at most three) decoys.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from int_bench.zoo.training.pool import KINDS, PATCHES, SIZE, Pool, Rectangle

WINDOW = 64
ZOOMS = ((1, 1), (1, 1), (2, 2), (1, 2), (2, 1))
"""Enlargements (down, right) of a window: the scene itself, quarters, and squashed halves."""


@dataclass(frozen=True)
class Batch:
    """Scenes or views of them, all of one size.

    Attributes:
        images: ``(B, H, W, 3)`` float32 in 0..255.
        masks: ``(B, 5, H, W)`` float32 in 0..1, two animals and three decoys.
        names: ``(B, 5)`` int64 index into NAMES, what each looks like; -1 for none.
        environments: ``(B,)`` int64.
        target: ``(B,)`` int64 index of the target among the figures.
    """

    images: Tensor
    masks: Tensor
    names: Tensor
    environments: Tensor
    target: Tensor

    def target_mask(self) -> Tensor:
        """``(B, H, W)`` mask of the target."""
        return self.masks[torch.arange(len(self.masks)), self.target]

    def target_name(self) -> Tensor:
        """``(B,)`` name of the target."""
        return self.names[torch.arange(len(self.names)), self.target]


def sample(
    pool: Pool,
    count: int,
    rng: np.random.Generator,
    kinds: tuple[int, ...] = tuple(range(len(KINDS))),
    decoys: float = 0.0,
) -> Batch:
    """Scenes of these kinds drawn with replacement, each with a target (see `take`)."""
    rows = rng.choice(np.flatnonzero(np.isin(pool.kind, kinds)), size=count)
    return take(pool, rows, rng, decoys)


def take(pool: Pool, rows: np.ndarray, rng: np.random.Generator, decoys: float = 0.0) -> Batch:
    """The scenes of these rows; the target is an animal, or a decoy with probability ``decoys``."""
    names = np.concatenate([pool.names[rows], pool.decoy_names[rows]], axis=1)
    animal = rng.integers(2, size=len(rows)) * (names[:, 1] >= 0)
    count = (names[:, 2:] >= 0).sum(1)
    decoy = 2 + np.floor(rng.random(len(rows)) * count).astype(np.int64)
    target = np.where((rng.random(len(rows)) < decoys) & (count > 0), decoy, animal)
    masks = np.concatenate([pool.masks[rows], pool.decoys[rows]], axis=1)
    return Batch(
        images=torch.from_numpy(pool.images[rows]).float(),
        masks=torch.from_numpy(masks).float(),
        names=torch.from_numpy(names),
        environments=torch.from_numpy(pool.environments[rows]),
        target=torch.from_numpy(target),
    )


def resize(images: Tensor, masks: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Images ``(B, H, W, 3)`` bicubic (clipped to 0..255), masks ``(B, M, H, W)`` bilinear."""
    if tuple(images.shape[1:3]) == size:
        return images, masks
    large = F.interpolate(images.permute(0, 3, 1, 2), size, mode="bicubic", antialias=True)
    inside = F.interpolate(masks, size, mode="bilinear", antialias=True)
    return large.clamp(0.0, 255.0).permute(0, 2, 3, 1), inside


def crop(batch: Batch, rectangle: Rectangle, size: tuple[int, int]) -> Batch:
    """One rectangle x0, y0, x1, y1 of every scene, squashed to ``size`` (height, width)."""
    x0, y0, x1, y1 = rectangle
    images, masks = resize(batch.images[:, y0:y1, x0:x1], batch.masks[:, :, y0:y1, x0:x1], size)
    return replace(batch, images=images, masks=masks)


def random_patch(rng: np.random.Generator, full: float) -> Rectangle:
    """The whole scene with probability ``full``, else one of the other 8 patches."""
    others = [name for name in PATCHES if name != "full"]
    return PATCHES["full" if rng.random() < full else str(rng.choice(others))]


def windows(batch: Batch, rng: np.random.Generator) -> Batch:
    """A window of 64 x 64 pixels around each target (1 in 8 anywhere), at one zoom for all."""
    down, right = ZOOMS[rng.integers(len(ZOOMS))]
    height, width = WINDOW // down, WINDOW // right
    weights = batch.target_mask() + 1e-6
    centre_y = (weights.sum(2) * torch.arange(SIZE)).sum(1) / weights.sum((1, 2))
    centre_x = (weights.sum(1) * torch.arange(SIZE)).sum(1) / weights.sum((1, 2))
    away = rng.normal(0.0, 0.25, (len(weights), 2)) * (height, width)
    anywhere = (rng.random(len(weights)) < 0.125)[:, None]
    centres = np.stack([centre_y.numpy(), centre_x.numpy()], 1) + away
    centres = np.where(anywhere, rng.uniform(0, SIZE, centres.shape), centres)
    corners = centres - np.array([height, width]) / 2
    corners = np.clip(corners.round(), 0, [SIZE - height, SIZE - width]).astype(int)
    cut = [(slice(y, y + height), slice(x, x + width)) for y, x in corners]
    images = torch.stack([image[c] for image, c in zip(batch.images, cut, strict=True)])
    masks = torch.stack([mask[:, *c] for mask, c in zip(batch.masks, cut, strict=True)])
    images, masks = resize(images, masks, (WINDOW, WINDOW))
    return replace(batch, images=images, masks=masks)


def augment(batch: Batch, rng: np.random.Generator, dimmed: float = 0.25) -> Batch:
    """Flips and turns (all alike), dimming outside of a target (Eq. 12) for some, and noise."""
    images, masks = batch.images, batch.masks
    if rng.random() < 0.5:
        images, masks = images.flip(2), masks.flip(3)
    if rng.random() < 0.5:
        images, masks = images.flip(1), masks.flip(2)
    if rng.random() < 0.5 and images.shape[1] == images.shape[2]:
        images, masks = images.transpose(1, 2), masks.transpose(2, 3)
    batch = replace(batch, images=images, masks=masks)
    images = dim(images, batch.target_mask(), rng, dimmed)
    noise = torch.from_numpy(rng.standard_normal(images.shape, dtype=np.float32))
    return replace(batch, images=(images + 5.0 * noise).clamp(0.0, 255.0))


def dim(images: Tensor, masks: Tensor, rng: np.random.Generator, share: float) -> Tensor:
    """Eq. 12 on a share of the images: outside of a blurred, dilated mask pixels fall as 0.7^i."""
    passes = rng.integers(1, 5, len(images)) * (rng.random(len(images)) < share)
    factor = torch.from_numpy(0.7**passes).float()[:, None, None]
    side = int(rng.choice([3, 7, 13]))
    soft = F.max_pool2d(masks[:, None], side, 1, side // 2)
    soft = F.avg_pool2d(soft, 5, 1, 2, count_include_pad=False)[:, 0]
    return images * (soft + (1.0 - soft) * factor)[..., None]


def dim_cut(batch: Batch, rng: np.random.Generator, share: float) -> Tensor:
    """Eq. 12 on a share of the images with masks as the cycle makes them, 1 to 5 times.

    Most are cut along a patch border, with a residue on the far side; the rest are deformed, or
    those of another figure.
    """
    images = batch.images.clone()
    targets = batch.target_mask()
    for i in np.flatnonzero(rng.random(len(images)) < share):
        soft, kind = targets[i], rng.random()
        side = int(rng.choice([1, 3, 7, 11]))
        soft = F.max_pool2d(soft[None, None], side, 1, side // 2)[0, 0]
        if kind < 0.65:
            x0, y0, x1, y1 = random_patch(rng, full=0.0)
            inside = torch.zeros_like(soft)
            inside[y0:y1, x0:x1] = 1.0
            if float((targets[i] * inside).sum()) < 0.15 * float(targets[i].sum()):
                inside = 1.0 - inside
            residue = float(rng.choice([0.0, rng.uniform(0.0, 0.6)]))
            soft = soft * (inside + (1.0 - inside) * residue)
        elif kind < 0.8:
            soft = torch.maximum(batch.masks[i, rng.integers(5)], soft * float(rng.random()))
        soft = F.avg_pool2d(soft[None, None], 3, 1, 1, count_include_pad=False)[0, 0]
        factor = 0.7 ** int(rng.choice([1, 1, 2, 3, 4, 5]))
        images[i] = images[i] * (soft + (1.0 - soft) * factor)[..., None]
    return images


def deform(masks: Tensor, rng: np.random.Generator) -> Tensor:
    """Masks ``(B, H, W)`` as a segmenter may give them: grown, shrunk, a box, or cut by a patch."""
    kind = ("grown", "shrunk", "box", "cut")[rng.integers(4)]
    if kind == "cut":
        x0, y0, x1, y1 = random_patch(rng, full=0.0)
        clipped = torch.zeros_like(masks)
        clipped[:, y0:y1, x0:x1] = masks[:, y0:y1, x0:x1]
        return clipped
    if kind == "box":
        return masks.amax(2, keepdim=True) * masks.amax(1, keepdim=True)
    side = int(rng.choice([5, 9, 15])) if kind == "grown" else 3
    if kind == "grown":
        return F.max_pool2d(masks[:, None], side, 1, side // 2)[:, 0]
    return 1.0 - F.max_pool2d(1.0 - masks[:, None], side, 1, side // 2)[:, 0]


def moved(masks: Tensor, rng: np.random.Generator) -> Tensor:
    """The same shapes elsewhere (rolled by 1/4 to 3/4 of the side): regions of background."""
    low, high = masks.shape[-1] // 4, 3 * masks.shape[-1] // 4
    shift = [int(rng.integers(low, high)) for _ in range(2)]
    return masks.roll(shift, dims=(-2, -1))
