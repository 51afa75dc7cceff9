"""What a click on an object may mean: a part of it, the whole of it, or the group that it is in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from int_bench.core.instances import Instance
from int_bench.core.types import HardMask

Granularity = Literal["part", "whole", "group"]

_RADIUS = 0.38
"""Of a part, as a share of the root of the object's area."""


def granular(kind: Granularity, objects: Sequence[Instance]) -> HardMask:
    """The mask, (H, W) bool, that a click on the first of the objects means.

    ``whole``: the object's own. ``part``: what of it lies within .38 of the root of its area from
    its point, all the object where that is nothing. ``group``: it and all objects that it touches,
    directly or through others; two touch if their boxes overlap or have an edge in common.

    Args:
        kind: which.
        objects: the object itself, then the others of its image.
    """
    own = objects[0]
    if kind == "whole":
        return own.mask
    if kind == "part":
        rows, columns = np.nonzero(own.mask)
        away = np.hypot(columns + 0.5 - own.point[0], rows + 0.5 - own.point[1])
        near = away <= _RADIUS * len(rows) ** 0.5
        part = np.zeros_like(own.mask)
        part[rows[near], columns[near]] = True
        return part if near.any() else own.mask
    group, others = [own], list(objects[1:])
    for member in group:  # grows while it is walked
        touching = [other for other in others if _touch(member, other)]
        others = [other for other in others if not _touch(member, other)]
        group += touching
    return np.asarray(np.any([member.mask for member in group], axis=0))


def _touch(first: Instance, second: Instance) -> bool:
    (a0, b0, a1, b1), (c0, d0, c1, d1) = first.box, second.box
    return a0 <= c1 and c0 <= a1 and b0 <= d1 and d0 <= b1
