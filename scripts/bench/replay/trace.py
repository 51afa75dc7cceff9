"""A committed trace of INT's control flow, and its replay as model calls.

Random weights would steer the method anywhere. The trace fixes what they cannot decide: how long
answers are, which names compete, what is erased and kept, how many boxes and points there are. Only
the erased patches are the models' own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from int_bench.core import equations, geometry, templates
from int_bench.core.geometry import Grid, Patch
from int_bench.core.protocols import Ask, gather
from int_bench.core.requests import (
    Answer,
    Detect,
    Heatmap,
    Inpaint,
    Point,
    Score,
    Segment,
    Similarity,
    Turn,
)
from int_bench.core.types import HardMask, Picture, Stencil
from scripts.bench.untrained.llava import TASK

QUESTIONS = tuple(
    text.format(task=TASK)
    for text in (templates.CAPTION, templates.NAME, templates.ENVIRONMENT, templates.BOX)
)
SPOKEN = templates.BOX.format(task=TASK).split()
"""Words that earlier answers are made of, as many as the trace says."""


@cache
def scripts() -> list[dict[str, Any]]:
    """The traces of all images."""
    recorded: list[dict[str, Any]] = json.loads(Path(__file__).with_name("trace.json").read_text())
    return recorded


@dataclass(frozen=True)
class Replay:
    """One image and its trace.

    Attributes:
        picture: noise; nothing depends on what it shows.
        script: an entry of ``trace.json``.
        iterations: how many of its iterations are replayed.
        grid: the patches.
    """

    picture: Picture
    script: dict[str, Any]
    iterations: int
    grid: Grid

    @property
    def patches(self) -> tuple[Patch, ...]:
        """Where the image is cut."""
        return self.grid.cut(self.picture.size)

    @property
    def names(self) -> tuple[str, ...]:
        """The candidates."""
        return tuple(self.script["names"])

    async def run(self, ask: Ask) -> None:
        """All model calls of the image, in the method's order."""
        view = self.picture
        for index in range(self.iterations):
            step = self.script["iterations"][index]
            mask = self._ellipse(step["ellipse"])
            await gather(self._chat(patch, ask) for patch in self.patches)
            await self._mine(mask, index, ask)
            name = self.names[step["chosen"]]
            await gather(
                self._segment(view, k, patch, name, index, ask)
                for k, patch in enumerate(self.patches)
            )
            dimmed = equations.reweight(
                self.picture.pixels, view.pixels.astype(np.float32), mask.astype(np.float32)
            )
            view = Picture(np.rint(dimmed).astype(np.uint8))

    async def _chat(self, patch: Patch, ask: Ask) -> None:
        picture = self._crop(self.picture, patch)
        turns: list[Turn] = []
        for question, length in zip(QUESTIONS, self.script["answers"], strict=True):
            await ask(Answer(picture, question, tuple(turns), max_tokens=length))
            turns.append(Turn(question, " ".join((SPOKEN * 2)[:length])))

    async def _mine(self, mask: HardMask, index: int, ask: Ask) -> None:
        texts = (
            templates.INPAINT_POSITIVE.format(environment="leaves"),
            templates.INPAINT_NEGATIVE.format(name=", ".join(self.names), task=TASK),
        )
        filled = Picture(await ask(Inpaint(self.picture, Stencil(mask), *texts, seed=index)))
        pictures = [self._crop(p, patch) for p in (self.picture, filled) for patch in self.patches]
        await gather(ask(Score(picture, QUESTIONS[1], self.names)) for picture in pictures)

    async def _segment(
        self, view: Picture, k: int, patch: Patch, name: str, index: int, ask: Ask
    ) -> None:
        step = self.script["iterations"][index]
        picture, (height, width) = self._crop(view, patch), patch.size
        await ask(Detect(picture, templates.DETECT.format(name=name)))
        await ask(Heatmap(picture, (name,), ("leaves",)))
        draws = np.random.default_rng((index, k))
        places = draws.uniform(0.1, 0.9, (step["points"][k], 2)) * (width, height)
        points = tuple(Point(float(x), float(y), at % 2 == 0) for at, (x, y) in enumerate(places))
        scale = np.array([width, height, width, height])
        boxes: Sequence[Any] = [tuple((np.array(box) * scale).tolist()) for box in step["boxes"][k]]
        # One mask each: which of three is best would flip between random near-equals.
        await gather(ask(Segment(picture, box, points, multimask=False)) for box in boxes)
        canvas = np.zeros_like(view.pixels)
        kept = self._ellipse(step["ellipse"])[patch.y0 : patch.y1, patch.x0 : patch.x1]
        inside = equations.keep_inside(geometry.crop(view.pixels, patch), kept)
        canvas[patch.y0 : patch.y1, patch.x0 : patch.x1] = inside
        await ask(Similarity(Picture(canvas), name))

    def _crop(self, picture: Picture, patch: Patch) -> Picture:
        return Picture(geometry.crop(picture.pixels, patch))

    def _ellipse(self, values: Sequence[float]) -> HardMask:
        """The mask of centre y, x and radii y, x, as fractions of the image."""
        height, width = self.picture.size
        rows, columns = np.mgrid[:height, :width]
        y, x = (rows / height - values[0]) / values[2], (columns / width - values[1]) / values[3]
        mask: HardMask = np.hypot(y, x) < 1
        return mask


def replays(
    count: int,
    size: tuple[int, int],
    iterations: int,
    sets: Sequence[geometry.PatchSet] = geometry.PATCH_SETS,
) -> list[Replay]:
    """``count`` images of ``size`` (height, width); their traces repeat, their pixels do not."""
    played = []
    for index in range(count):
        pixels = np.random.default_rng((7, index)).integers(0, 256, (*size, 3), dtype=np.uint8)
        script = scripts()[index % len(scripts())]
        played.append(Replay(Picture(pixels), script, iterations, Grid(tuple(sets))))
    return played
