"""What makes a fast run a wrong one: the counters' closed forms, and answers that differ.

Every request of the reference is asked again, with the reference's own inputs, of the tuned
backbones one at a time and of the engine's in batches. In half precision, what the first differ by
is the noise of a legitimate reordering; the engine may differ by half as much again. In float32 the
bounds are fixed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from int_bench.core.requests import Answer, Heatmap, Inpaint, Score, Segment, Similarity, key_of
from scripts.bench.dialogues import PlainLlava
from scripts.bench.replay.executors import Executor, Log
from scripts.bench.report import Row

FLOORS = {
    "float32": {"answer": 0.0, "score": 1e-4, "inpaint": 2e-3, "detect": 0.05,
                "segment": 1e-3, "heatmap": 1e-3, "similarity": 1e-4},
    "bfloat16": {"answer": 1.0, "score": 0.1, "inpaint": 0.05, "detect": 0.1,
                 "segment": 0.05, "heatmap": 0.02, "similarity": 1e-3},
}  # fmt: skip
"""Differences that are never held against the engine. In half precision answers of random weights
flip at near-ties, so their share is told and not judged."""
IMAGE_PREFIX = 577
"""Tokens up to and with the picture: ``USER:`` and 576."""


def distinct(log: Log) -> dict[str, Log]:
    """The log without repeated requests, by verb."""
    calls: dict[Any, tuple[Any, Any]] = {}
    for request, answer in log:
        calls.setdefault(key_of(request), (request, answer))
    by_verb: defaultdict[str, Log] = defaultdict(list)
    for pair in calls.values():
        by_verb[pair[0].verb].append(pair)
    return dict(by_verb)


def differences(
    log: Log, single: Mapping[str, Any], batched: Mapping[str, Any], precision: str
) -> list[Row]:
    """One row per verb: how far the engine's backbones are from the reference's answers.

    Args:
        log: the reference's.
        single: backbones that are asked one request at a time; they give the yardstick.
        batched: backbones that are asked all at once.
        precision: the working precision.
    """
    rows = []
    for verb, pairs in sorted(distinct(log).items()):
        requests, answers = [request for request, _ in pairs], [answer for _, answer in pairs]
        role = requests[0].role
        alone = [getattr(single[role], verb)([request])[0] for request in requests]
        together = getattr(batched[role], verb)(requests)
        noise, error = _distance(verb, answers, alone), _distance(verb, answers, together)
        # In float32 the reordering has no excuse.
        yardstick = 0.0 if precision == "float32" else 1.5 * noise
        bar = max(yardstick, FLOORS[precision][verb])
        rows.append(Row(f"difference from the reference: {verb}", error, "", "<=", bar))
    return rows


def _distance(verb: str, first: Sequence[Any], second: Sequence[Any]) -> float:
    measures: dict[str, Callable[[Any, Any], float]] = {
        "answer": lambda a, b: float(a != b),
        "score": _largest_fall,
        "inpaint": lambda a, b: float(np.abs(a.astype(float) - b).mean() / 255),
        "detect": _detections_differ,
        "segment": lambda a, b: _relative(a.logits, b.logits),
        "heatmap": lambda a, b: float(np.abs(a - b).max()),
        "similarity": lambda a, b: abs(a - b),
    }
    distances = [measures[verb](a, b) for a, b in zip(first, second, strict=True)]
    return float(np.mean(distances) if verb in ("answer", "detect") else np.max(distances))


def _largest_fall(a: Any, b: Any) -> float:
    return max(
        float(abs(x - y)) for p, q in zip(a, b, strict=True) for x, y in zip(p, q, strict=True)
    )


def _detections_differ(a: Any, b: Any) -> float:
    """1 if the boxes are others: another number, or beyond a pixel or a hundredth of a score."""
    if len(a) != len(b):
        return 1.0
    close = (
        abs(x.score - y.score) < 0.01 and np.abs(np.subtract(x.box, y.box)).max() < 1
        for x, y in zip(a, b, strict=True)
    )
    return float(not all(close))


def _relative(a: Any, b: Any) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)) / max(float(np.sqrt(np.mean(a**2))), 1e-9))


def sound(log: Log) -> list[Row]:
    """Answers are finite, and other pixels have other answers."""
    arrays = [np.asarray(getattr(answer, "logits", answer)) for request, answer in log
              if isinstance(request, (Inpaint, Heatmap, Segment, Similarity))]  # fmt: skip
    finite = all(bool(np.isfinite(array).all()) for array in arrays)
    filled = [answer.tobytes() for request, answer in log if isinstance(request, Inpaint)]
    return [
        Row("answers that are not finite", float(not finite), "", "==", 0.0),
        Row("different erased images", len(set(filled)), "", "==", len(filled)),
    ]


def closed_forms(log: Log, reference: Executor, engine: Mapping[str, int]) -> list[Row]:
    """The counters of the reference and of the engine over the same images.

    Args:
        log: the reference's.
        reference: after the run that wrote the log.
        engine: its counters by role, after a run over the same images.
    """
    plain: PlainLlava = reference.backbones["vlm"].wrapped
    steps = reference.backbones["inpainter"].wrapped.steps
    once: dict[str, list[tuple[Any, Any]]] = dict(distinct(log))
    count = {verb: sum(request.verb == verb for request, _ in log) for verb in once}
    pictures = {verb: len({request.image.digest for request, _ in once[verb]}) for verb in once}
    named = sum(len(request.names) for request, _ in log if isinstance(request, Score))
    requests = [request for request, _ in log if isinstance(request, Answer | Score)]
    expected = {
        "reference": {
            "vlm.vision_passes": count["answer"] + named,
            "inpainter.rows": 2 * steps * count["inpaint"],
            "segmenter.images_encoded": count["segment"],
            "detector.images_encoded": count["detect"],
        },
        "engine": {
            "vlm.vision_passes": len({request.image.digest for request in requests}),
            "vlm.prefill_tokens": _prefix_tokens(plain, requests),
            "inpainter.rows": 2 * steps * len(once["inpaint"]),
            "segmenter.images_encoded": pictures["segment"],
            "detector.images_encoded": len(once["detect"]),
            "aligner.images_encoded": pictures["heatmap"] + pictures["similarity"],
        },
    }  # fmt: skip
    measured = {"reference": reference.work, "engine": engine}
    return [
        Row(f"{who}: {name}", measured[who][name], "", "==", number)
        for who, numbers in expected.items()
        for name, number in numbers.items()
    ]


def _prefix_tokens(plain: PlainLlava, requests: Sequence[Answer | Score]) -> int:
    """Every distinct beginning once: a picture's longest chat, and its scoring question beside."""
    chats: dict[str, int] = {}
    scores: dict[str, int] = {}
    for request in requests:
        kind = chats if isinstance(request, Answer) else scores
        length = plain.prompt_length(request)
        kind[request.image.digest] = max(length, kind.get(request.image.digest, 0))
    shared = sum(IMAGE_PREFIX for digest in scores if digest in chats)
    return sum(chats.values()) + sum(scores.values()) - shared
