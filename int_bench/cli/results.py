"""What ``eval``, ``table`` and ``compare`` share: run folders by path, by root or by hash."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from int_bench.errors import MissingAsset, UsageError
from int_bench.runs.layout import MANIFEST, find_runs
from int_bench.runs.scorable import StoredRun
from int_bench.scoring.results import RunScores

DEFAULT_ROOT = Path("results/runs")
_HASH = re.compile(r"[0-9a-f]{4,12}")


def load_run(folder: Path, verify: bool = False) -> RunScores:
    """The scores of a run folder, all trials; see :meth:`StoredRun.scores`.

    Raises:
        MissingAsset: no run folder, or it was not scored.
        UsageError: its scores are damaged, or of something else than lies there now.
    """
    return StoredRun(run_at(folder)).scores(verify)


def run_at(place: Path) -> Path:
    """One run folder: a path, or the beginning of a hash under the default root.

    Raises:
        UsageError: several runs have a hash that begins so, or lie under the path.
        MissingAsset: there is none.
    """
    folders = runs_in([place])
    if len(folders) > 1:
        raise UsageError(
            f"{place} holds {len(folders)} runs ({folders[0]}, {folders[1]}, ...); give one."
        )
    return folders[0]


def runs_in(places: Sequence[Path]) -> list[Path]:
    """The run folders among places, each once: a run folder, all under a root, or by hash.

    Raises:
        MissingAsset: a place is missing or holds no run.
    """
    return list(dict.fromkeys(folder for place in places for folder in _runs_of(place)))


def _runs_of(place: Path) -> list[Path]:
    if not place.is_dir():
        folders = _by_hash(str(place))
        if not folders:
            raise MissingAsset(f"{place}: there is no such folder.")
        return folders
    folders = [place] if (place / MANIFEST).is_file() else find_runs(place)
    if not folders:
        raise MissingAsset(
            f"There is no run under {place}: no folder there holds a {MANIFEST}; make one with"
            " `int-bench run`."
        )
    return folders


def _by_hash(text: str) -> list[Path]:
    """The runs under the default root whose folder's name begins so."""
    if not _HASH.fullmatch(text) or not DEFAULT_ROOT.is_dir():
        return []
    return [folder for folder in find_runs(DEFAULT_ROOT) if folder.name.startswith(text)]
