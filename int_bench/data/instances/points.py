"""The one click per object that point supervision knows, drawn from its mask once and for all.

Points depend on (seed, annotation id, mask) alone, so that order, splits and limits change none.
Coordinates are x, y in pixels of the image; the centre of the top left pixel is (0.5, 0.5).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from int_bench.core.files import expanded, read_plain
from int_bench.core.geometry import bounds
from int_bench.core.seeding import derive_seed
from int_bench.core.typed import Malformed, parsed
from int_bench.core.types import HardMask
from int_bench.errors import MissingAsset

Drawn = Literal["qc", "uniform", "centroid"]
"""Points that are made from masks; see :func:`point_of`."""

_SPREAD = 0.25
"""Standard deviation of quasi-centre points, as a share of the box's sides."""
_SEMI_AXIS, _LONGEST = 0.125, 96.0
"""Semi-axes of the ellipse that quasi-centre points lie in: a share of the sides; pixels."""


def point_of(mask: HardMask, kind: Drawn, seed: int, annotation: str) -> tuple[float, float]:
    """A point (x, y) within a pixel of the mask.

    ``qc``: quasi-centre points of P2BNet (ECCV 2022), as SAPNet (arXiv 2312.15895) uses them: with
    u, v in [-.5, .5] across the tight box, pixels are drawn with the weight
    exp(-(u^2 + v^2) / (2 * .25^2)) inside the mask and an ellipse at the box's centre whose
    semi-axes are an eighth of the sides, 96 pixels at most; where mask and ellipse do not meet,
    the ellipse does not count.
    ``uniform``: any pixel of the mask.
    ``centroid``: the centre of the pixel of the mask that is nearest to its mean; no chance.

    The first two are shifted within their pixel by U(-.5, .5) on either axis.
    Reading: in a box with a side below two pixels the release takes a corner of the polygon; we
    take any pixel of the mask, since masks need not be polygons.

    Args:
        mask: (H, W) bool, not empty.
        kind: which.
        seed: of all points of a data set.
        annotation: the object's id.
    """
    rows, columns = np.nonzero(mask)
    if kind == "centroid":
        away = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
        nearest = int(np.argmin(away))
        return float(columns[nearest]) + 0.5, float(rows[nearest]) + 0.5
    rng = np.random.default_rng(derive_seed("point", seed, annotation))
    weights = _quasi_centre(mask, rows, columns) if kind == "qc" else np.ones(len(rows))
    drawn = int(rng.choice(len(rows), p=weights / weights.sum()))
    x, y = rng.uniform(0.0, 1.0, 2)
    return float(columns[drawn] + x), float(rows[drawn] + y)


def _quasi_centre(
    mask: HardMask, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """The weight of each pixel of the mask, (N,) and none of them negative, some above 0."""
    vertical, horizontal = bounds(mask)
    width, height = horizontal.stop - horizontal.start, vertical.stop - vertical.start
    if min(width, height) < 2:
        return np.ones(len(rows))
    across = columns + 0.5 - (horizontal.start + horizontal.stop) / 2.0
    down = rows + 0.5 - (vertical.start + vertical.stop) / 2.0
    weights = np.exp(-((across / width) ** 2 + (down / height) ** 2) / (2.0 * _SPREAD**2))
    semi_x, semi_y = (min(_LONGEST, _SEMI_AXIS * side) for side in (width, height))
    inside = (across / semi_x) ** 2 + (down / semi_y) ** 2 <= 1.0
    return np.asarray(weights * inside if inside.any() else weights, dtype=np.float64)


def read_points(file: str | Path) -> dict[str, tuple[float, float]]:
    """Points that somebody clicked: a JSON object of ``[x, y]`` by the ids of the objects.

    Raises:
        MissingAsset: the file is not there, or holds anything else.
    """
    path = expanded(file)
    try:
        points = parsed(read_plain(path))
    except OSError as error:
        raise MissingAsset(f"File of points {path}: {error.strerror or error}.") from error
    except Malformed as error:
        raise MissingAsset(f"File of points {path}: {error}.") from error
    if not isinstance(points, dict):
        raise MissingAsset(f"File of points {path}: it is no object of [x, y] by ids.")
    for object_id, point in points.items():
        if not (isinstance(point, list) and len(point) == 2 and all(map(_is_finite, point))):
            raise MissingAsset(f"File of points {path}: the point of {object_id} is no [x, y].")
    return {object_id: (float(x), float(y)) for object_id, (x, y) in points.items()}


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e9 and math.isfinite(value)
