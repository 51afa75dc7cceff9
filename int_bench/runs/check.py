"""Everything of a run folder that is not as it was written, found without changing anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from int_bench.config.building import build_stored_dataset
from int_bench.data.fingerprint import images_hash, truths_hash
from int_bench.errors import UserError
from int_bench.runs.layout import MASKS, SCORES, TRACES
from int_bench.runs.reader import Damage, Records, Run, broken_files, ends_whole, record_files
from int_bench.runs.records import OK
from int_bench.runs.scorable import StoredRun


def check(run: Run, thorough: bool = False) -> Iterator[Damage]:
    """What is torn, gone, changed or stale: lines, files, data, scores; nothing where all is well.

    Args:
        run: the folder; ``run.json`` was checked when it was opened.
        thorough: compare all bytes, also of files that look untouched.
    """
    files = record_files(run.path, run.manifest.format) or []
    records = Records(files, run.manifest.format, mend=True)
    yield from _lines(files, records)
    for key, record in records.items():
        if record.status == OK:
            yield from broken_files(run.path, record, records.written(key), thorough)
    halves = [(run.path / kind).glob("*/*/.*.part") for kind in (MASKS, TRACES)]
    for aside in sorted(chain(*halves, (run.path / SCORES).glob(".*.part"))):
        yield Damage("is half of a file", path=aside)
    if run.manifest.kind == "run":
        yield from _data(run)
    if (run.path / SCORES).is_dir():
        yield from _scores(run, thorough)


def _lines(files: Sequence[Path], records: Records) -> Iterator[Damage]:
    for path, number in records.damaged:
        yield Damage(f"line {number} is not a record", path=path)
    for path in files:
        if not ends_whole(path):
            yield Damage("the last line is torn", path=path)
    for key, count in records.intents.items():
        yield Damage(f"was begun {count} times and never ended", key)


def _data(run: Run) -> Iterator[Damage]:
    """Whether images and ground truth are those of the run, as far as it recorded them."""
    recorded, path = run.manifest.data, run.manifest.path
    try:
        dataset = build_stored_dataset(run.manifest.content, path)
        samples, listed = dataset.samples(), dataset.manifest()
    except UserError as error:
        yield Damage(f"the data set cannot be looked at: {str(error).rstrip('.')}", path=path)
        return
    now = {
        "list_hash": ("the list of samples", listed),
        "content_hash": ("the images", images_hash(samples) or listed),
        "truth_hash": ("the ground truth", truths_hash(samples)),
    }
    for key, (part, value) in now.items():
        if recorded.get(key) is not None and recorded[key] != value:
            yield Damage(f"{part} of {run.dataset} changed since the run", path=path)
            return


def _scores(run: Run, thorough: bool) -> Iterator[Damage]:
    """Whether the stored scores are of the records, masks and ground truth that are there."""
    try:
        StoredRun(run.path).scores(verify=thorough)
    except UserError as error:
        yield Damage(str(error).rstrip("."), path=run.path / SCORES)


def said(damage: Damage, run: Path) -> str:
    """A damage as a line: the file below the run folder, the sample, and what it is."""
    place = ""
    if damage.path is not None:
        inside = damage.path.is_relative_to(run)
        place = str(damage.path.relative_to(run) if inside else damage.path)
    who = f"sample {damage.key[1]}, trial {damage.key[0]}" if damage.key else ""
    return f"{', '.join(filter(None, (place, who)))}: {damage.what}"
