"""Views that the tiny LLaVA is trained on: what the method will show it.

Full scenes and the 9 patches, scenes with holes filled by an inpainter (here: the true clean scene,
sharp or as blurred as a small autoencoder leaves it, or Telea's method), and scenes dimmed as in
Eq. 12, each turned and mirrored.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from int_bench.data.world.scenes import boxes
from int_bench.zoo.training.pool import (
    MEAN_COLOUR,
    PATCHES,
    SIZE,
    TWO_DIFFERENT,
    Bools,
    Bytes,
    Pool,
    dim,
    patch_view,
)

ZOOM = {"top_left": 2, "top_right": 2, "bottom_left": 2, "bottom_right": 2}
"""Enlargement of a patch's view against the scene, where it is not 1."""
VISIBLE = 0.25
"""Share of an animal from which on a view shows it."""
_DEVIATION = 0.25


@dataclass(frozen=True)
class Mix:
    """Shares of a batch.

    Attributes:
        full: full scenes; the rest is spread over the other 8 patches.
        filled: scenes in which a region has been filled.
        dimmed: scenes re-weighted 1 to 4 times around a roughly right mask.
        erased: scenes replaced by their clean version before anything else.
        pairs: scenes with two different targets, beyond those that chance gives.
    """

    full: float = 0.4
    filled: float = 0.12
    dimmed: float = 0.15
    erased: float = 0.05
    pairs: float = 0.0


@dataclass(frozen=True)
class Views:
    """A batch of views with ground truth in the frame of the view.

    Attributes:
        images: ``(N, 128, 128, 3)`` uint8 RGB.
        masks: ``(N, 2, 128, 128)`` bool, what is still visible of each animal.
        names: ``(N, 2)`` int64, -1 where there is none.
        environments: ``(N,)`` int64.
        visible: ``(N, 2)`` float32, visible share of each animal's area.
        pixels: ``(N, 2)`` int64, visible area in the view.
        decoys: ``(N, 3, 128, 128)`` bool, what is in view of each decoy.
        decoy_names: ``(N, 3)`` int64, what each looks like, -1 where there is none.
    """

    images: Bytes
    masks: Bools
    names: npt.NDArray[np.int64]
    environments: npt.NDArray[np.int64]
    visible: npt.NDArray[np.float32]
    pixels: npt.NDArray[np.int64]
    decoys: Bools
    decoy_names: npt.NDArray[np.int64]

    def largest(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Name (-1 for none) and box of the largest animal that is visible in each view.

        Returns:
            ``(N,)`` int64 and ``(N, 4)`` float32 in 0..1 of the view, zeros for none.
        """
        area = np.where(self.visible >= VISIBLE, self.pixels, 0)
        slot, rows = area.argmax(1), np.arange(len(area))
        shown = area[rows, slot] > 0
        box = boxes(self.masks[rows, slot]) / SIZE
        names = np.where(shown, self.names[rows, slot], -1)
        return names, (box * shown[:, None]).astype(np.float32)

    def lookalike(self, row: int, name: int) -> npt.NDArray[np.float32] | None:
        """Box, (4,) in 0..1, of the largest decoy in a view that looks like a name."""
        area = self.decoys[row].sum((1, 2)) * (self.decoy_names[row] == name)
        if not area.any():
            return None
        box: npt.NDArray[np.float32] = boxes(self.decoys[row, area.argmax()]) / np.float32(SIZE)
        return box

    def shown(self) -> list[list[int]]:
        """Names that are visible in each view, without repeats, the largest animal first."""
        area = np.where(self.visible >= VISIBLE, self.pixels, 0)
        order = np.argsort(-area, axis=1, kind="stable")
        return [
            list(dict.fromkeys(int(self.names[i, slot]) for slot in row if area[i, slot] > 0))
            for i, row in enumerate(order)
        ]


def sample(pool: Pool, rng: np.random.Generator, count: int, mix: Mix) -> Views:
    """A random batch of views."""
    rows = rng.integers(len(pool.kind), size=count)
    pairs = np.flatnonzero(np.isin(pool.kind, TWO_DIFFERENT))
    rows = np.sort(np.where(rng.random(count) < mix.pairs, rng.choice(pairs, count), rows))
    images, clean = pool.images[rows].copy(), pool.clean[rows]
    figures, whole = _figures(pool, rows), pool.masks[rows].sum((2, 3))
    masks = figures[:, :2]  # what is done to them is done to the figures
    for i in np.nonzero(rng.random(count) < mix.erased)[0]:
        images[i], masks[i] = clean[i], False
    for i in np.nonzero(rng.random(count) < mix.filled)[0]:
        images[i], masks[i] = _fill(images[i], clean[i], masks[i], rng)
    for i in np.nonzero(rng.random(count) < mix.dimmed)[0]:
        keep = _rough(masks[i], rng)
        images[i] = dim(images[i][None], keep[None], int(rng.integers(1, 5)))[0]
    others = [name for name in PATCHES if name != "full"]
    chosen = np.where(rng.random(count) < mix.full, -1, rng.integers(8, size=count))
    views, seen = np.empty_like(images), np.empty_like(figures)
    zoom = np.ones((count, 1))
    for index, name in enumerate(["full", *others], start=-1):
        at = np.nonzero(chosen == index)[0]
        if len(at):
            views[at], seen[at] = patch_view(images[at], figures[at], PATCHES[name])
            zoom[at] = ZOOM.get(name, 1)
    return _views(pool, rows, *_turned(views, seen, rng), whole * zoom**2)


def look(pool: Pool, rows: npt.NDArray[np.int64], patch: str, erased: bool = False) -> Views:
    """One patch of chosen scenes as it is, for validation."""
    source, figures = pool.clean if erased else pool.images, _figures(pool, rows)
    figures[:, :2] &= not erased
    views, seen = patch_view(source[rows], figures, PATCHES[patch])
    whole = pool.masks[rows].sum((2, 3)) * ZOOM.get(patch, 1) ** 2
    return _views(pool, rows, views, seen, whole)


def _figures(pool: Pool, rows: npt.NDArray[np.int64]) -> Bools:
    """Masks of the animals and of the decoys, ``(N, 5, 128, 128)``."""
    return np.concatenate([pool.masks[rows], pool.decoys[rows]], axis=1)


def _views(
    pool: Pool, rows: npt.NDArray[np.int64], images: Bytes, seen: Bools, whole: npt.NDArray[Any]
) -> Views:
    """Views of these scenes, from what is seen of each figure and the animals' whole areas."""
    masks, area = seen[:, :2], seen[:, :2].sum((2, 3))
    visible = (area / np.maximum(whole, 1)).astype(np.float32)
    names, places = pool.names[rows], pool.environments[rows]
    return Views(images, masks, names, places, visible, area, seen[:, 2:], pool.decoy_names[rows])


def pixels(images: Bytes, device: torch.device) -> Tensor:
    """Normalised pixels ``(N, 3, 128, 128)`` as the processor makes them, channels last."""
    mean = torch.tensor(MEAN_COLOUR, dtype=torch.float32, device=device) / 255.0
    values = torch.from_numpy(images).to(device).float() / 255.0
    return ((values - mean) / _DEVIATION).permute(0, 3, 1, 2)


def _turned(images: Bytes, masks: Bools, rng: np.random.Generator) -> tuple[Bytes, Bools]:
    """Each view mirrored and turned by quarters at random."""
    turns = rng.integers(8, size=len(images))
    images, masks = images.copy(), masks.copy()
    for turn in range(1, 8):
        at = np.nonzero(turns == turn)[0]
        image, mask = np.rot90(images[at], turn % 4, (1, 2)), np.rot90(masks[at], turn % 4, (2, 3))
        if turn >= 4:
            image, mask = image[:, :, ::-1], mask[:, :, :, ::-1]
        images[at], masks[at] = image, mask
    return images, masks


def _box_region(box: npt.NDArray[np.float32], rng: np.random.Generator) -> Bools:
    """A box with each side moved by up to 6 pixels, as a mask."""
    x0, y0, x1, y1 = np.clip(box + rng.integers(-6, 7, 4), 0, SIZE).astype(int)
    region = np.zeros((SIZE, SIZE), np.bool_)
    region[y0:y1, x0:x1] = True
    return region


def _region(masks: Bools, rng: np.random.Generator) -> Bools:
    """What a method may erase: an animal's box or dilated mask, or a box anywhere."""
    present = np.nonzero(masks.any((1, 2)))[0]
    kind = rng.random()
    if len(present) == 0 or kind < 0.25:
        side, start = rng.integers(20, 80, 2), rng.integers(0, 90, 2)
        return _box_region(np.array([*start, *(start + side)], np.float32), rng)
    mask = np.asarray(masks[rng.choice(present)] if rng.random() < 0.6 else masks.any(0))
    if kind < 0.65:
        return _box_region(boxes(mask), rng)
    reach = int(rng.integers(2, 9))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return cv2.dilate(mask.astype(np.uint8), kernel).astype(np.bool_)


def _fill(
    image: Bytes, clean: Bytes, masks: Bools, rng: np.random.Generator
) -> tuple[Bytes, Bools]:
    """The scene with a region filled in, and what is left of the animals."""
    region, kind = _region(masks, rng), rng.random()
    if kind < 0.3:
        filling = cv2.inpaint(image, region.astype(np.uint8), 3, cv2.INPAINT_TELEA)
        filling = filling.astype(np.float32)
    else:
        filling = clean.astype(np.float32)
    if kind > 0.65:
        filling = cv2.GaussianBlur(filling, (0, 0), float(rng.uniform(0.7, 2.5)))
        filling = filling + rng.normal(0.0, 4.0, (1, 1, 3))
    soft = cv2.GaussianBlur(region.astype(np.float32), (0, 0), 1.0)[..., None]
    mixed = np.clip(image * (1.0 - soft) + filling * soft, 0, 255)
    return np.rint(mixed).astype(np.uint8), masks & ~region


def _rough(masks: Bools, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """A roughly right soft mask: blurred, moved, of one or all animals, or a box."""
    region = _region(masks, rng)
    shift = rng.integers(-4, 5, 2)
    moved = np.roll(region, tuple(shift), (0, 1)).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(moved, (0, 0), float(rng.uniform(1.0, 5.0))), np.float32)
