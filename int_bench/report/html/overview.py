"""The charts of a page: scores over images, against the size of objects, over thresholds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy import stats

from int_bench.core.text import shown
from int_bench.core.types import Values
from int_bench.report.html.charts import Axis, Chart, Dot, axis_x, axis_y, histogram, lines, scatter
from int_bench.report.html.measured import Curves, spread
from int_bench.report.html.page import FIRST_METRIC, Page

_KINDS = ("a", "b")
_DOTS = 1500
"""Dots of a scatter plot; of more images a part is drawn, evenly."""


def charts(page: Page) -> list[Chart]:
    """All that there is to draw."""
    drawn = []
    if page.metrics and page.metrics[0]["key"] == FIRST_METRIC:
        drawn += [*_spread(page), *_by_size(page), *_against(page)]
    return [*drawn, *_curves(page)]


def _scores(page: Page, run: int) -> dict[int, float]:
    """The first metric of the images that have a score, by number."""
    scores = ((i, entry["runs"][run]["scores"][0]) for i, entry in enumerate(page.entries))
    return {i: score for i, score in scores if score is not None}


def _named(page: Page) -> list[tuple[int, str, str]]:
    return [(i, shown(side.label), _KINDS[i]) for i, side in enumerate(page.sides)]


def _spread(page: Page) -> Iterator[Chart]:
    of = [(name, kind, np.array(list(_scores(page, i).values()))) for i, name, kind in _named(page)]
    of = [item for item in of if item[2].size]
    if not of:
        return
    rules = [(float(of[0][2].mean()), f"mean {of[0][2].mean():.3f}")]
    floors = {
        kind: float(np.mean([row.values["S"] for row in rows.values()]))
        for kind, rows in page.measured.floor.items()
        if rows
    }
    if floors:
        best = max(floors, key=lambda kind: floors[kind])
        rules.append((floors[best], f"floor: {best.replace('_', ' ')} {floors[best]:.3f}"))
    n = max(values.size for _, _, values in of)
    yield histogram(
        "Sα of each image", f"{n} images, protocol native; higher is better.", of, rules
    )


def _by_size(page: Page) -> Iterator[Chart]:
    areas = {number: area for number, area in page.measured.areas.items() if area > 0}
    of, notes = list[tuple[str, str, Sequence[Dot]]](), []
    for i, name, kind in _named(page):
        scores = _scores(page, i)
        both = [number for number in sorted(areas) if number in scores]
        if len(both) < 2:
            return
        shares = np.array([100 * areas[number] for number in both])
        values = np.array([scores[number] for number in both])
        notes.append(
            f"{name + ': ' if len(page.sides) > 1 else ''}{_rank_correlation(shares, values)}"
        )
        kept = spread(len(both), _DOTS)
        of.append((name, kind, [Dot(shares[k], values[k], both[k]) for k in kept]))
    low, high = 100 * min(areas.values()), 100 * max(areas.values())
    x = axis_x(
        "object, % of the image", max(low * 0.9, 1e-3), min(high * 1.1, 100.0), log=high > 4 * low
    )
    yield scatter(
        ("Sα against the size of the object", "; ".join(notes) + ". A dot opens its image."),
        x,
        _unit(of),
        of,
    )


def _rank_correlation(x: Values, y: Values) -> str:
    if np.ptp(x) == 0 or np.ptp(y) == 0 or x.size < 3:
        return f"{x.size} images"
    return f"{x.size} images, rank correlation {stats.spearmanr(x, y).statistic:+.2f}"


def _unit(of: Sequence[tuple[str, str, Sequence[Dot]]]) -> Axis:
    least = min((dot.y for _, _, dots in of for dot in dots), default=0.0)
    return axis_y("Sα", min(0.0, least), 1.0)


def _against(page: Page) -> Iterator[Chart]:
    """Of two runs, image by image, what one reached against the other."""
    if len(page.sides) < 2:
        return
    first, second = _scores(page, 0), _scores(page, 1)
    both = [number for number in first if number in second]
    if not both:
        return
    kept = spread(len(both), _DOTS)
    dots = [Dot(first[both[k]], second[both[k]], both[k]) for k in kept]
    x, y = axis_x("Sα of A", 0, 1), axis_y("Sα of B", 0, 1)
    words = "B against A, image by image", "Above the line B is better. A dot opens its image."
    chart = scatter(words, x, y, [("images", "a", dots)])
    diagonal = f"M{x.at(0)} {y.at(0)}L{x.at(1)} {y.at(1)}"
    yield Chart(chart.title, chart.note, x, y, chart.series, diagonal=diagonal)


def _curves(page: Page) -> Iterator[Chart]:
    known = [
        (i, name, summed.curves())
        for (i, name, _), summed in zip(_named(page), page.measured.curves, strict=True)
    ]
    of: list[tuple[int, str, Curves]] = [(i, name, c) for i, name, c in known if c is not None]
    if not of:
        return
    note = " ".join(_of_what(name, curves, len(of) > 1) for _, name, curves in of)
    thresholds = np.arange(255, -1, -1).astype(np.float64)
    measures: list[Any] = []
    for i, name, curves in of:
        before = f"{name}: " if len(of) > 1 else ""
        measures += [(f"{before}Fβ", ("f", "f2")[i], thresholds, curves.f),
                     (f"{before}Eφ", ("e", "e2")[i], thresholds, curves.e)]  # fmt: skip
    x, y = axis_x("threshold", 0, 255), axis_y("mean over images", 0, 1)
    yield lines(("Fβ and Eφ over the threshold", note), x, y, measures)
    ratios = [(name, _KINDS[i], curves.recall, curves.precision) for i, name, curves in of]
    yield lines(
        ("Precision and recall", note), axis_x("recall", 0, 1), axis_y("precision", 0, 1), ratios
    )


def _of_what(name: str, curves: Curves, several: bool) -> str:
    before = f"{name}: " if several else ""
    if curves.soft == 0:
        return f"{before}{curves.n} images; hard masks, hence flat (keep=soft)."
    rest = f"; {curves.n - curves.soft} of them are hard" if curves.soft < curves.n else ""
    return f"{before}soft masks of {curves.n} images{rest}."
