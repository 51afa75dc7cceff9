"""What the workers of an array left, merged into the records of a run folder.

A pure function of the files' contents: whoever merges them, in whatever order they were written,
gets the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from int_bench.core.files import flush, make_folder, write_aside
from int_bench.core.typed import Malformed
from int_bench.errors import UsageError
from int_bench.runs.executors.shards import parse_part
from int_bench.runs.layout import PARTS, RECORDS, Key, records_file
from int_bench.runs.records import INTENT, OK, Record, line_of, record_of

Lines = Mapping[str, bytes]
"""Contents of files of lines by their names."""


def merged(files: Lines) -> bytes:
    """The records of one shard, sorted, each sample once.

    Of a sample that is done in several files, they must agree in everything but seconds, counters
    and host, and the first file's counts; done beats failed, and the last failure counts. Torn
    lines and what was merely begun are left out.

    Args:
        files: of one shard, by name; the order of names is that in which they count.

    Raises:
        UsageError: two files disagree; the sentence names the sample and the files.
    """
    kept: dict[Key, tuple[str, Record]] = {}
    for name in sorted(files):
        for record in records_in(files[name]):
            before = kept.get(record.key)
            if before is None or before[1].status != OK:
                kept[record.key] = (name, record)
            elif record.status == OK and _decided(record) != _decided(before[1]):
                raise UsageError(
                    f"{before[0]} and {name} disagree on sample {record.id!r}, trial "
                    f"{record.trial}: its workers differ in more than speed; remove the line of "
                    "the one that is not to be trusted."
                )
    return b"".join(line_of(kept[key][1]) for key in sorted(kept))


def records_in(content: bytes) -> Iterable[Record]:
    """The records of lines; torn ones are left out, and what was merely begun."""
    for line in content.split(b"\n")[:-1]:
        try:
            record = record_of(line + b"\n")
        except Malformed:
            continue
        if record.status != INTENT:
            yield record


def _decided(record: Record) -> bytes:
    return line_of(replace(record, seconds={}, counters={}, host={}))


def part_files(run: Path, shard: int | None = None) -> dict[int, list[Path]]:
    """The files of records that arrays left in a run folder, by shard."""
    files: dict[int, list[Path]] = {}
    for path in sorted((run / PARTS).glob("*/*.jsonl")):
        part = parse_part(path.name)
        if part is not None and shard in (None, part[0]) and path.is_file():
            files.setdefault(part[0], []).append(path)
    return files


def merge(run: Path) -> list[Record]:
    """Merge what arrays left into a run folder's records; the parts stay.

    Args:
        run: the folder, which nobody else writes.

    Returns:
        The records that were not there before.

    Raises:
        UsageError: two workers disagree, or the folder cannot be written.
    """
    new: list[Record] = []
    make_folder(run / RECORDS)
    for shard, paths in part_files(run).items():
        target = run / records_file(shard)
        before = target.read_bytes() if target.is_file() else b""
        files = {_order(path, run): path.read_bytes() for path in paths}
        after = merged({"": before, **files})
        there = {line_of(record) for record in records_in(before)}
        new += [record for record in records_in(after) if line_of(record) not in there]
        if after != before:
            write_aside(target, after)
            flush([target])
    flush([run / RECORDS])
    return new


def _order(path: Path, run: Path) -> str:
    """A file's name such that later epochs come later."""
    shard, epoch = parse_part(path.name) or (0, 0)
    return f"{path.parent.relative_to(run)}/{shard:02d}.{epoch:06d}"
