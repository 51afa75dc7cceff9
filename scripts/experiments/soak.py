"""Resident memory of a long run beside what its caches believe that they hold.

Runs INT with the shipped settings on scenes of the drawn world, two variants side by side (the full
method and one without PNM), and prints a line every so many image-variants: resident memory, its
peak, the memo's bytes, and each model's caches. Ends with 1 if memory was, or with full caches
would be, above the bar, or if what no cache accounts for still grows in the second half.

    python -m scripts.experiments.soak --images 1350 --every 50

Further words are overrides: with small caches (``backbone.vlm.prefix_cache_mb=24``) they are full
after some images, and what grows then is no cache.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple
from unittest.mock import patch

import numpy as np
import typer

from int_bench.backbones.common.lru import Lru
from int_bench.config import build_backbones, build_method
from int_bench.core.protocols import Backbone
from int_bench.engine.memo import Memo
from int_bench.runs.execute import Variant
from int_bench.runs.executors import inline
from int_bench.runs.executors.compute import OnRecord, compute
from int_bench.runs.prepare import prepare, with_all_models
from int_bench.runs.records import Record
from int_bench.runs.variants import ablations
from scripts.bench.timing import peak_resident_bytes, resident_bytes

BAR_MB = 2000
STEEPEST = 1.0
"""MB per image-variant, in the second half, that no cache accounts for."""


class Point(NamedTuple):
    """Memory after so many image-variants, in MB."""

    done: int
    resident: float
    held: float


@dataclass
class Soak:
    """What is watched: the caches, and memory over time."""

    caches: dict[str, Any] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def note(self) -> Point:
        """Remember where memory stands after one more image-variant."""
        held = sum(bytes_of(cache)[0] for cache in self.caches.values()) / 1e6
        self.points.append(Point(len(self.points) + 1, resident_bytes() / 1e6, held))
        return self.points[-1]

    def line(self) -> str:
        """Where it stands: image-variants, minutes, resident memory, its peak, and the caches."""
        held = ", ".join(f"{name} {bytes_of(c)[0] / 1e6:.0f}" for name, c in self.caches.items())
        point, minutes = self.points[-1], (time.monotonic() - self.started) / 60
        memory = f"{point.resident:6.0f} MB, peak {peak_resident_bytes() / 1e6:.0f}"
        return f"{point.done:5d}  {minutes:5.1f} min  {memory}; {held}"

    @property
    def slope(self) -> float:
        """MB per image-variant that no cache accounts for, over the second half (least squares)."""
        half = self.points[len(self.points) // 2 :]
        if len(half) < 2:
            return 0.0
        other = [point.resident - point.held for point in half]
        return float(np.polyfit([point.done for point in half], other, 1)[0])

    @property
    def full(self) -> float:
        """Resident memory, in MB, with the models' caches full to their limits."""
        room = sum(capacity - held for held, capacity in map(bytes_of, self.caches.values()))
        return self.points[-1].resident + max(room, 0) / 1e6


def main(
    images: Annotated[int, typer.Option(help="Scenes; each is run by two variants.")] = 1350,
    every: Annotated[int, typer.Option(help="Image-variants between two lines.")] = 50,
    minutes: Annotated[float, typer.Option(help="Stop after so many; 0 for never.")] = 0,
    words: Annotated[list[str] | None, typer.Argument(help="Further overrides.")] = None,
) -> None:
    """Run and print; end with 1 where memory is not bounded."""
    soak = soaked(images, every, minutes, words or ())
    print(soak.line())
    print(f"not accounted for: {soak.slope:+.2f} MB each; with full caches: {soak.full:.0f} MB")
    raise typer.Exit(
        int(max(peak_resident_bytes() / 1e6, soak.full) > BAR_MB or soak.slope > STEEPEST)
    )


def soaked(images: int, every: int, minutes: float = 0, more: Sequence[str] = ()) -> Soak:
    """Run so many scenes with two variants each, and print on the way."""
    soak = Soak()

    def tell(variant: Variant, record: Record) -> None:
        point = soak.note()
        if point.done % every == 0:
            print(soak.line(), flush=True)
        if minutes and time.monotonic() - soak.started > 60 * minutes:
            raise KeyboardInterrupt

    @contextmanager
    def watch(total: int, before: int) -> Iterator[OnRecord]:
        yield tell

    with tempfile.TemporaryDirectory() as place:
        words = ["module=PNM", f"dataset.count={images}", f"out={place}", "keep=final", *more]
        prepared = prepare(ablations(words))
        methods = [build_method(run.config) for run in prepared]
        with noting(soak.caches):
            try:
                compute(prepared, methods, with_all_models(prepared), watch)
            except KeyboardInterrupt:
                print("stopped")
    return soak


@contextmanager
def noting(caches: dict[str, Any]) -> Iterator[None]:
    """Remember the memo and the models that a run makes."""
    made = Memo.__init__

    def building(*args: Any, **kwargs: Any) -> Mapping[str, Backbone]:
        backbones = build_backbones(*args, **kwargs)
        caches.update(backbones)
        return backbones

    def making(memo: Memo, budget: int) -> None:
        made(memo, budget)
        caches["memo"] = memo

    with ExitStack() as stack:
        stack.enter_context(patch.object(inline, "build_backbones", building))
        stack.enter_context(patch.object(Memo, "__init__", making))
        yield


def bytes_of(holder: Any, depth: int = 3) -> tuple[int, int]:
    """Bytes that the caches of a model, and of its parts, say that they hold, and may hold.

    The memo holds what is about the images in flight; it has as much as it needs.
    """
    if isinstance(holder, Memo):
        return holder.held, holder.held
    if isinstance(holder, Lru):  # small capacities count entries, not bytes
        return (holder.weight, holder.capacity) if holder.capacity > 2**20 else (0, 0)
    parts = vars(holder).values() if depth and hasattr(holder, "__dict__") else ()
    ours = [bytes_of(p, depth - 1) for p in parts if type(p).__module__.startswith("int_bench.")]
    return sum(held for held, _ in ours), sum(capacity for _, capacity in ours)


if __name__ == "__main__":
    typer.run(main)
