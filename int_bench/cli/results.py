"""What ``table`` and ``compare`` share: read the scores of run folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from int_bench.errors import MissingAsset
from int_bench.runs.layout import MANIFEST, find_runs
from int_bench.runs.reader import Run
from int_bench.scoring.stored import SCORES, RunScores, read_scores

DEFAULT_ROOT = Path("results/runs")


def load_run(folder: Path) -> RunScores:
    """The scores of a run folder, all trials.

    Raises:
        MissingAsset: no run folder, or it was not scored.
        UsageError: a file of scores is damaged.
    """
    stored = Run(folder)
    config = stored.manifest.config
    files = [folder / SCORES] + [folder / f"scores.{t}.csv" for t in range(1, stored.trials)]
    run = read_scores(files, stored.name, stored.dataset)
    sets = _at(config, "method", "prompter", "generation", "grid", "sets")
    patches = "+".join(sets) if isinstance(sets, list) else None
    # The task's number is what a method takes unless it is told otherwise.
    iterations = _at(config, "method", "iterations") or _at(config, "task", "iterations")
    return replace(run, iterations=iterations, patches=patches)


def runs_in(places: Sequence[Path]) -> list[Path]:
    """The run folders among places: a run folder itself, or all under a root, each once.

    Raises:
        MissingAsset: a place is missing or holds no run.
    """
    found: list[Path] = []
    for place in places:
        if not place.is_dir():
            raise MissingAsset(f"{place}: there is no such folder.")
        folders = [place] if (place / MANIFEST).is_file() else find_runs(place)
        if not folders:
            raise MissingAsset(f"There is no run under {place}; make one with `int-bench run`.")
        found += folders
    return list(dict.fromkeys(found))


def _at(node: Any, *keys: str) -> Any:
    """A value in nested mappings; None where a key is missing."""
    for key in keys:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node
