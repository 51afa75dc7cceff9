"""Whole runs, from Python."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from warnings import warn

from int_bench.api.scores import Scores, scores_of
from int_bench.api.words import Folders, Value, take_folders, words
from int_bench.config import build_method, load_config
from int_bench.core.files import write_file
from int_bench.core.types import HardMask
from int_bench.data.images import read_mask
from int_bench.data.subset import chosen
from int_bench.errors import MissingAsset
from int_bench.report.html.page import gather
from int_bench.report.html.render import render
from int_bench.runs.executors.compute import compute
from int_bench.runs.preflight.checks import preflight
from int_bench.runs.prepare import Prepared, prepare
from int_bench.runs.reader import Records
from int_bench.runs.reader import Run as Folder
from int_bench.runs.scorable import NoTruth, StoredRun
from int_bench.runs.sinks.telling import trackers
from int_bench.runs.variants import RunRequest
from int_bench.scoring.predictions import MapFolder
from int_bench.scoring.score import has_truth


def run(*overrides: str, config_dir: Folders = None, **keywords: Value) -> Run:
    """Segment a data set; what is already done of the same run is not done again.

    Samples that fail are in ``run.scores.counts`` and, with their reasons, in ``run.failures``.

    Args:
        overrides: ``KEY=VALUE`` as on the command line; with ``keep=trace`` a report tells why.
        config_dir: folders of YAML files of one's own, as ``--config-dir``; from now on.
        keywords: the same as keywords, e.g. ``limit=8``, ``seed=1``, ``task="a shadow"``.

    Raises:
        UsageError: something is wrong with them, in the sentence of the command line.
        MissingAsset: a file, a data set or a model's weights are not here.
    """
    take_folders(config_dir)
    config = load_config(words(overrides, keywords))
    request, method = RunRequest(config), build_method(config)
    prepared, lack = list[Prepared](), None
    try:
        prepared = prepare([request])
    except MissingAsset as error:
        lack = error
    preflight([request], prepared, [method], lack).refuse()
    with trackers(prepared, warn) as told:
        compute(prepared, [method], config, told.watch)
        run = Run(prepared[0].path, frozenset(sample.id for sample in prepared[0].samples))
        if config.sink is not None:
            with suppress(NoTruth):
                told.scored(run.path, run.scores.metrics)
    return run


def read_run(path: str | os.PathLike[str]) -> Run:
    """A run folder, of any format.

    Raises:
        MissingAsset: it is no run folder, or of a newer version, or was edited.
    """
    return Run(Path(path).expanduser())


class Masks(Mapping[str, HardMask]):
    """The final masks of a run by sample, (H, W) bool; each is read when it is asked for.

    Reading one raises SampleError where its file is damaged.
    """

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self.paths = paths

    def __getitem__(self, sample: str) -> HardMask:
        return read_mask(self.paths[sample])

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __repr__(self) -> str:
        return f"Masks({len(self)} samples)"


class Run:
    """What a run left behind.

    Args:
        path: the run folder.
        ids: the samples that count; None for all that were asked for.

    Attributes:
        path: the run folder.
        name: the method, as tables print it.
        dataset: the data set's name.
    """

    def __init__(self, path: Path, ids: frozenset[str] | None = None) -> None:
        self._stored = StoredRun(path)
        self._ids = ids
        self.path = path
        self.name = self._stored.name
        self.dataset = self._stored.dataset

    @cached_property
    def records(self) -> Records:
        """The records by (trial, sample): prompt, box, iterations, seconds, or the error."""
        return Folder(self.path).records

    @property
    def failures(self) -> dict[tuple[int, str], str]:
        """Why a sample failed, by (trial, sample)."""
        return {
            (trial, key): reason
            for trial, maps in enumerate(self._trials)
            for key, reason in maps.failures.items()
            if self._counts(key)
        }

    @property
    def trials(self) -> tuple[Masks, ...]:
        """The final masks of each trial."""
        return tuple(
            Masks({key: path for key, path in maps.paths.items() if self._counts(key)})
            for maps in self._trials
        )

    @property
    def masks(self) -> Masks:
        """The final masks of the first trial."""
        return self.trials[0]

    @cached_property
    def scores(self) -> Scores:
        """The scores over all trials, of the masks and the ground truth as they are now.

        Raises:
            MissingAsset: the data set is not here, or has no ground truth.
        """
        truths = self._stored.truths()
        asked = chosen(truths.samples(), self._stored.asked(truths))
        samples = [sample for sample in asked if self._counts(sample.id)]
        if not has_truth(truths, samples):
            raise NoTruth(f"{self.path} is of pictures without ground truth: it has no scores.")
        return scores_of(self.name, truths, self._trials, samples)

    def report(self, path: str | os.PathLike[str], other: Run | None = None) -> Path:
        """Write one HTML file of it, or of it beside another run; the path.

        What was seen and weighed is in it where the run was made with ``keep=trace``.

        Raises:
            UserError: see ``int-bench report``.
        """
        place = Path(path).expanduser()
        page = gather([self.path, *([] if other is None else [other.path])])
        write_file(place, render(page).encode(errors="backslashreplace"))
        return place

    @cached_property
    def _trials(self) -> Sequence[MapFolder]:
        return self._stored.maps().trials

    def _counts(self, sample_id: str) -> bool:
        return self._ids is None or sample_id in self._ids

    def __repr__(self) -> str:
        return f"Run({self.name!r} on {self.dataset!r}, {len(self.masks)} masks, {self.path})"
