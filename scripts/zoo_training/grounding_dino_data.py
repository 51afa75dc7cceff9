"""Views, prompts and targets on which the tiny GroundingDINO is trained.

A view is what the method will show the detector: the scene, one of its eight smaller patches, the
scene dimmed as in Eq. 12, or a scene without an animal. A half patch keeps its aspect ratio and is
padded to the right or below, as the image processor does it. A prompt is one lower-case phrase
that ends in a full stop, or several.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import BertTokenizerFast

from int_bench.data.camoworld import ANIMALS, ENVIRONMENTS, NAMES, boxes
from scripts.zoo_training.pool import PATCHES, SIZE, Pool, Rectangle
from scripts.zoo_training.pool import dim as dim_by

MEAN = (0.48, 0.46, 0.41)
STD = (0.25, 0.25, 0.25)
MAX_TEXT = 32
GENERIC = "camouflaged animal"

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
        masks: (B, 2, 128, 128) bool, the visible part of each animal.
        boxes: (B, 2, 4) float32, x0, y0, x1, y1 as fractions of the padded view.
        names: (B, 2) int64 index into NAMES; -1 none, -2 too little of it visible.
    """

    images: torch.Tensor
    pixel_mask: torch.Tensor
    masks: torch.Tensor
    boxes: torch.Tensor
    names: torch.Tensor


def dim(image: Bytes, mask: Bools, rng: np.random.Generator) -> Bytes:
    """Darken what is outside of a roughly right soft mask, as 1 to 4 iterations of Eq. 12 do."""
    size = int(rng.integers(1, 12))
    change = cv2.dilate if rng.random() < 0.7 else cv2.erode
    rough = change(mask.astype(np.float32), np.ones((size, size), np.uint8))
    soft = cv2.GaussianBlur(rough, (0, 0), 1 + 3 * rng.random())
    return dim_by(image[None], soft[None], int(rng.integers(1, 5)))[0]


def crop(image: Bytes, masks: Bools, patch: Rectangle) -> tuple[Bytes, Bools, tuple[int, int]]:
    """Cut one patch, enlarge it until its longer side is 128, pad it at the right and below.

    Returns:
        Image (128, 128, 3) uint8, masks (2, 128, 128) bool, and (height, width) of the patch in it.
    """
    x0, y0, x1, y1 = patch
    part, part_masks = image[y0:y1, x0:x1], masks[:, y0:y1, x0:x1]
    factor = SIZE // max(y1 - y0, x1 - x0)
    if factor > 1:
        part = cv2.resize(part, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
        part_masks = part_masks.repeat(factor, 1).repeat(factor, 2)
    height, width = part.shape[:2]
    canvas = np.zeros((SIZE, SIZE, 3), np.uint8)
    canvas_masks = np.zeros((2, SIZE, SIZE), bool)
    canvas[:height, :width], canvas_masks[:, :height, :width] = part, part_masks
    return canvas, canvas_masks, (height, width)


def visible_names(
    names: NDArray[np.int64], whole: Bools, seen: Bools, zoom: float
) -> NDArray[np.int64]:
    """Name each animal of a view: its index, -1 if it is not there, -2 if hardly visible.

    Args:
        names: (2,) indices into NAMES or -1.
        whole: (2, 128, 128) masks in the scene.
        seen: (2, 128, 128) masks in the view.
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


def _draw_view(
    pool: Pool, row: int, rng: np.random.Generator
) -> tuple[Bytes, Bools, NDArray[np.int64], NDArray[np.int64]]:
    """Image, visible masks, visible names and pixel mask of one random view."""
    image, whole, names = pool.images[row], pool.masks[row], pool.names[row]
    if rng.random() < 0.06:
        image, whole = pool.clean[row], np.zeros_like(whole)
    elif rng.random() < 0.25:
        image = dim(image, whole.any(0), rng)
    patches = list(PATCHES.values())
    patch = patches[0 if rng.random() < 0.55 else int(rng.integers(1, len(patches)))]
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
    """Turn arrays of (B, 128, 128, 3) images, (B, 2, 128, 128) masks, (B, 2) names into Views."""
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


def phrase(name: int, rng: np.random.Generator) -> str:
    """Word a name; half of the lesions are called by the task's own phrase."""
    return "skin lesion" if NAMES[name] == "lesion" and rng.random() < 0.5 else NAMES[name]


def draw_prompt(present: list[int], rng: np.random.Generator) -> list[str]:
    """Draw the phrases that are asked of a view in which the names ``present`` are (perhaps none).

    All names at once teach most per image; one right or one wrong name is how the method asks.
    """
    absent = [index for index in range(len(NAMES)) if index not in present]
    right = phrase(int(rng.choice(present or absent)), rng)
    wrong = phrase(int(rng.choice(absent)), rng)
    chance = rng.random()
    if chance < 0.30:
        return [phrase(int(index), rng) for index in rng.permutation(len(NAMES))]
    if chance < 0.55:
        return [right]
    if chance < 0.76:
        return [wrong]
    if chance < 0.86:
        return [right, wrong] if rng.random() < 0.5 else [wrong, right]
    if chance < 0.96:
        return [GENERIC]
    return [str(rng.choice(ENVIRONMENTS))]


def names_of_phrase(words: str) -> set[int]:
    """The indices into NAMES that a phrase stands for (empty for an environment)."""
    if words == GENERIC:
        return set(range(len(ANIMALS)))
    if words == "skin lesion":
        return {NAMES.index("lesion")}
    return {NAMES.index(words)} if words in NAMES else set()


def encode(
    tokenizer: BertTokenizerFast, prompts: list[list[str]], names: torch.Tensor
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Tokenize prompts and find the tokens that name each animal.

    Args:
        tokenizer: The detector's.
        prompts: The phrases of each view.
        names: (B, 2) int64 as in Views.

    Returns:
        The tokenizer's tensors, and (B, 2, T) float32, 1 where token t names animal o.
    """
    texts = ["".join(f"{phrase}." for phrase in phrases) for phrases in prompts]
    tokens = dict(tokenizer(texts, return_tensors="pt", padding=True))
    words = torch.zeros(len(texts), 2, tokens["input_ids"].shape[1])
    for row, phrases in enumerate(prompts):
        at = 1
        for phrase in phrases:
            meant, length = names_of_phrase(phrase), len(phrase.split())
            for slot in range(2):
                if int(names[row, slot]) in meant:
                    words[row, slot, at : at + length] = 1
            at += length + 1
    return tokens, words
