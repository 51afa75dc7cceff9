"""How far the samples of a run folder are: what is done, and what is to be computed again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from int_bench.runs.layout import Keep, Key
from int_bench.runs.reader import Damage, Records, broken_files, ends_whole, record_files
from int_bench.runs.records import OK, Record


class Standing(NamedTuple):
    """How far the samples that are asked for are.

    Attributes:
        done: how many are finished and well, with their files.
        torn: whether the folder holds torn or damaged lines.
        lacking: how many of the finished ones less is kept of than asked for.
        devices: kinds of device that the finished ones were computed on.
    """

    done: int = 0
    torn: bool = False
    lacking: int = 0
    devices: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, path: Path, keys: Iterable[Key], keep: Keep = "final", refill: bool = False
    ) -> Standing:
        """The standing of a folder of today's format, also of one without ``run.json``.

        Args:
            path: the folder.
            keys: the samples that are asked for.
            keep: what is to be kept of them.
            refill: whether those of which less is kept are not done.
        """
        files = record_files(path, form=2) or []
        records = Records(files, form=2, mend=True)
        torn = bool(records.damaged) or not all(map(ends_whole, files))
        done = lacking = 0
        devices: set[str] = set()
        for key in keys:
            if records.status(key) == OK:
                record = records[key]
                if not unfinished(path, record, records.written(key), refill):
                    less = record.lacks(keep)
                    lacking += less
                    devices.update(filter(None, [record.host.get("device")]))
                    done += not (less and refill)
        return cls(done, torn, lacking, frozenset(devices))


def unfinished(path: Path, record: Record, written: int, refill: bool) -> list[Damage]:
    """What of a record's files has its sample computed again: broken masks.

    Broken traces as well where that is asked for; they decide no result, and a sample is costly.

    Args:
        path: the run folder.
        record: a sample that is done.
        written: when the record's file was last written, ns since 1970.
        refill: whether traces are asked for.
    """
    traces = set() if refill else {path / inside for inside in record.traces}
    broken = broken_files(path, record, written, thorough=False)
    return [damage for damage in broken if damage.path not in traces]
