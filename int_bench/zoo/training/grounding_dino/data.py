"""Views, prompts and targets on which the tiny GroundingDINO is trained.

A view is what the method will show the detector: the scene, one of its eight smaller patches, the
scene dimmed as in Eq. 12, or a scene without an animal. Its *figures* are two animals and three
decoys. A decoy goes by what it looks like, and is worth less than an animal of that name. A half
patch keeps its aspect ratio and is padded to the right or below, as the image processor does it. A
prompt is one lower-case phrase that ends in a full stop, or several.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import BertTokenizer

from int_bench.data.world.names import (
    CLUTTER,
    ENVIRONMENTS,
    LOOKALIKE,
    NAMES,
    TARGETS,
    TASK_PROMPTS,
)
from int_bench.data.world.scenes import boxes
from int_bench.zoo.training.pool import PATCHES, SIZE, Pool, Rectangle
from int_bench.zoo.training.pool import dim as dim_by

MEAN = (0.48, 0.46, 0.41)
STD = (0.25, 0.25, 0.25)
MAX_TEXT = 32
ANIMAL_SLOTS = 2
DECOY_WORTH = 0.75
"""What a decoy's box is worth (times its IoU) for its name and for the task's prompt."""

SHARES = np.array([0.7, 4.0, 1.3, 1.2, 1.2, 1.2, 1.2])
"""How often a scene is shown, by its kind (an index into KINDS)."""

TASK_OF = {8: "polyp", 9: "skin"}
PROMPT_NAMES = {
    TASK_PROMPTS["cod"]: set(TARGETS["cod"]),
    TASK_PROMPTS["polyp"]: {NAMES.index("polyp"), *TARGETS["polyp"], LOOKALIKE[8]},
    TASK_PROMPTS["skin"]: {NAMES.index("lesion"), *TARGETS["skin"], LOOKALIKE[9]},
}
"""What a task's prompt means: the look-alikes too."""

Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]
# Fewer visible pixels than this share of the animal: neither an example nor a counter-example.
MIN_VISIBLE = 0.2


@dataclass
class Views:
    """A batch of views; tensors on the CPU.

    Attributes:
        images: (B, 3, 128, 128) uint8 RGB, zero where padded.
        pixel_mask: (B, 128, 128) int64, 1 on the image and 0 on the padding.
        masks: (B, 5, 128, 128) bool, the visible part of each figure, animals first.
        boxes: (B, 5, 4) float32, x0, y0, x1, y1 as fractions of the padded view.
        names: (B, 5) int64 index into NAMES; -1 none, -2 too little of it visible.
    """

    images: torch.Tensor
    pixel_mask: torch.Tensor
    masks: torch.Tensor
    boxes: torch.Tensor
    names: torch.Tensor


def dim(image: Bytes, masks: Bools, rng: np.random.Generator) -> Bytes:
    """Darken what is outside of a figure's rough soft mask, as Eq. 12 does once, at times oftener.

    What stays bright is mostly one animal, so that of two one is dark; the rest are decoys. Three
    in five are cut along a patch border, with a residue on the far side.
    """
    size = int(rng.integers(1, 12))
    change = cv2.dilate if rng.random() < 0.7 else cv2.erode
    there = np.flatnonzero(masks.any((1, 2)))
    animals = there[there < ANIMAL_SLOTS]
    mask = masks[rng.choice(animals if len(animals) and rng.random() < 0.75 else there)]
    cut = change(mask.astype(np.float32), np.ones((size, size), np.uint8))
    rough = np.asarray(cut, np.float32)
    if rng.random() < 0.6:
        x0, y0, x1, y1 = list(PATCHES.values())[int(rng.integers(1, len(PATCHES)))]
        inside = np.zeros_like(rough)
        inside[y0:y1, x0:x1] = 1.0
        if (mask * inside).sum() < 0.15 * mask.sum():
            inside = 1.0 - inside
        rough = rough * (inside + (1.0 - inside) * np.float32(rng.uniform(0.0, 0.6)))
    soft = np.asarray(cv2.GaussianBlur(rough, (0, 0), 1 + 3 * rng.random()), np.float32)
    dimmed: Bytes = dim_by(image[None], soft[None], int(rng.choice([1, 1, 1, 1, 1, 2, 3, 5])))[0]
    return dimmed


def crop(image: Bytes, masks: Bools, patch: Rectangle) -> tuple[Bytes, Bools, tuple[int, int]]:
    """Cut one patch, enlarge it until its longer side is 128, pad it at the right and below.

    Returns:
        Image (128, 128, 3) uint8, masks (M, 128, 128) bool, and (height, width) of the patch in it.
    """
    x0, y0, x1, y1 = patch
    part, part_masks = image[y0:y1, x0:x1], masks[:, y0:y1, x0:x1]
    factor = SIZE // max(y1 - y0, x1 - x0)
    if factor > 1:
        large = cv2.resize(part, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
        part = np.asarray(large, np.uint8)
        part_masks = part_masks.repeat(factor, 1).repeat(factor, 2)
    height, width = part.shape[:2]
    canvas = np.zeros((SIZE, SIZE, 3), np.uint8)
    canvas_masks = np.zeros((len(masks), SIZE, SIZE), bool)
    canvas[:height, :width], canvas_masks[:, :height, :width] = part, part_masks
    return canvas, canvas_masks, (height, width)


def visible_names(
    names: NDArray[np.int64], whole: Bools, seen: Bools, zoom: float
) -> NDArray[np.int64]:
    """Name each figure of a view: its index, -1 if it is not there, -2 if hardly visible.

    Args:
        names: (M,) indices into NAMES or -1.
        whole: (M, 128, 128) masks in the scene.
        seen: (M, 128, 128) masks in the view.
        zoom: view pixels per scene pixel.
    """
    area, left = whole.sum((1, 2)), seen.sum((1, 2)) / zoom**2
    gone = (names < 0) | (left == 0)
    return np.where(gone, -1, np.where(left < MIN_VISIBLE * area, -2, names))


def draw_views(pool: Pool, rows: NDArray[np.int64], rng: np.random.Generator) -> Views:
    """Draw one random view of each scene ``rows`` of the pool."""
    drawn = [_draw_view(pool, int(row), rng) for row in rows]
    images, masks, names, valid = (np.stack(parts) for parts in zip(*drawn, strict=True))
    return pack(images, masks, names, valid)


def draw_rows(pool: Pool, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows of ``count`` scenes; two of a kind, of which there are few, come oftener."""
    twice = SHARES[pool.kind]
    return rng.choice(len(pool.kind), size=count, p=twice / twice.sum())


def figures(pool: Pool, row: int) -> tuple[Bools, NDArray[np.int64]]:
    """Masks (5, 128, 128) and names (5,) of the animals and decoys of a scene."""
    masks = np.concatenate([pool.masks[row], pool.decoys[row]])
    return masks, np.concatenate([pool.names[row], pool.decoy_names[row]])


def _draw_view(
    pool: Pool, row: int, rng: np.random.Generator
) -> tuple[Bytes, Bools, NDArray[np.int64], NDArray[np.int64]]:
    """Image, visible masks, visible names and pixel mask of one random view."""
    image, whole, names = pool.images[row], *figures(pool, row)
    if rng.random() < 0.08:
        image, whole = (
            pool.clean[row],
            whole & (np.arange(len(whole)) >= ANIMAL_SLOTS)[:, None, None],
        )
    elif rng.random() < 0.45:
        image = dim(image, whole, rng)
    patches = list(PATCHES.values())
    patch = patches[0 if rng.random() < 0.5 else int(rng.integers(1, len(patches)))]
    view, seen, (height, width) = crop(image, whole, patch)
    zoom = max(height, width) / max(patch[2] - patch[0], patch[3] - patch[1])
    names = visible_names(names, whole, seen, zoom)
    flip_x, flip_y = rng.random(2) < 0.5
    inner = augment(view[:height, :width], rng)
    view[:height, :width] = flip(inner, flip_x, flip_y)
    for mask in seen:
        mask[:height, :width] = flip(mask[:height, :width], flip_x, flip_y).copy()
    valid = np.zeros((SIZE, SIZE), np.int64)
    valid[:height, :width] = 1
    return view, seen, names, valid


def flip(array: NDArray[Any], flip_x: bool, flip_y: bool) -> NDArray[Any]:
    """Mirror the first two axes of an image or a mask."""
    return array[:: -1 if flip_y else 1, :: -1 if flip_x else 1]


def augment(image: Bytes, rng: np.random.Generator) -> Bytes:
    """Change brightness and tint a little and add noise."""
    gain, tint = 1 + 0.08 * rng.standard_normal(), 6 * rng.standard_normal(3)
    noisy = image * gain + tint + 4 * rng.standard_normal(image.shape, np.float32)
    return noisy.clip(0, 255).astype(np.uint8)


def pack(
    images: Bytes,
    masks: Bools,
    names: NDArray[np.int64],
    pixel_mask: NDArray[np.int64] | None = None,
) -> Views:
    """Turn arrays of (B, 128, 128, 3) images, (B, M, 128, 128) masks, (B, M) names into Views."""
    valid = np.ones(images.shape[:3], np.int64) if pixel_mask is None else pixel_mask
    return Views(
        images=torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))),
        pixel_mask=torch.from_numpy(valid),
        masks=torch.from_numpy(np.ascontiguousarray(masks)),
        boxes=torch.from_numpy(np.asarray(boxes(masks), np.float32) / SIZE),
        names=torch.from_numpy(np.ascontiguousarray(names).astype(np.int64)),
    )


def normalise(images: torch.Tensor, pixel_mask: torch.Tensor) -> torch.Tensor:
    """Scale uint8 RGB as the image processor does; padding becomes 0."""
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    return (images.float() / 255 - mean) / std * pixel_mask[:, None]


def draw_prompt(names: list[int], environment: int, rng: np.random.Generator) -> list[str]:
    """Draw the phrases that are asked of a view.

    All names of a task at once teach most per image; one right, one look-alike's or one absent
    name is how the method asks.

    Args:
        names: (5,) of the view, as in Views.
        environment: index into ENVIRONMENTS; it tells the task.
        rng: source of everything drawn.
    """
    task = TASK_OF.get(environment, "cod")
    group = [*TARGETS[task], *CLUTTER.get(task, ())]
    right = list(dict.fromkeys(name for name in names[:ANIMAL_SLOTS] if name >= 0))
    like = [name for name in names[ANIMAL_SLOTS:] if name >= 0]
    absent = [name for name in group if name not in names]
    if rng.random() < 0.15:
        absent = [name for name in range(len(NAMES)) if name not in names]
    chance = rng.random()
    if chance < 0.18:
        return [NAMES[index] for index in rng.permutation(group)]
    if chance < 0.45 and right:
        return [NAMES[int(rng.choice(right))]]
    if chance < 0.57 and like:
        return [NAMES[int(rng.choice(like))]]
    if chance < 0.76:
        return [NAMES[int(rng.choice(absent))]]
    if chance < 0.86 and right:
        pair = [NAMES[int(rng.choice(right))], NAMES[int(rng.choice([*right[1:], *like, *absent]))]]
        words = [pair[index] for index in rng.permutation(2)]
        return [" and ".join(words)] if rng.random() < 0.4 else words
    if chance < 0.98:
        return [TASK_PROMPTS[task]]
    return [str(rng.choice(ENVIRONMENTS))]


def names_of_phrase(words: str) -> set[int]:
    """The indices into NAMES that a phrase, or a word of it, stands for (none: environment)."""
    if words in PROMPT_NAMES:
        return PROMPT_NAMES[words]
    return {NAMES.index(words)} if words in NAMES else set()


def encode(
    tokenizer: BertTokenizer, prompts: list[list[str]], names: torch.Tensor
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Tokenize prompts and find the tokens that name each figure.

    Args:
        tokenizer: the detector's.
        prompts: the phrases of each view.
        names: (B, M) int64 as in Views.

    Returns:
        The tokenizer's tensors, and (B, M, T) float32: what a box of figure o is worth to token t,
        1 for an animal's name, `DECOY_WORTH` for a decoy's, 0 for other words.
    """
    texts = ["".join(f"{phrase}." for phrase in phrases) for phrases in prompts]
    tokens = dict(tokenizer(texts, return_tensors="pt", padding=True))
    words = torch.zeros(len(texts), names.shape[1], tokens["input_ids"].shape[1])
    worth = torch.where(torch.arange(names.shape[1]) < ANIMAL_SLOTS, 1.0, DECOY_WORTH)
    for row, phrases in enumerate(prompts):
        at = 1
        for phrase in phrases:
            for part in [phrase] if phrase in PROMPT_NAMES else phrase.split():
                meant, length = names_of_phrase(part), len(part.split())
                for slot in range(names.shape[1]):
                    if int(names[row, slot]) in meant:
                        words[row, slot, at : at + length] = worth[slot]
                at += length
            at += 1
    return tokens, words
