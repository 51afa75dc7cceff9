"""Charts: the right places for the right numbers."""

from __future__ import annotations

import numpy as np
import pytest

from int_bench.report.html.charts import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    Dot,
    axis_x,
    axis_y,
    histogram,
    lines,
    scatter,
)
from int_bench.report.html.measured import CurveSum, levels_of, map_measures, spread


def test_axes_reach_from_end_to_end():
    x, y = axis_x("x", 0, 1), axis_y("y", 0, 10)
    assert (x.at(0), x.at(1), x.at(2)) == (LEFT, RIGHT, RIGHT)
    assert (y.at(0), y.at(10)) == (BOTTOM, TOP)
    assert [tick.label for tick in x.ticks] == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
    log = axis_x("x", 0.5, 60, log=True)
    assert [tick.label for tick in log.ticks] == ["1", "10"]
    assert log.at(np.sqrt(0.5 * 60)) == pytest.approx((LEFT + RIGHT) / 2, abs=0.1)


def test_a_histogram_holds_every_score():
    values = np.array([0.0, 0.03, 0.5, 0.97, 1.0])
    chart = histogram("t", "", [("int", "a", values)], [(0.5, "mean"), (0.2, "floor")])
    bars = chart.series[0].bars
    assert sum(bar.count for bar in bars) == 5
    assert max(bar.height for bar in bars) == BOTTOM - TOP
    assert [rule.kind for rule in chart.rules] == ["mean", "floor"]
    assert all(bar.x >= LEFT and bar.x + bar.width <= RIGHT for bar in bars)
    assert all(float(tick.label).is_integer() for tick in chart.y.ticks)


def test_lines_and_dots_lie_in_the_chart():
    x, y = axis_x("x", 0, 1), axis_y("y", 0, 1)
    flat = np.full(5, 0.5)
    chart = lines(("t", ""), x, y, [("f", "f", np.linspace(0, 1, 5), flat)])
    assert chart.series[0].path == f"M{LEFT} 123L147 123L248 123L349 123L{RIGHT} 123"
    dots = scatter(("t", ""), x, y, [("a", "a", [Dot(0.5, 1.0, 7)])]).series[0].dots
    assert dots == (Dot((LEFT + RIGHT) / 2, TOP, 7),)


def test_curves_are_the_means_of_the_images():
    truth = np.zeros((4, 4), dtype=bool)
    truth[:2] = True
    soft = np.where(truth, 0.8, 0.0)
    soft[3] = 0.4  # a quarter too much below 0.4
    levels = levels_of(soft, (4, 4))
    summed = CurveSum()
    summed.add(map_measures(levels, truth), levels, truth)
    curves = summed.curves()
    # Thresholds fall from 255 to 0: nothing, the object at 0.8, the object and a row at 0.4, all.
    assert curves.recall[[0, 60, 160, 255]] == pytest.approx([0, 1, 1, 1])
    assert curves.precision[[60, 160, 255]] == pytest.approx([1, 2 / 3, 1 / 2])
    assert (curves.n, curves.soft) == (1, 1)
    assert CurveSum().curves() is None


def test_places_are_spread_evenly():
    assert list(spread(3, 5)) == [0, 1, 2]
    assert list(spread(9, 3)) == [0, 4, 8]
