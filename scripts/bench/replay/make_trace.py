"""Writes ``trace.json``: the control flow that every executor of ``gpu.py`` replays.

    python -m scripts.bench.replay.make_trace

For each of four images: the tokens of each answer, the candidates, what is erased and kept in each
iteration, the boxes and points of each patch. All places are fractions of their frame.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

TRACE = Path(__file__).with_name("trace.json")
PATCHES, ITERATIONS, IMAGES = 9, 4, 4
_NAMES = (
    ("frog", "leaf tailed gecko", "stick insect", "owl", "moth"),
    ("sea horse", "great grey sea snake", "crab", "pygmy sea horse", "frog"),
    ("owl", "moth", "frog", "stick insect"),
    ("crab", "sea horse", "owl", "leaf tailed gecko", "stick insect", "moth"),
)


def draw(index: int) -> dict[str, Any]:
    """The trace of one image."""
    draws = np.random.default_rng((2026, index))
    centre, radii = draws.uniform(0.35, 0.65, 2), draws.uniform(0.12, 0.3, 2)
    steps = [
        {
            "ellipse": _rounded([*(centre + draws.normal(0, 0.02, 2)), *radii]),
            "chosen": int(draws.integers(len(_NAMES[index]))),
            "boxes": [_boxes(draws) for _ in range(PATCHES)],
            "points": draws.integers(1, 5, PATCHES).tolist(),
        }
        for _ in range(ITERATIONS)
    ]
    return {"answers": [16, 3, 3, 24], "names": list(_NAMES[index]), "iterations": steps}


def _boxes(draws: np.random.Generator) -> list[list[float]]:
    """One or two boxes, x0, y0, x1, y1."""
    corners = draws.uniform(0.05, 0.45, (int(draws.integers(1, 3)), 2))
    return [_rounded([*corner, *(corner + draws.uniform(0.3, 0.5, 2))]) for corner in corners]


def _rounded(values: list[float]) -> list[float]:
    return [round(float(value), 3) for value in values]


if __name__ == "__main__":
    TRACE.write_text(json.dumps([draw(index) for index in range(IMAGES)], indent=None) + "\n")
