"""One small call of every verb of every backbone, on the shipped models."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from int_bench.backbones.clip import ClipSurgery
from int_bench.backbones.grounding_dino import GroundingDino
from int_bench.backbones.llava import Llava
from int_bench.backbones.sam import Sam
from int_bench.backbones.stable_diffusion import StableDiffusion
from int_bench.core.requests import (
    Answer,
    ContrastiveAnswer,
    Detect,
    FirstToken,
    Heatmap,
    Inpaint,
    Point,
    Score,
    Segment,
    Similarity,
)
from int_bench.core.types import Picture, Stencil

HALF = {"vlm": "float16", "inpainter": "float16", "detector": "float16", "segmenter": "float16"}
"""The half precision of each role; the aligner has none."""
GAPS = {"score": 0.02, "first_token": 0.002, "inpaint": 4, "detect": 0.1, "segment": 0.15}
"""What half precision may change: log-probabilities, probabilities, grey levels, pixels, logits."""


def _draw(seed: int, *size: int) -> Picture:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Picture(pixels)


WIDE, HIGH = _draw(0, 96, 128), _draw(1, 128, 96)
HOLE = np.zeros((96, 128), dtype=np.bool_)
HOLE[30:60, 30:70] = True
QUESTION = "What is the camouflaged animal?"
_POINTS = (Point(20, 20, True), Point(90, 80, False))
ASKED: dict[str, list[Any]] = {
    "answer": [
        Answer(WIDE, QUESTION, max_tokens=5),
        Answer(HIGH, QUESTION, max_tokens=9),
        Answer(HIGH, QUESTION, temperature=0.7, seed=3, max_tokens=4),
    ],
    "score": [
        Score(WIDE, QUESTION, ("frog", "sea horse")),
        Score(HIGH, QUESTION, ("stick insect", "owl")),
    ],
    "first_token": [FirstToken(WIDE, QUESTION)],
    "contrast": [
        ContrastiveAnswer(WIDE, HIGH, QUESTION, max_tokens=4, plausibility=0.1),
        ContrastiveAnswer(WIDE, None, QUESTION, max_tokens=4),
    ],
    "inpaint": [
        Inpaint(WIDE, Stencil(HOLE), "leaves", "frog", 1),
        Inpaint(WIDE, Stencil(~HOLE), "bark", "owl", 2),
    ],
    "detect": [Detect(WIDE, "frog.", 0.0, 0.0), Detect(WIDE, "owl.", 0.0, 0.0)],
    "segment": [
        Segment(WIDE, (10, 10, 60, 60), _POINTS),
        Segment(HIGH, (10, 10, 60, 60), _POINTS),
    ],
    "heatmap": [Heatmap(WIDE, ("frog",), ("leaves", "bark")), Heatmap(HIGH, ("owl",))],
    "similarity": [Similarity(WIDE, "frog"), Similarity(HIGH, "owl")],
}
"""By verb."""


def build(role: str, device: str, half: bool = False) -> Any:
    """The shipped model of a role."""
    dtype: Any = HALF.get(role, "float32") if half else "float32"
    options: dict[str, Any] = {"device": device, "dtype": dtype}
    if role == "vlm":
        return Llava("zoo:llava", **options)
    if role == "inpainter":
        small: dict[str, Any] = {"steps": 2, "size": 64, "channels_last": True}
        return StableDiffusion("zoo:stable_diffusion", **small, **options)
    if role == "detector":
        return GroundingDino("zoo:grounding_dino", **options)
    if role == "segmenter":
        return Sam("zoo:sam", **options)
    return ClipSurgery("zoo:clip", blocks=2, templates="surgery", **options)


def ask(backbone: Any, verb: str, most: int | None = None) -> list[Any]:
    """The answers to the first ``most`` requests of a verb."""
    return list(getattr(backbone, verb)(ASKED[verb][:most]))


def numbers(answer: Any) -> NDArray[np.float64]:
    """All numbers of an answer of any verb but those with texts, in one row."""
    if hasattr(answer, "logits"):
        return np.append(answer.logits.ravel(), answer.iou).astype(np.float64)
    if hasattr(answer, "box"):
        return np.array([*answer.box, answer.score])
    if isinstance(answer, tuple | list):
        return np.concatenate([np.zeros(0), *map(numbers, answer)])
    return np.atleast_1d(np.asarray(answer, dtype=np.float64)).ravel()


def gap(verb: str, answers: list[Any], exact: list[Any]) -> float:
    """How far some answers are from others: the largest difference, or texts that differ."""
    if isinstance(answers[0], str):
        return float(sum(a != b for a, b in zip(answers, exact, strict=True)))
    if verb == "detect":  # boxes that no method would take have nearly equal scores
        kept = (
            [[box for box in row if box.score > 0.1] for row in rows] for rows in (answers, exact)
        )
        answers, exact = kept
    first, second = numbers(answers), numbers(exact)
    return float(np.abs(first - second).max()) if first.shape == second.shape else float("inf")
