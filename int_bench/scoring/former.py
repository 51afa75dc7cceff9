"""``scores.csv`` of run folders of format 1: read as well as it can be, never written.

Trial n lies in ``scores.n.csv``; all protocols stand in one file as ``<protocol>.<metric>``. The
files do not say what they were made from, so that only what they hold can be checked.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from int_bench.errors import MissingAsset, UsageError
from int_bench.metrics.metrics import METRICS
from int_bench.metrics.rules import PROTOCOLS
from int_bench.metrics.summary import Counts
from int_bench.scoring.stored import is_score

COLUMNS = tuple(f"{protocol}.{name}" for protocol in PROTOCOLS for name in METRICS)


def former_files(folder: Path, trials: int) -> list[Path]:
    """Where the scores of each trial lie."""
    return [folder / (f"scores.{trial}.csv" if trial else "scores.csv") for trial in range(trials)]


def read_former(path: Path, again: str) -> list[dict[str, str]]:
    """The lines of one trial by column name.

    Args:
        path: the file.
        again: the command that scores the run again, for messages.

    Raises:
        MissingAsset: it is not there.
        UsageError: it is no table of scores, or a row of it is damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            lines = list(csv.DictReader(file))
    except OSError as error:
        raise MissingAsset(f"There is no {path}; score the run with `{again}`.") from error
    except csv.Error as error:
        raise UsageError(f"{path} holds no scores; score the run again with `{again}`.") from error
    if not lines or not {"id", "status"} <= lines[0].keys():
        raise UsageError(f"{path} holds no scores; score the run again with `{again}`.")
    twice = [key for key, times in Counter(line["id"] for line in lines).items() if times > 1]
    if twice:
        raise UsageError(f"{path} holds {twice[0]} twice; score the run again with `{again}`.")
    for line in lines:
        for name in COLUMNS:
            if name in line and not is_score(line[name], line["status"]):
                raise UsageError(
                    f"{path} holds {str(line[name])[:40]!r} for a score of {line['id']}; score the"
                    f" run again with `{again}`."
                )
    return lines


def former_counts(lines: Sequence[Mapping[str, str]]) -> Counts:
    """Counts of a trial; a sample without a mask that has a score was scored as empty.

    A file of scores with samples that are missing was made under ``skip``, as ``error`` refuses.
    """
    of = [line["status"] for line in lines]
    measured = [name for name in COLUMNS if name in lines[0]][:1]
    as_empty = any(line["status"] != "scored" and line[name] for line in lines for name in measured)
    scored, failed, missing = (of.count(status) for status in ("scored", "failed", "missing"))
    return Counts(
        len(of), scored, failed, missing, "empty" if as_empty else "skip" if missing else "error"
    )
