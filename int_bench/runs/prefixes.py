"""Shorter runs out of a longer one: no model is called, since no iteration knows what follows it.

A run of n iterations is the beginning of a longer run of the same configuration: the same masks,
and as the final one that which ``chosen`` names for n. It gets a run folder of its own, the one
that the shorter configuration would have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from int_bench.core.files import read_plain
from int_bench.errors import MissingAsset
from int_bench.runs.folder import RunFolder
from int_bench.runs.layout import Key, kept_file
from int_bench.runs.reader import Run
from int_bench.runs.records import OK, Record, Step

_AT_ONCE = 32
"""Samples whose files are flushed together."""


def derive(longer: Run, shorter: RunFolder, iterations: int, keys: Iterable[Key]) -> None:
    """Store in a folder what a run of fewer iterations would have left there.

    What the folder holds already stays; what the longer run has not done is left out.

    Args:
        longer: the run of more iterations.
        shorter: the open folder of the shorter run.
        iterations: its number of iterations.
        keys: the samples that are asked for.

    Raises:
        MissingAsset: the longer run kept no masks of its iterations.
        UsageError: a folder cannot be read or written.
    """
    for key in keys:
        if key in longer.records and not shorter.finished(key):
            cut = cut_record(longer.records[key], iterations)
            shorter.commit_all([(cut, list(_masks(longer.path, cut, iterations)))])


def copy(source: Run, folder: RunFolder, keys: Iterable[Key]) -> None:
    """Store in a folder what a run of the same configuration has done of these samples.

    What the folder holds already stays.

    Raises:
        MissingAsset: a mask of the source is gone.
        UsageError: a folder cannot be read or written.
    """
    new = [
        source.records[key] for key in keys if key in source.records and not folder.finished(key)
    ]
    for first in range(0, len(new), _AT_ONCE):
        records = new[first : first + _AT_ONCE]
        folder.commit_all([(replace(r, files={}), list(_kept(source.path, r))) for r in records])


def _kept(folder: Path, record: Record) -> Iterator[tuple[str, bytes]]:
    """All stored masks of a record, and the traces of its iterations."""
    for which, _ in record.marks:
        yield which, _read(folder / kept_file(record.trial, which, record.name))
    for number in range(1, len(record.traces) + 1):
        which = f"trace_{number}"
        yield which, _read(folder / kept_file(record.trial, which, record.name))


def cut_record(record: Record, iterations: int) -> Record:
    """The record of the first iterations; without seconds and counters: nothing was computed."""
    bare = replace(record, seconds={}, counters={}, files={})
    if record.status != OK:
        return bare
    final = record.iterations[record.chosen[iterations - 1]]
    return replace(
        bare,
        prompt=final.prompt,
        box=final.box,
        chosen=record.chosen[:iterations],
        iterations=tuple(
            _cut_step(step, iterations - index)
            for index, step in enumerate(record.iterations[:iterations])
        ),
    )


def _cut_step(step: Step, left: int) -> Step:
    """An iteration of a run that ends ``left`` iterations later than it began."""
    if "costs" not in step.details:
        return step
    return replace(step, details={**step.details, "costs": step.details["costs"][:left]})


def _masks(longer: Path, cut: Record, iterations: int) -> Iterator[tuple[str, bytes]]:
    """The stored masks of the first iterations, and the chosen one as the final mask."""
    if cut.status != OK:
        return

    def path_of(which: str) -> Path:
        return longer / kept_file(cut.trial, which, cut.name)

    for number in range(1, iterations + 1):
        yield str(number), _read(path_of(str(number)))
        soft = path_of(f"soft_{number}")
        if soft.is_file():
            yield f"soft_{number}", _read(soft)
        seen = path_of(f"trace_{number}")
        if seen.is_file():
            yield f"trace_{number}", _read(seen)
    yield "final", _read(path_of(str(cut.chosen[-1] + 1)))


def _read(path: Path) -> bytes:
    try:
        return read_plain(path)
    except OSError as error:
        raise MissingAsset(
            f"{path} is missing, and shorter runs are taken from the masks of every iteration; "
            "make the longer run again with keep=iterations and another --out."
        ) from error
