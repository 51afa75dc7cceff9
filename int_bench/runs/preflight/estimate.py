"""What a command will cost: calls of the models, bytes on disk, and time as in earlier runs.

Calls are rehearsed (:mod:`int_bench.engine.rehearsal`). Time is that of finished images of the same
method with the same models on this machine, where there are any; there is no guess without.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from PIL import Image as Pillow

from int_bench.core.protocols import Method
from int_bench.data.dataset import Dataset, SampleFile
from int_bench.engine.rehearsal import Rehearsal, rehearse
from int_bench.errors import MissingAsset
from int_bench.runs.layout import MANIFEST
from int_bench.runs.prepare import Prepared, unlimited
from int_bench.runs.reader import Run
from int_bench.runs.records import OK

_RUNS, _RECORDS = 3, 200  # that are looked at, the newest runs first
_DECIDING = ("method", "models", "exactness")


@dataclass(frozen=True)
class Estimate:
    """What is still to be done, over all methods and trials.

    Attributes:
        images: that are not done, each method's and trial's counted.
        iterations: that they take, as far as methods iterate.
        calls: of the models by ``<role>.<verb>``, about; empty if no method got to its end.
        requests: of one image by method, those that a remembered answer serves among them.
        bytes: that masks take on the disk, at most; None where the size of the images is not known.
        seconds: by method, of an image of earlier runs; None without any.
        measured: images of earlier runs that the seconds are of.
        left: images by method.
    """

    images: int
    iterations: int
    calls: Counter[str]
    requests: tuple[int | None, ...]
    bytes: int | None
    seconds: tuple[float | None, ...]
    measured: int
    left: tuple[int, ...]

    @property
    def total_seconds(self) -> float | None:
        """For all that is to be done; None if the time of a method is not known."""
        pairs = list(zip(self.seconds, self.left, strict=True))
        if any(seconds is None and left for seconds, left in pairs):
            return None
        return sum(left * (seconds or 0.0) for seconds, left in pairs)


def estimate(runs: Sequence[Prepared], methods: Sequence[Method]) -> Estimate:
    """What a command will cost.

    Args:
        runs: what is computed.
        methods: theirs, built.
    """
    left = tuple(len(run.keys) - run.standing().done for run in runs)
    config, share = runs[0].config, sum(left) / max(sum(len(run.keys) for run in runs), 1)
    rehearsal: Rehearsal = rehearse(methods, config.task.prompt, config.trials)
    calls = rehearsal.calls(len(runs[0].samples), config.trials)
    iterations = [int(run.config.method.get("iterations") or 1) for run in runs]
    earlier = [_seconds(run) for run in runs]
    return Estimate(
        images=sum(left),
        iterations=sum(images * count for images, count in zip(left, iterations, strict=True)),
        calls=Counter({key: round(share * number) for key, number in calls.items()}),
        requests=rehearsal.requests,
        bytes=_bytes(runs, left),
        seconds=tuple(median(known) if known else None for known in earlier),
        measured=sum(map(len, earlier)),
        left=left,
    )


def total(costs: Sequence[Estimate]) -> Estimate:
    """What several groups of runs cost together."""
    sizes = [cost.bytes for cost in costs]
    return Estimate(
        images=sum(cost.images for cost in costs),
        iterations=sum(cost.iterations for cost in costs),
        calls=sum((cost.calls for cost in costs), Counter[str]()),
        requests=tuple(number for cost in costs for number in cost.requests),
        bytes=None if None in sizes else sum(size or 0 for size in sizes),
        seconds=tuple(second for cost in costs for second in cost.seconds),
        measured=sum(cost.measured for cost in costs),
        left=tuple(number for cost in costs for number in cost.left),
    )


def _bytes(runs: Sequence[Prepared], left: Sequence[int]) -> int | None:
    """Uncompressed masks, a bit a pixel of each hard one and a byte of each soft one."""
    pixels = _pixels(runs[0].samples[0], unlimited(runs[0].dataset))
    if pixels is None:
        return None
    total = 0
    for run, images in zip(runs, left, strict=True):
        iterations = int(run.config.method.get("iterations") or 1)
        hard = 1 + (iterations if run.config.keep != "final" else 0)
        soft = iterations if run.config.keep == "soft" else 0
        total += images * (hard * pixels // 8 + soft * pixels)
    return total


def _pixels(sample: SampleFile, dataset: Dataset) -> int | None:
    """Of the first image: the header of its file, or the side of drawn ones."""
    if sample.image_path is None:
        side = getattr(dataset, "size", None)
        return side * side if isinstance(side, int) else None
    try:
        with Pillow.open(sample.image_path) as image:
            return image.width * image.height
    except Exception:  # whatever Pillow raises on what it does not know, or what is damaged
        return None


def _seconds(run: Prepared) -> list[float]:
    """Model seconds of images that were finished by the same method and models on this machine."""
    known: list[float] = []
    folders = run.config.out.glob(f"*/{run.path.parent.name}/*/{MANIFEST}")
    for manifest in sorted(folders, key=_written, reverse=True)[: 4 * _RUNS]:
        with suppress(MissingAsset, OSError):
            known += _of_folder(manifest.parent, run)
        if len(known) >= _RECORDS:
            break
    return known[:_RECORDS]


def _of_folder(folder: Path, run: Prepared) -> list[float]:
    earlier = Run(folder)
    known = earlier.manifest.identity
    machine = earlier.manifest.content.get("machine")
    host = machine.get("host") if isinstance(machine, dict) else None
    if host != platform.node() or any(known.get(k) != run.identity.get(k) for k in _DECIDING):
        return []
    done = [key for key in earlier.records if earlier.records.status(key) == OK][:_RECORDS]
    return [sum(earlier.records[key].seconds.values()) for key in done]


def _written(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_mtime_ns
    return 0
