"""Points from heat maps."""

from __future__ import annotations

import numpy as np

from int_bench.core.requests import Point
from int_bench.methods.points import PointPicker


def test_highest_and_lowest_cells_at_their_centres() -> None:
    heat = np.array([[0.0, 0.2], [0.4, 1.0]], dtype=np.float32)
    points = PointPicker(upsample=1).pick(heat, (20, 40))
    assert points == (Point(10.0, 5.0, False), Point(30.0, 15.0, True))


def test_cap_threshold_and_constant_map() -> None:
    heat = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    hot = int((heat >= 0.5).sum())
    assert len(PointPicker(threshold=0.5, max_points=0, upsample=1).pick(heat, (8, 8))) == 2 * hot
    assert len(PointPicker(threshold=0.5, max_points=3, upsample=1).pick(heat, (8, 8))) == 6
    flat = np.zeros((4, 4), dtype=np.float32)
    points = PointPicker().pick(flat, (8, 8))
    assert sum(p.positive for p in points) == sum(not p.positive for p in points) == 1
    assert PointPicker(placement="none").pick(heat, (8, 8)) == ()


def test_enlarging_keeps_the_peak_in_place() -> None:
    heat = np.zeros((4, 4), dtype=np.float32)
    heat[1, 2] = 1.0
    best = PointPicker(max_points=1).pick(heat, (40, 40))[-1]
    assert 20 <= best.x < 30 and 10 <= best.y < 20


def test_placement_with_boxes() -> None:
    points = (Point(5, 5, True), Point(25, 5, True), Point(5, 6, False), Point(15, 5, False))
    boxes = ((0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0))
    assert PointPicker().place(points, boxes[0], boxes) == (points[0], points[3])
    assert PointPicker(placement="all").place(points, boxes[0], boxes) == points
