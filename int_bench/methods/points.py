"""Prompt points from a Spatial CLIP heat map, as in the predecessors' code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from int_bench.core.equations import min_max
from int_bench.core.geometry import enlarge
from int_bench.core.limits import AtLeast, Share, Within
from int_bench.core.requests import Point
from int_bench.core.types import Box, SoftMask


@dataclass(frozen=True)
class PointPicker:
    """Which cells of a heat map become points.

    Attributes:
        threshold: a cell counts as hot from this value of the scaled map.
        max_points: most positive points, and as many negative ones; 0 is no cap. Reading: the
            predecessors have none, which can mean hundreds of points; 20 is ours.
        upsample: the map is enlarged this many times (bilinear) first; 0.5 halves it.
        placement: with a box, ``in_box`` keeps positives inside it and negatives outside every box;
            ``all`` keeps every point; ``none`` gives no points.
    """

    threshold: Share = 0.9
    max_points: Annotated[int, AtLeast(0)] = 20
    upsample: Annotated[float, Within(0.5, 16)] = 2
    placement: Literal["in_box", "all", "none"] = "in_box"

    @property
    def roles(self) -> frozenset[str]:
        """The model role that a masker asks for the heat map, if it is to give any points."""
        return frozenset() if self.placement == "none" else frozenset({"aligner"})

    def pick(self, heat: SoftMask, size: tuple[int, int]) -> tuple[Point, ...]:
        """The n lowest cells as negative, the n highest as positive points; at least one of each.

        Args:
            heat: (g, g) over the image squashed to a square.
            size: (height, width) of the image in pixels.

        Returns:
            Cell centres in pixels of the image, negatives first.
        """
        if self.placement == "none":
            return ()
        height, width = heat.shape
        large = (round(height * self.upsample), round(width * self.upsample))
        scaled = min_max(enlarge(heat, large))
        hot = int((scaled >= self.threshold).sum())
        count = max(1, min(hot, self.max_points or hot, scaled.size // 2))
        order = np.argsort(scaled, axis=None, kind="stable")
        lowest = [self._point(int(cell), scaled.shape, size, False) for cell in order[:count]]
        highest = [self._point(int(cell), scaled.shape, size, True) for cell in order[::-1][:count]]
        return tuple(lowest + highest)

    @staticmethod
    def _point(cell: int, grid: tuple[int, ...], size: tuple[int, int], positive: bool) -> Point:
        row, column = divmod(cell, grid[1])
        x, y = (column + 0.5) * size[1] / grid[1], (row + 0.5) * size[0] / grid[0]
        return Point(x, y, positive)

    def place(
        self, points: tuple[Point, ...], box: Box, boxes: tuple[Box, ...]
    ) -> tuple[Point, ...]:
        """The points that go with one of several boxes, all in the same frame."""
        if self.placement != "in_box":
            return points
        kept = (
            point
            for point in points
            if (inside(point, box) if point.positive else not any(inside(point, b) for b in boxes))
        )
        return tuple(kept)


def inside(point: Point, box: Box) -> bool:
    """Whether a point lies in a box of the same frame."""
    return box[0] <= point.x < box[2] and box[1] <= point.y < box[3]
