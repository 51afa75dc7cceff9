"""Holes, prompts and validation fills for the tiny inpainter.

A hole is what INT erases: the dilated mask of an earlier iteration (too large or too small), boxes,
unions of boxes; and random shapes, so that the fill does not depend on an animal having been there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from int_bench.core.templates import INPAINT_NEGATIVE, INPAINT_POSITIVE
from int_bench.data.world.scenes import ENVIRONMENTS, NAMES, TASK_PROMPTS, boxes
from int_bench.zoo.training.pool import SIZE, Pool, load_pool

Bools = NDArray[np.bool_]
MARGIN = 4  # pixels; 3 % of the short side, by which the method dilates a mask before erasing


@dataclass
class Holes:
    """A batch for the inpainter; tensors on the CPU.

    Attributes:
        images: (B, 3, 128, 128) float32 in -1..1, what the pipeline is given.
        clean: (B, 3, 128, 128) float32 in -1..1, the same scenes without animals.
        holes: (B, 1, 128, 128) float32, 1 where to fill.
        prompts: one per scene.
    """

    images: torch.Tensor
    clean: torch.Tensor
    holes: torch.Tensor
    prompts: list[str]


def grow(mask: Bools, pixels: int) -> Bools:
    """Dilate (or, if negative, erode) a mask with an ellipse."""
    size = 2 * abs(pixels) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    change = cv2.dilate if pixels >= 0 else cv2.erode
    return change(mask.astype(np.uint8), kernel).astype(bool)


def _box_of(mask: Bools, rng: np.random.Generator) -> Bools:
    """The mask's box, each side moved by up to 12 % of its length (mostly outwards)."""
    x0, y0, x1, y1 = boxes(mask)
    move = rng.uniform(-0.04, 0.12, 4) * np.array([x1 - x0, y1 - y0, x1 - x0, y1 - y0])
    left, top, right, bottom = np.rint(np.array([x0, y0, x1, y1]) + move * [-1, -1, 1, 1])
    hole = np.zeros_like(mask)
    hole[int(max(top, 0)) : int(bottom), int(max(left, 0)) : int(right)] = True
    return hole


def _random_box(rng: np.random.Generator) -> Bools:
    width, height = rng.integers(16, 80, 2)
    x, y = int(rng.integers(0, SIZE - width)), int(rng.integers(0, SIZE - height))
    hole = np.zeros((SIZE, SIZE), bool)
    hole[y : y + height, x : x + width] = True
    return hole


def _blob(rng: np.random.Generator) -> Bools:
    """The largest values of smooth noise, 4 to 25 % of the image."""
    noise = cv2.GaussianBlur(rng.standard_normal((SIZE, SIZE)), (0, 0), rng.uniform(5, 14))
    return noise > np.quantile(noise, 1 - rng.uniform(0.04, 0.25))


def draw_hole(mask: Bools, rng: np.random.Generator) -> Bools:
    """Draw one hole for a scene whose animals cover ``mask`` (128, 128)."""
    chance = rng.random()
    if chance < 0.40:
        return grow(mask, int(rng.choice([-1, 1, 2, 3, 4, 4, 4, 5, 6, 8])))
    if chance < 0.60:
        return _box_of(mask, rng)
    if chance < 0.75:
        return _box_of(mask, rng) | _random_box(rng)
    return _blob(rng) if chance < 0.88 else _random_box(rng)


def prompt_of(environment: int, rng: np.random.Generator | None = None) -> str:
    """The positive prompt; with a generator, sometimes with a second, wrong environment."""
    words = [ENVIRONMENTS[environment]]
    if rng is not None and rng.random() < 0.15:
        words.insert(int(rng.integers(2)), str(rng.choice(ENVIRONMENTS)))
    return INPAINT_POSITIVE.format(environment=", ".join(words))


def _training_prompt(environment: int, rng: np.random.Generator) -> str:
    """10 % empty and 6 % negative prompts stand for "no text" in classifier-free guidance."""
    chance = rng.random()
    if chance < 0.10:
        return ""
    if chance < 0.16:
        task = str(rng.choice(list(TASK_PROMPTS.values())))
        return INPAINT_NEGATIVE.format(name=str(rng.choice(NAMES)), task=task)
    return prompt_of(environment, rng)


def signed(images: NDArray[np.uint8]) -> torch.Tensor:
    """(B, 128, 128, 3) uint8 to (B, 3, 128, 128) float32 in -1..1."""
    return torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32)) / 127.5 - 1


def draw_holes(pool: Pool, rows: NDArray[np.int64], rng: np.random.Generator) -> Holes:
    """Draw a training batch from the scenes ``rows``; every fifth shows no animal at all."""
    images, clean, holes, prompts = [], [], [], []
    for row in rows:
        axes = [axis for axis in (0, 1) if rng.random() < 0.5]
        mask = pool.masks[row].any(0)
        shown = pool.clean[row] if rng.random() < 0.2 else pool.images[row]
        hole = draw_hole(mask, rng)
        images.append(np.flip(shown, axes))
        clean.append(np.flip(pool.clean[row], axes))
        holes.append(np.flip(hole, axes))
        prompts.append(_training_prompt(int(pool.environments[row]), rng))
    mask = torch.from_numpy(np.stack(holes)[:, None].astype(np.float32))
    return Holes(signed(np.stack(images)), signed(np.stack(clean)), mask, prompts)


def validation_holes(count: int = 64) -> Holes:
    """Validation scenes whose hole is the true mask dilated as the method does it."""
    pool = load_pool("validation")
    rows = np.arange(count)
    holes = np.stack([grow(pool.masks[row].any(0), MARGIN) for row in rows])
    prompts = [prompt_of(int(pool.environments[row])) for row in rows]
    mask = torch.from_numpy(holes[:, None].astype(np.float32))
    return Holes(signed(pool.images[rows]), signed(pool.clean[rows]), mask, prompts)


def composite(fills: torch.Tensor, batch: Holes, feather: float = 3.0) -> torch.Tensor:
    """Fills inside the holes, the image outside, mixed over ``feather`` pixels inside the edge."""
    holes = batch.holes[:, 0].numpy().astype(np.uint8)
    depth = np.stack([cv2.distanceTransform(hole, cv2.DIST_L2, 3) for hole in holes])
    weight = torch.from_numpy((depth / feather).clip(0, 1)[:, None])
    return weight * fills + (1 - weight) * batch.images


def fill_figures(fills: torch.Tensor, batch: Holes) -> dict[str, float]:
    """Judge composites in -1..1 against the clean scenes, inside the holes.

    Returns:
        colour: error of the hole's mean colour, of 255; l1: mean absolute error, of 255; texture:
        energy of the fill's high pass over that of the clean scene.
    """
    area = batch.holes.sum((2, 3))
    error = (fills - batch.clean) * 127.5
    colour = ((error * batch.holes).sum((2, 3)) / area).abs().mean()
    absolute = ((error.abs() * batch.holes).sum((2, 3)) / area).mean()
    inner = -torch.nn.functional.max_pool2d(-batch.holes, 7, 1, 3)
    energy = [((x - _smooth(x)) ** 2 * inner).sum() for x in (fills, batch.clean)]
    return {
        "colour": float(colour),
        "l1": float(absolute),
        "texture": float(energy[0] / energy[1]),
    }


def _smooth(images: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.avg_pool2d(images, 5, 1, 2)


def fill(pipeline: Any, batch: Holes, steps: int, guidance: float) -> torch.Tensor:
    """Run the library's pipeline on a batch; returns composites (B, 3, 128, 128) in -1..1."""
    made = []
    for start in range(0, len(batch.prompts), 16):
        part = slice(start, start + 16)
        prompts = batch.prompts[part]
        generators = [torch.Generator().manual_seed(start + i) for i in range(len(prompts))]
        made.append(
            pipeline(
                prompt=prompts,
                image=(batch.images[part] + 1) / 2,
                mask_image=batch.holes[part],
                num_inference_steps=steps,
                guidance_scale=guidance,
                height=SIZE,
                width=SIZE,
                generator=generators,
                output_type="pt",
            ).images.float()
        )
    return composite(torch.cat(made) * 2 - 1, batch)
