"""Charts as plain SVG: positions are computed here, the template draws them.

Every chart is 460 x 260 units with its axes at fixed margins. Colours are classes of the style
sheet, so that both themes and both runs are told apart there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from int_bench.core.types import Values

WIDTH, HEIGHT = 460, 260
LEFT, RIGHT, TOP, BOTTOM = 46, 450, 30, 216


@dataclass(frozen=True)
class Tick:
    """A place on an axis, in units of the chart, and what is written there."""

    at: float
    label: str


@dataclass(frozen=True)
class Axis:
    """From numbers to places; logarithmic where ``log``, ticks at whole numbers where ``whole``."""

    title: str
    low: float
    high: float
    start: float
    end: float
    log: bool = False
    whole: bool = False

    def at(self, value: float) -> float:
        """The place of a number, within the chart."""
        low, high, number = (self._scaled(v) for v in (self.low, self.high, value))
        share = (number - low) / ((high - low) or 1.0)
        return round(self.start + min(max(share, 0.0), 1.0) * (self.end - self.start), 2)

    @property
    def ticks(self) -> list[Tick]:
        """Round numbers along the axis."""
        return [Tick(self.at(value), label) for value, label in self._marks()]

    def _marks(self) -> list[tuple[float, str]]:
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            values = [10.0**power for power in range(first, last + 1)]
            inside = [value for value in values if self.low <= value * 1.001 <= self.high * 1.01]
            return [(value, f"{value:g}") for value in inside]
        step = nice_step(self.high - self.low)
        if self.whole:
            step = max(1.0, step)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [(number * step, f"{number * step:g}") for number in range(first, last + 1)]

    def _scaled(self, value: float) -> float:
        return math.log10(max(value, self.low * 0.5)) if self.log else value


@dataclass(frozen=True)
class Dot:
    """An image in a scatter plot; ``image`` is its number on the page."""

    x: float
    y: float
    image: int


@dataclass(frozen=True)
class Bar:
    """A bar of a histogram."""

    x: float
    y: float
    width: float
    height: float
    count: int
    label: str


@dataclass(frozen=True)
class Rule:
    """A vertical line with a word: a mean, a floor."""

    at: float
    label: str
    kind: str


@dataclass(frozen=True)
class Series:
    """What one run adds to a chart; ``kind`` is its class: ``a`` or ``b``, ``f`` and ``e``, ..."""

    name: str
    kind: str
    bars: tuple[Bar, ...] = ()
    dots: tuple[Dot, ...] = ()
    path: str = ""


@dataclass(frozen=True)
class Chart:
    """One chart with its words."""

    title: str
    note: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    rules: tuple[Rule, ...] = ()
    diagonal: str = ""
    legend: bool = field(default=False)


def nice_step(span: float, wanted: int = 5) -> float:
    """A step of 1, 2 or 5 times a power of ten that cuts a span into about ``wanted`` parts.

    >>> nice_step(1.0), nice_step(255), nice_step(0.03)
    (0.2, 50.0, 0.01)
    """
    rough = max(span, 1e-9) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    factor = next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.98)
    return factor * power


def axis_x(title: str, low: float, high: float, log: bool = False) -> Axis:
    """The axis below."""
    return Axis(title, low, high, LEFT, RIGHT, log)


def axis_y(title: str, low: float, high: float) -> Axis:
    """The axis at the left."""
    return Axis(title, low, high, BOTTOM, TOP)


def histogram(
    title: str, note: str, of: Sequence[tuple[str, str, Values]], rules: Sequence[tuple[float, str]]
) -> Chart:
    """How scores are spread over images: bars of a twentieth, of several runs side by side.

    Args:
        title: of the chart.
        note: beneath it.
        of: name, kind and scores, (n,), of each run.
        rules: numbers to be marked, and what they are.
    """
    everything = np.concatenate([values for _, _, values in of])
    low, high = min(0.0, float(everything.min())), max(1.0, float(everything.max()))
    edges = np.linspace(low, high, 21)
    counts = [np.histogram(values, edges)[0] for _, _, values in of]
    x = axis_x("score", low, high)
    most = max(int(count.max()) for count in counts)
    y = Axis("images", 0, max(1, most), BOTTOM, TOP, whole=True)
    wide = (RIGHT - LEFT) / 20 / len(of)
    series = []
    for number, ((name, kind, _), heights) in enumerate(zip(of, counts, strict=True)):
        bars = tuple(
            Bar(
                round(x.at(edge) + number * wide + 0.5, 2),
                y.at(count),
                round(wide - 1, 2),
                round(BOTTOM - y.at(count), 2),
                int(count),
                f"{edge:.2f} to {edge + (high - low) / 20:.2f}",
            )
            for edge, count in zip(edges[:-1], heights, strict=True)
            if count
        )
        series.append(Series(name, kind, bars=bars))
    marks = tuple(Rule(x.at(value), word, "floor" if i else "mean")
                  for i, (value, word) in enumerate(rules))  # fmt: skip
    return Chart(title, note, x, y, tuple(series), marks, legend=len(of) > 1)


def scatter(
    words: tuple[str, str], x: Axis, y: Axis, of: Sequence[tuple[str, str, Sequence[Dot]]]
) -> Chart:
    """Images as dots.

    Args:
        words: title and note.
        x: the axis below.
        y: the axis at the left.
        of: name, kind and dots, in numbers of the axes.
    """
    series = tuple(
        Series(name, kind, dots=tuple(Dot(x.at(d.x), y.at(d.y), d.image) for d in dots))
        for name, kind, dots in of
    )
    return Chart(*words, x, y, series, legend=len(of) > 1)


def lines(
    words: tuple[str, str], x: Axis, y: Axis, of: Sequence[tuple[str, str, Values, Values]]
) -> Chart:
    """Curves; of each its name, kind, and the numbers along both axes."""
    series = tuple(Series(name, kind, path=_path(x, y, along, up)) for name, kind, along, up in of)
    return Chart(*words, x, y, series, legend=len(of) > 1)


def _path(x: Axis, y: Axis, along: Values, up: Values) -> str:
    """Straight lines through the points, those left out that repeat the one before."""
    places = [(x.at(float(a)), y.at(float(b))) for a, b in zip(along, up, strict=True)]
    kept = [
        place for number, place in enumerate(places) if number == 0 or place != places[number - 1]
    ]
    return "M" + "L".join(f"{a:g} {b:g}" for a, b in kept)
