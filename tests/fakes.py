"""Hand-made backbones: tiny, deterministic, their answers computable by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from int_bench.core.requests import (
    Answer,
    Detect,
    Detection,
    FirstToken,
    Heatmap,
    Inpaint,
    ObjectBag,
    Proposals,
    Score,
    Segment,
    Segmentation,
    Selection,
    SelectProposal,
    Similarity,
)


class Fake:
    """Counts calls and rows; subclasses answer."""

    def __init__(self) -> None:
        self.identity: dict[str, Any] = {"checkpoint": type(self).__name__}
        self.counters: Counter[str] = Counter()
        self.batches: list[int] = []

    def _seen(self, requests: Sequence[Any]) -> None:
        self.batches.append(len(requests))
        self.counters["rows"] += len(requests)


class RedIsAFrog(Fake):
    """A VLM that sees red pixels as a frog, and without any believes in a crab.

    Its probability of "frog" is the share of red pixels, of "crab" always one half. Its box is the
    bounding box of the red pixels in the padded square.
    """

    def answer(self, requests: Sequence[Answer]) -> list[str]:
        self._seen(requests)
        return [self._say(request) for request in requests]

    def score(self, requests: Sequence[Score]) -> list[tuple[tuple[float, ...], ...]]:
        self._seen(requests)
        return [tuple(self._log(r, name) for name in r.names) for r in requests]

    def first_token(self, requests: Sequence[FirstToken]) -> list[Any]:
        self._seen(requests)
        reds = [red(request.image.pixels).mean() for request in requests]
        return [np.array([share, 0.5, 0.5 - share / 2], dtype=np.float32) for share in reds]

    @staticmethod
    def _log(request: Score, name: str) -> tuple[float, ...]:
        share = float(red(request.image.pixels).mean())
        probability = {"frog": max(share, 1e-6), "crab": 0.5}.get(name.lower(), 0.01)
        return (float(np.log(probability)),)

    @staticmethod
    def _say(request: Answer) -> str:
        mask = red(request.image.pixels)
        if "environment" in request.question:
            return "leaves"
        if "bounding box" in request.question or "boundingbox" in request.question:
            return str(square_box(mask))
        return "frog" if mask.any() else "crab"


class Blackout(Fake):
    """An inpainter that paints the mask black."""

    def inpaint(self, requests: Sequence[Inpaint]) -> list[Any]:
        self._seen(requests)
        return [
            np.where(r.mask.mask[..., None], 0, r.image.pixels).astype(np.uint8) for r in requests
        ]


class RedBox(Fake):
    """A detector that finds the bounding box of the reddish pixels when asked for a frog."""

    def detect(self, requests: Sequence[Detect]) -> list[tuple[Detection, ...]]:
        self._seen(requests)
        return [self._find(request) for request in requests]

    @staticmethod
    def _find(request: Detect) -> tuple[Detection, ...]:
        mask = red(request.image.pixels)
        if "frog" not in request.text or not mask.any():
            return ()
        rows, columns = np.where(mask)
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        return (Detection(tuple(float(v) for v in box), 0.9),)  # type: ignore[arg-type]


class RedMask(Fake):
    """A segmenter that returns the reddish pixels inside the box (all of them without a box)."""

    def segment(self, requests: Sequence[Segment]) -> list[Segmentation]:
        self._seen(requests)
        return [self._mask(request) for request in requests]

    def proposals(self, requests: Sequence[Proposals]) -> list[tuple[Segmentation, ...]]:
        self._seen(requests)
        return [(self._mask(request),) * 3 for request in requests]

    @staticmethod
    def _mask(request: Segment | Proposals) -> Segmentation:
        mask = red(request.image.pixels)
        if request.box is not None:
            x0, y0, x1, y1 = (round(v) for v in request.box)
            inside = np.zeros_like(mask)
            inside[y0:y1, x0:x1] = True
            mask = mask & inside
        return Segmentation(np.where(mask, 8.0, -8.0).astype(np.float32), 0.9)


class RedHeat(Fake):
    """An aligner: heat is redness on a 4x4 grid; similarity is the share of lit pixels."""

    def heatmap(self, requests: Sequence[Heatmap]) -> list[Any]:
        self._seen(requests)
        return [self._heat(red(request.image.pixels)) for request in requests]

    def similarity(self, requests: Sequence[Similarity]) -> list[float]:
        self._seen(requests)
        return [float((request.image.pixels.max(axis=-1) > 0).mean()) for request in requests]

    @staticmethod
    def _heat(mask: Any) -> Any:
        height, width = mask.shape
        rows, columns = np.arange(4) * height // 4, np.arange(4) * width // 4
        return mask[np.ix_(rows, columns)].astype(np.float32)


def red(pixels: Any) -> Any:
    """Pixels whose red stands out, (H, W) bool."""
    return (pixels[..., 0].astype(int) - pixels[..., 1]) > 20


def square_box(mask: Any) -> list[float]:
    """Bounding box of a mask in 0..1 of the padded square, rounded; zeros for an empty mask."""
    if not mask.any():
        return [0.0, 0.0, 0.0, 0.0]
    height, width = mask.shape
    side = max(height, width)
    rows, columns = np.where(mask)
    left, top = (side - width) // 2, (side - height) // 2
    box = (columns.min() + left, rows.min() + top, columns.max() + 1 + left, rows.max() + 1 + top)
    return [round(float(v) / side, 4) for v in box]


class FirstProposal(Fake):
    """A selector that takes the first proposal of every object."""

    def select(self, requests: Sequence[SelectProposal]) -> list[tuple[Selection, ...]]:
        self._seen(requests)
        return [tuple(map(self._first, request.objects)) for request in requests]

    @staticmethod
    def _first(bag: ObjectBag) -> Selection:
        scores = tuple(1.0 / (1 + place) for place in range(len(bag.boxes)))
        return Selection(0, scores, bag.boxes[0] or (0.0, 0.0, 1.0, 1.0), 0)


def all_fakes() -> dict[str, Any]:
    """One fake for each role."""
    return {
        "vlm": RedIsAFrog(),
        "inpainter": Blackout(),
        "detector": RedBox(),
        "segmenter": RedMask(),
        "aligner": RedHeat(),
        "selector": FirstProposal(),
    }


def scene(height: int = 40, width: int = 60) -> Any:
    """Green, brighter to the right and below, with a red square at x 12..24, y 8..20."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[..., 1] = 90 + np.arange(width) + np.arange(height)[:, None]
    pixels[8:20, 12:24] = (200, 40, 40)
    return pixels
