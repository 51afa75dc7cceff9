"""CPU seconds around the models of one image of 1024 x 768 pixels, nine patches, four iterations.

``methods``: the methods' thread, with models that answer at once. ``models``: the models' thread
without the networks. ``order``: what INT asks of the shipped models about a drawn scene, one by
one. Runs on this tree or an older one (see ``threads``).

    PYTHONPATH=TREE python -P scripts/bench/one_image.py methods|models|order IMAGES
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from int_bench.config import build_method, load_config
from int_bench.core.geometry import Grid, crop
from int_bench.core.requests import (
    Answer,
    Detect,
    Detection,
    Heatmap,
    Inpaint,
    Score,
    Segment,
    Segmentation,
    Similarity,
)
from int_bench.core.types import Picture, Sample, Stencil
from int_bench.data.world.dataset import DrawnScenes
from int_bench.engine import broker as engine

Broker: Any = engine.Broker
# An older tree has the job beside the broker.
Job: Any = getattr(engine, "Job", None)
if Job is None:
    from int_bench.engine.jobs import Job
SIZE = (768, 1024)
NAMES = ("frog", "stick insect", "owl", "crab", "moth", "toad", "leaf insect", "gecko", "lizard")


class Instant:
    """Models that answer at once, by their request alone: nine names, a box, two detections."""

    def __init__(self) -> None:
        self.identity: dict[str, Any] = {}
        self.counters: Counter[str] = Counter()
        rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
        self._rows, self._columns = rows.astype(np.float32), columns.astype(np.float32)
        self._blobs: dict[tuple[int, int], Any] = {}
        self._heat = np.random.default_rng(1).random((14, 14)).astype(np.float32)

    def answer(self, requests: Sequence[Any]) -> list[str]:
        """A name, a box or surroundings."""
        return [self._say(request) for request in requests]

    def _say(self, request: Any) -> str:
        question, number = request.question.lower(), _number(request.image)
        if "box" in question or "[" in question:
            return "[0.22, 0.25, 0.71, 0.66]"
        if "environment" in question or "background" in question or "surround" in question:
            return ("leaves", "bark", "sand")[number % 3]
        return NAMES[number % len(NAMES)]

    def score(self, requests: Sequence[Any]) -> list[Any]:
        """Natural-log probabilities of two tokens a name."""
        return [
            tuple(
                (-0.5 - (_number(r.image) * (i + 1)) % 100 / 50, -0.2) for i in range(len(r.names))
            )
            for r in requests
        ]

    def inpaint(self, requests: Sequence[Any]) -> list[Any]:
        """The picture, moved sideways."""
        return [np.roll(r.image.pixels, int(r.seed) % 7 + 1, axis=1) for r in requests]

    def detect(self, requests: Sequence[Any]) -> list[Any]:
        """Two boxes."""
        return [
            tuple(
                Detection((w * a, h * a, w * b, h * b), score)
                for a, b, score in ((0.2, 0.8, 0.6), (0.1, 0.5, 0.4))
            )
            for h, w in (r.image.size for r in requests)
        ]

    def segment(self, requests: Sequence[Any]) -> list[Any]:
        """An ellipse."""
        return [Segmentation(self._blob(*r.image.size).copy(), 0.9) for r in requests]

    def _blob(self, height: int, width: int) -> Any:
        if (height, width) not in self._blobs:
            y, x = self._rows[:height, :width], self._columns[:height, :width]
            far = np.hypot((y - height / 2) / (height * 0.3), (x - width / 2) / (width * 0.3))
            self._blobs[height, width] = (6 - 9 * far).astype(np.float32)
        return self._blobs[height, width]

    def heatmap(self, requests: Sequence[Any]) -> list[Any]:
        """Noise."""
        return [self._heat for _ in requests]

    def similarity(self, requests: Sequence[Any]) -> list[float]:
        """By the picture."""
        return [0.2 + _number(r.image) % 4096 / 1e5 for r in requests]


def _number(picture: Any) -> int:
    """The same for equal pictures in any tree, without reading all of them."""
    return int(picture.pixels[::97, ::97].astype(np.int64).sum())


def samples(count: int) -> list[Any]:
    """Smooth noise, as hard to shrink as photographs."""
    draws = np.random.default_rng(0)
    found = []
    for index in range(count):
        small = draws.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        image = cv2.resize(small, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
        found.append(
            Sample(f"i{index}", Picture(np.asarray(image, np.uint8)), "camouflaged animal", index)
        )
    return found


def config() -> Any:
    """INT with four iterations, and the hard mask of both trees."""
    same = "method.masker.output=union"
    return load_config(["models=tiny", "device=cpu", "method.iterations=4", same])


def run(backbones: dict[str, Any], count: int) -> tuple[float, str]:
    """CPU seconds an image of the calling thread; a hash of each mask."""
    method = build_method(config())
    drawn = samples(count + 1)
    masks: list[str] = []

    def through(some: Sequence[Any]) -> float:
        broker = Broker(backbones, max_batch=32, in_flight=4)
        started = time.thread_time()
        for outcome in broker.run(Job(s.id, partial(method.segment, s)) for s in some):
            if outcome.value is None:
                raise outcome.error or RuntimeError("no prediction")
            for item in outcome.value.iterations:
                masks.append(hashlib.sha256(item.masks.hard.tobytes()).hexdigest()[:12])
        return time.thread_time() - started

    through(drawn[:1])  # imports, and what is loaded once
    seconds = through(drawn[1:]) / count
    return seconds, " ".join(sorted(masks))


def order(count: int) -> tuple[float, str]:
    """CPU seconds an image of what INT asks in two iterations, each request alone, nothing kept.

    The requests are the same in every tree, whatever is answered: nine patches of a drawn scene.
    """
    from scripts.bench import zoo
    from scripts.bench.plain import drive, one_by_one

    ask: Any = one_by_one(zoo.Zoo(1, 1).backbones())

    def answered(image: Picture) -> list[str]:
        texts = []
        for request in _requests(image):
            answer: Any = drive(ask(request))
            texts += [answer] if isinstance(answer, str) else []
        return texts

    scenes = DrawnScenes(count=count + 1)
    images = [Picture(scenes.load_image(scene)) for scene in scenes.samples()]
    answered(images[0])  # loads
    started = time.process_time()
    texts = [answered(image) for image in images[1:]]
    seconds = (time.process_time() - started) / count
    return seconds, hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def _requests(image: Picture) -> Iterator[Any]:
    """Of INT with all its patches and two iterations, as many of each verb."""
    hole = np.zeros(image.size, dtype=np.bool_)
    hole[image.size[0] // 4 : image.size[0] // 2, image.size[1] // 4 : image.size[1] // 2] = True
    for round_number in range(2):
        yield Inpaint(image, Stencil(hole), "leaves", "frog", round_number)
        for patch in Grid().cut(image.size):
            picture = Picture(crop(image.pixels, patch))
            yield from (Answer(picture, f"Question {n}?") for n in range(2 - round_number))
            yield from (Score(picture, "Name it.", NAMES) for _ in range(2))
            yield Detect(picture, "frog.")
            yield Heatmap(picture, ("frog",), ("leaves",))
            yield Segment(picture, (5, 5, 40, 40))
            yield Similarity(picture, "frog")


def main(part: str, count: int) -> None:
    """Print the seconds, and what shows that the work was the same."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if part == "methods":
        roles = ("vlm", "inpainter", "detector", "segmenter", "aligner")
        seconds, masks = run(dict.fromkeys(roles, Instant()), count)
        print(json.dumps({"seconds": seconds, "same": masks}))
    elif part == "order":
        seconds, masks = order(count)
        print(json.dumps({"seconds": seconds, "same": masks}))
    else:
        from around_models import seconds_of_models  # type: ignore[import-not-found]

        print(json.dumps({"seconds": seconds_of_models(), "same": ""}))


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parent))
    main(sys.argv[1], int(sys.argv[2]))
