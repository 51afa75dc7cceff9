"""Silhouettes, features and skin patterns of the drawn world's animals.

An animal lives in its own frame: x to the right and y downwards, its body within about [-1, 1].
Silhouettes are signed distances in that frame (negative inside); features are further distances
with a tone, positive for bright and negative for dark. Distances are approximate where that draws
the same picture.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]
Point = tuple[float, float]


@dataclass(frozen=True)
class Silhouette:
    """Outline and features of one animal in its own frame.

    Attributes:
        distance: signed distance to the outline, negative inside.
        features: signed distance and tone of each feature, painted in this order.
    """

    distance: Field
    features: tuple[tuple[Field, float], ...]


def _ellipse(
    x: npt.NDArray[np.floating], y: npt.NDArray[np.floating], centre: Point, radii: Point
) -> Field:
    u, v = (x - centre[0]) / radii[0], (y - centre[1]) / radii[1]
    return np.asarray((np.sqrt(u * u + v * v + 1e-9) - 1.0) * min(radii), dtype=np.float32)


def _limb(x: Field, y: Field, start: Point, end: Point, radii: Point) -> Field:
    """Capsule between two points whose radius changes linearly."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = ((x - start[0]) * dx + (y - start[1]) * dy) / (dx * dx + dy * dy + 1e-6)
    along = np.clip(along, 0.0, 1.0)
    away = np.hypot(x - start[0] - along * dx, y - start[1] - along * dy)
    return np.asarray(away - (radii[0] + (radii[1] - radii[0]) * along), dtype=np.float32)


def _union(*parts: Field) -> Field:
    return np.asarray(np.minimum.reduce(parts), dtype=np.float32)


def _jitter(rng: np.random.Generator, most: float) -> float:
    return float(rng.uniform(-most, most))


def _frog(x: Field, y: Field, rng: np.random.Generator) -> Silhouette:
    side, knee = np.abs(x), _jitter(rng, 0.1)
    outline = _union(
        _ellipse(x, y, (0.0, 0.1), (0.42, 0.5)),
        _ellipse(x, y, (0.0, -0.42), (0.34, 0.27)),
        _ellipse(side, y, (0.24, -0.6), (0.15, 0.15)),
        _limb(side, y, (0.3, 0.4), (0.82 + knee, 0.2), (0.14, 0.11)),
        _limb(side, y, (0.82 + knee, 0.2), (0.62, 0.82), (0.11, 0.07)),
        _limb(side, y, (0.62, 0.82), (0.92, 0.92), (0.07, 0.09)),
        _limb(side, y, (0.3, -0.15), (0.72, -0.3 + knee), (0.1, 0.07)),
        _limb(side, y, (0.72, -0.3 + knee), (0.78, -0.62), (0.07, 0.08)),
    )
    eye, pupil = [_ellipse(side, y, (0.24, -0.6), (r, r)) for r in (0.11, 0.05)]
    return Silhouette(outline, ((eye, 1.0), (pupil, -1.5)))


def _snake(x: Field, y: Field, rng: np.random.Generator) -> Silhouette:
    swing, waves = rng.uniform(0.22, 0.36), rng.uniform(3.2, 4.6)
    phase = rng.uniform(0.0, 2.0 * np.pi)
    slope = np.sqrt(1.0 + (swing * waves * np.cos(waves * x + phase)) ** 2)
    thickness = 0.19 * (0.35 + 0.65 * np.clip((x + 1.05) / 1.0, 0.0, 1.0))
    body = np.abs(y - swing * np.sin(waves * x + phase)) / slope - thickness
    body = np.maximum(body, np.abs(x) - 1.0).astype(np.float32)
    head = float(swing * np.sin(waves + phase))
    eyes = [_ellipse(x, y, (1.08, head + dy), (0.05, 0.05)) for dy in (-0.07, 0.07)]
    outline = _union(body, _ellipse(x, y, (1.02, head), (0.25, 0.2)))
    return Silhouette(outline, ((eyes[0], 1.2), (eyes[1], 1.2)))


def _fish(x: Field, y: Field, rng: np.random.Generator) -> Silhouette:
    tip = 0.62 + _jitter(rng, 0.05)
    tail = np.maximum(np.maximum(x + 0.45, -(x + 1.0)), np.abs(y) - (0.08 - 0.85 * (x + 0.45)))
    fin = np.maximum(np.maximum(-(x + 0.3), y + 0.2), -y - (tip - 0.8 * np.abs(x - 0.1)))
    body = _ellipse(x, y, (0.12, 0.0), (0.68, 0.36))
    outline = _union(body, (0.8 * tail).astype(np.float32), (0.8 * fin).astype(np.float32))
    eye = _ellipse(x, y, (0.52, -0.08), (0.1, 0.1))
    return Silhouette(outline, ((eye, 1.2), (_ellipse(x, y, (0.54, -0.08), (0.05, 0.05)), -1.5)))


def _owl(x: Field, y: Field, rng: np.random.Generator) -> Silhouette:
    side = np.abs(x)
    outline = _union(
        _ellipse(x, y, (0.0, 0.2), (0.5, 0.72)),
        _ellipse(x, y, (0.0, -0.45), (0.47, 0.4)),
        _limb(side, y, (0.28, -0.65), (0.42, -0.98 + _jitter(rng, 0.05)), (0.13, 0.02)),
        _limb(side, y, (0.18, 0.85), (0.2, 1.0), (0.08, 0.08)),
    )
    eye, pupil = [_ellipse(side, y, (0.2, -0.48), (r, r)) for r in (0.18, 0.08)]
    beak = _limb(x, y, (0.0, -0.36), (0.0, -0.24), (0.05, 0.01))
    return Silhouette(outline, ((eye, 1.1), (pupil, -1.6), (beak, -1.0)))


def _crab(x: Field, y: Field, rng: np.random.Generator) -> Silhouette:
    side, reach = np.abs(x), _jitter(rng, 0.08)
    claw = _union(
        _limb(side, y, (0.42, -0.12), (0.75 + reach, -0.38), (0.07, 0.08)),
        _ellipse(side, y, (0.72 + reach, -0.62), (0.2, 0.26)),
    )
    notch = _limb(side, y, (0.68 + reach, -0.62), (0.62 + reach, -0.95), (0.01, 0.09))
    legs = [
        part
        for i in range(3)
        for part in (
            _limb(side, y, (0.45, 0.05 + 0.12 * i), (0.82, 0.2 * i), (0.055, 0.05)),
            _limb(side, y, (0.82, 0.2 * i), (0.95, 0.25 + 0.22 * i), (0.05, 0.03)),
        )
    ]
    shell = _ellipse(x, y, (0.0, 0.05), (0.55, 0.36))
    stalk = _limb(side, y, (0.14, -0.25), (0.17, -0.45), (0.03, 0.05))
    outline = _union(shell, np.maximum(claw, -notch), stalk, *legs)
    return Silhouette(outline, ((_ellipse(side, y, (0.17, -0.45), (0.06, 0.06)), -1.4),))


def _moth(x: Field, y: Field, rng: np.random.Generator) -> Silhouette:
    side, lift = np.abs(x), _jitter(rng, 0.08)
    along, across = 0.8 * side + 0.35 * y, 0.9 * y - 0.35 * side
    fore = _ellipse(along, across, (0.42, -0.42 + lift), (0.5, 0.3))
    hind = _ellipse(side, y, (0.36, 0.36 + lift), (0.36, 0.32))
    body = _ellipse(x, y, (0.0, 0.0), (0.1, 0.55))
    feeler = _limb(side, y, (0.03, -0.5), (0.25, -0.85), (0.03, 0.025))
    spot, centre = [_ellipse(side, y, (0.55, -0.12), (r, r)) for r in (0.14, 0.07)]
    features = ((spot, 1.0), (centre, -1.5), (body + np.float32(0.02), -0.7))
    return Silhouette(_union(fore, hind, body, feeler), features)


def _lizard(x: Field, y: Field, rng: np.random.Generator) -> Silhouette:
    bend = _jitter(rng, 0.15)
    y = (y - 0.1 * np.sin(2.5 * x + 8.0 * bend)).astype(np.float32)
    side = np.abs(y)
    outline = _union(
        _ellipse(x, y, (0.25, 0.0), (0.42, 0.22)),
        _ellipse(x, y, (0.78, 0.0), (0.24, 0.17)),
        _limb(x, y, (-0.05, 0.0), (-1.05, 0.18 + bend), (0.17, 0.03)),
        _limb(x, side, (0.5, 0.1), (0.58 + bend, 0.42), (0.08, 0.07)),
        _limb(x, side, (0.58 + bend, 0.42), (0.75, 0.5), (0.07, 0.07)),
        _limb(x, side, (0.02, 0.1), (-0.1 + bend, 0.42), (0.08, 0.07)),
        _limb(x, side, (-0.1 + bend, 0.42), (0.08, 0.55), (0.07, 0.07)),
    )
    return Silhouette(outline, ((_ellipse(x, side, (0.8, 0.1), (0.045, 0.045)), -1.4),))


def _spider(x: Field, y: Field, rng: np.random.Generator) -> Silhouette:
    side = np.abs(x)
    parts = [
        _ellipse(x, y, (0.0, 0.28), (0.36, 0.42)),
        _ellipse(x, y, (0.0, -0.2), (0.24, 0.23)),
    ]
    for first, second in ((-1.1, -1.15), (-0.45, -0.5), (0.25, 0.35), (0.95, 1.1)):
        bend = _jitter(rng, 0.1)
        knee = (0.1 + 0.58 * np.cos(first), -0.15 + 0.46 * np.sin(first) + 0.5 * bend)
        foot = (0.18 + np.cos(second), -0.15 + np.sin(second) + bend)
        parts.append(_limb(side, y, (0.12, -0.15), knee, (0.06, 0.055)))
        parts.append(_limb(side, y, knee, foot, (0.055, 0.03)))
    return Silhouette(_union(*parts), ((_ellipse(side, y, (0.07, -0.3), (0.035, 0.035)), -1.4),))


def _polyp(x: Field, y: Field, rng: np.random.Generator) -> Silhouette:
    centre = (-0.2 + _jitter(rng, 0.15), -0.25 + _jitter(rng, 0.15))
    highlight = _ellipse(x, y, centre, (0.13, 0.08))
    return Silhouette(_ellipse(x, y, (0.0, 0.0), (0.8, 0.68)), ((highlight, 1.6),))


def _lesion(x: Field, y: Field, rng: np.random.Generator) -> Silhouette:
    spots = [
        _ellipse(x, y, (_jitter(rng, 0.3), _jitter(rng, 0.3)), radii)
        for radii in ((0.25, 0.2), (0.12, 0.12))
    ]
    outline = _ellipse(x, y, (0.0, 0.0), (0.72, 0.62))
    return Silhouette(outline, ((spots[0], -0.9), (spots[1], -0.9)))


def _adenoma(x: Field, y: Field, rng: np.random.Generator) -> Silhouette:
    return Silhouette(_ellipse(x, y, (0.0, 0.0), (0.8, 0.72 + _jitter(rng, 0.05))), ())


def _serrated(x: Field, y: Field, rng: np.random.Generator) -> Silhouette:
    return Silhouette(_ellipse(x, y, (0.0, 0.0), (0.98, 0.5 + _jitter(rng, 0.05))), ())


def _villous(x: Field, y: Field, rng: np.random.Generator) -> Silhouette:
    turns = np.arange(5) * 2.0 * np.pi / 5.0 + rng.uniform(0.0, 2.0 * np.pi)
    lobes = [_ellipse(x, y, (0.5 * np.cos(t), 0.5 * np.sin(t)), (0.4, 0.4)) for t in turns]
    return Silhouette(_union(_ellipse(x, y, (0.0, 0.0), (0.5, 0.5)), *lobes), ())


def _melanoma(x: Field, y: Field, rng: np.random.Generator) -> Silhouette:
    side = (0.35 + _jitter(rng, 0.1), 0.25 + _jitter(rng, 0.1))
    second = _ellipse(x, y, side, (0.5, 0.4))
    return Silhouette(_union(_ellipse(x, y, (-0.15, -0.1), (0.65, 0.5)), second), ())


def _keratosis(x: Field, y: Field, rng: np.random.Generator) -> Silhouette:
    return Silhouette(_ellipse(x, y, (0.0, 0.0), (0.75, 0.62 + _jitter(rng, 0.06))), ())


def _carcinoma(x: Field, y: Field, rng: np.random.Generator) -> Silhouette:
    radius = 0.72 + _jitter(rng, 0.04)
    return Silhouette(_ellipse(x, y, (0.0, 0.0), (radius, radius)), ())


def _fold(x: Field, y: Field, rng: np.random.Generator) -> Silhouette:
    bend = 0.45 + _jitter(rng, 0.2)
    return Silhouette(_ellipse(x, y + bend * (x * x - 0.4), (0.0, 0.0), (1.15, 0.33)), ())


def _bubble(x: Field, y: Field, rng: np.random.Generator) -> Silhouette:
    return Silhouette(_ellipse(x, y, (0.0, 0.0), (0.55, 0.52 + _jitter(rng, 0.03))), ())


def _highlight(x: Field, y: Field, rng: np.random.Generator) -> Silhouette:
    drops = [
        _ellipse(x, y, (_jitter(rng, 0.6), _jitter(rng, 0.4)), (0.3 - 0.05 * i, 0.16))
        for i in range(3)
    ]
    return Silhouette(_union(*drops), ())


def _mole(x: Field, y: Field, rng: np.random.Generator) -> Silhouette:
    return Silhouette(_ellipse(x, y, (0.0, 0.0), (0.62, 0.56 + _jitter(rng, 0.05))), ())


def _hair(x: Field, y: Field, rng: np.random.Generator) -> Silhouette:
    strands = []
    for _ in range(3):
        bend, height, slope = _jitter(rng, 0.5), _jitter(rng, 0.5), _jitter(rng, 0.5)
        line = np.abs(y - height - slope * x - bend * (x * x - 0.4)).astype(np.float32)
        strands.append(np.maximum(0.8 * line - 0.045, np.abs(x) - 1.1))
    return Silhouette(_union(*strands), ())


def _ink(x: Field, y: Field, rng: np.random.Generator) -> Silhouette:
    strokes = [
        _limb(x, y, (-0.8, at), (0.8, at + _jitter(rng, 0.15)), (0.09, 0.07))
        for at in (-0.35, 0.35)
    ]
    across = _limb(x, y, (0.0, -0.75), (_jitter(rng, 0.2), 0.75), (0.09, 0.07))
    return Silhouette(_union(*strokes, across), ())


_SILHOUETTES: tuple[Callable[[Field, Field, np.random.Generator], Silhouette], ...] = (
    _frog, _snake, _fish, _owl, _crab, _moth, _lizard, _spider, _polyp, _lesion,
    _adenoma, _serrated, _villous, _melanoma, _keratosis, _carcinoma,
    _fold, _bubble, _highlight, _mole, _hair, _ink,
)  # fmt: skip


def silhouette(name: int, x: Field, y: Field, rng: np.random.Generator) -> Silhouette:
    """Outline and features of an animal, with a small random pose.

    Args:
        name: index into camoworld_names.NAMES.
        x: horizontal coordinate of each pixel in the animal's frame.
        y: vertical coordinate, downwards.
        rng: generator that the pose is drawn from.
    """
    return _SILHOUETTES[name](x, y, rng)


def _waves(x: Field, y: Field) -> tuple[Callable[[], Field], ...]:
    """The skin patterns in the order of NAMES, without clutter; evaluated only when called."""
    f = 9.0
    return (
        lambda: 2.0 * np.cos(1.2 * f * x) * np.cos(1.2 * f * y) - 0.3,  # spots
        lambda: 0.8 * np.sign(np.cos(f * (x + y)) + np.cos(f * (x - y))),  # diamonds
        lambda: np.cos(2.2 * f * x),  # fine stripes
        lambda: np.cos(2.0 * f * np.hypot(x, y)),  # rings
        lambda: 0.8 * np.sign(np.cos(1.3 * f * x) * np.cos(1.3 * f * y)),  # checks
        lambda: np.cos(1.6 * f * (np.abs(y) + 0.6 * np.abs(x))),  # chevrons
        lambda: 1.6 * np.maximum(np.cos(2.0 * f * x), np.cos(2.0 * f * y)) - 0.9,  # net
        lambda: np.cos(f * y),  # broad bars
        lambda: np.zeros_like(x),  # polyp
        lambda: np.zeros_like(x),  # lesion
        lambda: 2.0 * np.cos(f * x) * np.cos(f * y) - 0.3,  # adenoma: round pits
        lambda: np.cos(1.6 * f * np.hypot(x, 1.7 * y)),  # serrated: long rings
        lambda: np.cos(1.5 * f * x + 1.5 * np.sin(0.8 * f * y)),  # villous: winding ridges
        lambda: 1.6 * np.maximum(np.cos(1.6 * f * x), np.cos(1.6 * f * y)) - 0.9,  # melanoma: net
        lambda: np.cos(1.3 * f * y + 1.5 * np.sin(0.8 * f * x)),  # keratosis: winding ridges
        lambda: np.cos(1.6 * f * np.hypot(x, y)),  # carcinoma: rings
    )


def skin_pattern(name: int, x: Field, y: Field) -> Field:
    """Pattern of an animal's skin, in its own frame.

    The pattern is what makes a name learnable in minutes: nets find textures a hundred times sooner
    than silhouettes. Clutter, and the polyps and lesions of world 1, have none.

    Returns:
        Float32 like ``x``, within [-1.2, 1.2], about zero mean.
    """
    patterns = _waves(x, y)
    if name >= len(patterns):
        return np.zeros_like(x)
    return np.clip(patterns[name](), -1.2, 1.2).astype(np.float32)
