"""Resident memory of a long run beside what its caches believe that they hold.

Runs INT with the shipped settings on scenes of the drawn world, two variants side by side (the full
method and one without PNM), and prints a line every so many image-variants: resident memory, its
peak, the memo's bytes, and each model's caches. Ends with 1 above the bar.

    python -m scripts.experiments.soak --images 1350 --every 50
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Annotated, Any
from unittest.mock import patch

import typer

from int_bench.backbones.common.lru import Lru
from int_bench.config import build_backbones, build_method
from int_bench.core.protocols import Backbone
from int_bench.engine.memo import Memo
from int_bench.runs.execute import Variant
from int_bench.runs.executors import compute as computing
from int_bench.runs.prepare import prepare, with_all_models
from int_bench.runs.records import Record
from int_bench.runs.variants import ablations
from scripts.bench.timing import resident_bytes

BAR_MB = 2000


def main(
    images: Annotated[int, typer.Option(help="Scenes; each is run by two variants.")] = 1350,
    every: Annotated[int, typer.Option(help="Image-variants between two lines.")] = 50,
    minutes: Annotated[float, typer.Option(help="Stop after so many; 0 for never.")] = 0,
) -> None:
    """Run and print; end with 1 if resident memory was ever above the bar."""
    caches: dict[str, Any] = {}
    started, done = time.monotonic(), 0

    def tell(variant: Variant, record: Record) -> None:
        nonlocal done
        done += 1
        if done % every == 0:
            print(line(done, time.monotonic() - started, caches), flush=True)
        if minutes and time.monotonic() - started > 60 * minutes:
            raise KeyboardInterrupt

    @contextmanager
    def watch(total: int, before: int) -> Iterator[computing.OnRecord]:
        yield tell

    with tempfile.TemporaryDirectory() as place:
        words = ["module=PNM", f"dataset.count={images}", f"out={place}", "keep=final"]
        prepared = prepare(ablations(words))
        methods = [build_method(run.config) for run in prepared]
        with noting(caches):
            try:
                computing.compute(prepared, methods, with_all_models(prepared), watch)
            except KeyboardInterrupt:
                print("stopped")
    print(f"{done} image-variants: {line(done, time.monotonic() - started, caches)}")
    raise typer.Exit(int(peak_mb() > BAR_MB))


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
        stack.enter_context(patch.object(computing, "build_backbones", building))
        stack.enter_context(patch.object(Memo, "__init__", making))
        yield


def line(done: int, seconds: float, caches: Mapping[str, Any]) -> str:
    """One line: image-variants, minutes, resident memory, its peak, and the caches, in MB."""
    held = ", ".join(f"{name} {believed(cache) / 1e6:.0f}" for name, cache in caches.items())
    resident = resident_bytes() / 1e6
    return f"{done:5d}  {seconds / 60:5.1f} min  {resident:6.0f} MB, peak {peak_mb():.0f}; {held}"


def believed(holder: Any, depth: int = 3) -> int:
    """Bytes that the caches of a model, and of its parts, say that they hold."""
    if isinstance(holder, Memo):
        return holder._held
    if isinstance(holder, Lru):
        return holder.weight if holder.capacity > 2**20 else 0  # others count entries, not bytes
    parts = vars(holder).values() if depth and hasattr(holder, "__dict__") else ()
    ours = (part for part in parts if type(part).__module__.startswith("int_bench."))
    return sum(believed(part, depth - 1) for part in ours)


def peak_mb() -> float:
    """The highest resident memory of this process so far, in MB (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    typer.run(main)
