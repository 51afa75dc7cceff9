"""One picture per run: image, ground truth, masks over the iterations, names and their weights.

Reads what a run folder holds (masks kept with ``keep=soft``, records); knows no model and no data
set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont
from scipy import ndimage

from int_bench.core.instances import Instance
from int_bench.core.types import HardMask, Image, SoftMask

OUTLINES, POINT = ((255, 220, 0), (150, 220, 255)), (255, 0, 0)
"""Of the first object and of others; of their points."""
CELL, GAP, HEADER, CHART = 150, 6, 26, 300
INK, PAPER, FAINT = (30, 30, 30), (255, 255, 255), (205, 205, 205)
LINES = ((0, 90, 160), (200, 70, 20), (0, 130, 90), (140, 60, 150), (120, 100, 0), (90, 90, 90))


@dataclass(frozen=True)
class PanelRow:
    """One sample.

    Attributes:
        title: its id.
        image: (H, W, 3) uint8.
        truth: (H, W) bool; None without ground truth.
        soft: M_i of each iteration, (H, W) in 0..1.
        final: the mask that Eq. (13) chose, (H, W) bool.
        prompts: the instance-specific prompt of each iteration.
        candidates: per iteration the candidates' ``name`` and ``weight``.
        truth_name: what is really there, where it is known.
        objects: the annotated objects of the image, where any are known; a sample's own first.
    """

    title: str
    image: Image
    truth: HardMask | None
    soft: Sequence[SoftMask]
    final: HardMask
    prompts: Sequence[str]
    candidates: Sequence[Sequence[Mapping[str, Any]]]
    truth_name: str | None = None
    objects: Sequence[Instance] = ()


def draw_panel(rows: Sequence[PanelRow]) -> PillowImage.Image:
    """The rows under one header: image, ground truth, M_1..M_I, final mask, names and weights."""
    steps = max(len(row.soft) for row in rows)
    columns = ["image", "ground truth", *(f"M {i + 1}" for i in range(steps)), "final"]
    width = len(columns) * (CELL + GAP) + CHART + 2 * GAP
    height = HEADER + len(rows) * (CELL + GAP) + GAP
    sheet = PillowImage.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)
    for index, name in enumerate([*columns, "names: weight over iterations (Eq. 6)"]):
        pen.text((GAP + index * (CELL + GAP), 6), name, INK, font)
    for number, row in enumerate(rows):
        top = HEADER + number * (CELL + GAP)
        for index, picture in enumerate(_pictures(row, steps)):
            if picture is not None:
                sheet.paste(picture, (GAP + index * (CELL + GAP), top))
        _chart(pen, (GAP + len(columns) * (CELL + GAP), top), row)
    return sheet


def _pictures(row: PanelRow, steps: int) -> Iterator[PillowImage.Image | None]:
    yield _cell(row.image)
    if row.truth is None:
        yield None
    elif row.objects and row.truth.shape == row.image.shape[:2]:
        yield _cell(_annotated(row.image, row.truth, row.objects))
    else:
        yield _cell(_grey(row.truth.astype(np.float32)))
    for index in range(steps):
        yield _cell(_grey(row.soft[index])) if index < len(row.soft) else None
    yield _cell(_outlined(row.image, row.final))


def _cell(pixels: Image) -> PillowImage.Image:
    """Scaled to fit a cell, centred on grey."""
    picture = PillowImage.fromarray(pixels)
    scale = CELL / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    cell = PillowImage.new("RGB", (CELL, CELL), FAINT)
    place = ((CELL - size[0]) // 2, (CELL - size[1]) // 2)
    cell.paste(picture.resize(size, PillowImage.Resampling.BILINEAR), place)
    return cell


def _grey(mask: SoftMask) -> Image:
    return np.repeat(np.rint(mask * 255).astype(np.uint8)[..., None], 3, axis=2)


def _outlined(image: Image, mask: HardMask) -> Image:
    """The image, dimmed outside the mask, with the mask's outline in yellow."""
    thick = max(1, round(max(mask.shape) / 100))
    rim = ndimage.binary_dilation(mask, iterations=thick) & ~mask
    shown = np.where(mask[..., None], image, (image * 0.45).astype(np.uint8))
    shown[rim] = (255, 220, 0)
    return shown.astype(np.uint8)


def _annotated(image: Image, truth: HardMask, objects: Sequence[Instance]) -> Image:
    """The image, dimmed outside the truth, with the objects' outlines and their points in red."""
    shown = np.where(truth[..., None], image, (image * 0.45).astype(np.uint8))
    thick = max(1, round(max(truth.shape) / 100))
    for number, instance in reversed(list(enumerate(objects))):
        rim = ndimage.binary_dilation(instance.mask, iterations=thick) & ~instance.mask
        shown[rim] = OUTLINES[min(number, 1)]
        x, y = (int(value) for value in instance.point)
        shown[max(0, y - thick) : y + thick + 1, max(0, x - thick) : x + thick + 1] = POINT
    return shown.astype(np.uint8)


def _chart(pen: ImageDraw.ImageDraw, corner: tuple[int, int], row: PanelRow) -> None:
    """One line per candidate, its weight after each iteration; the final prompt above."""
    left, top = corner
    font = ImageFont.load_default(size=12)
    prompt = row.prompts[-1] if row.prompts else ""
    title = f"{prompt}" + (f"  (truth: {row.truth_name})" if row.truth_name else "")
    pen.text((left, top), title, INK, font)
    x0, x1, y0, y1 = left + 26, left + CHART - 96, top + 22, top + CELL - 8
    for share in (0.0, 0.5, 1.0):
        y = y1 - share * (y1 - y0)
        pen.line((x0, y, x1, y), FAINT)
        pen.text((left, y - 7), f"{share:.1f}", INK, font)
    steps = max(len(row.candidates) - 1, 1)
    ends: list[float] = []
    for number, (name, weights) in enumerate(_series(row)):
        colour = LINES[number % len(LINES)]
        spots = [
            (x0 + i * (x1 - x0) / steps, y1 - weight * (y1 - y0))
            for i, weight in enumerate(weights)
        ]
        pen.line(spots, colour, 2) if len(spots) > 1 else None
        for x, y in spots:
            pen.ellipse((x - 2, y - 2, x + 2, y + 2), colour)
        label = spots[-1][1]
        while any(abs(label - other) < 13 for other in ends):
            label -= 13
        ends.append(label)
        pen.text((x1 + 6, label - 7), f"{name} {weights[-1]:.2f}", colour, font)


def _series(row: PanelRow) -> list[tuple[str, list[float]]]:
    """The heaviest candidates with their weight after each iteration, the heaviest last first."""
    names = dict.fromkeys(c["name"] for step in row.candidates for c in step)
    by_step = [{c["name"]: float(c["weight"]) for c in step} for step in row.candidates]
    series = [(name, [step.get(name, 0.0) for step in by_step]) for name in names]
    return sorted(series, key=lambda item: -item[1][-1])[: len(LINES)]
