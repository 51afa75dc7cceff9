"""Whole runs, from Python."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from int_bench.api.scores import Scores, scores_of
from int_bench.api.words import Value, words
from int_bench.config import build_method, load_config
from int_bench.config.building import build_stored_dataset
from int_bench.core.types import HardMask
from int_bench.data.dataset import Truths
from int_bench.data.subset import First
from int_bench.errors import MissingAsset
from int_bench.runs.compute import compute
from int_bench.runs.layout import MANIFEST
from int_bench.runs.prepare import prepare
from int_bench.runs.reader import Records
from int_bench.runs.reader import Run as Folder
from int_bench.runs.variants import RunRequest
from int_bench.scoring.predictions import MapFolder


def run(*overrides: str, **keywords: Value) -> Run:
    """Segment a data set; what is already done of the same run is not done again.

    Samples that fail are in ``run.scores.counts`` and, with their reasons, in ``run.failures``.

    Args:
        overrides: ``KEY=VALUE`` as on the command line.
        keywords: the same as keywords, e.g. ``limit=8``, ``seed=1``, ``task="a shadow"``.

    Raises:
        UsageError: Something is wrong with them, in the sentence of the command line.
        MissingAsset: A file, a data set or a model's weights are not here.
    """
    config = load_config(words(overrides, keywords))
    (prepared,) = prepare([RunRequest(config)])
    compute([prepared], [build_method(config)], config)
    return Run(Folder(prepared.path), prepared.dataset)


def read_run(path: str | os.PathLike[str]) -> Run:
    """A run folder, of any format.

    Raises:
        MissingAsset: It is no run folder, or of a newer version, or was edited.
    """
    folder = Folder(Path(path).expanduser())
    return Run(folder)


class Masks(Mapping[str, HardMask]):
    """The final masks of a run by sample, (H, W) bool; each is read when it is asked for."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self.paths = paths

    def __getitem__(self, sample: str) -> HardMask:
        path = self.paths[sample]
        try:
            with Pillow.open(path) as picture:
                return np.asarray(picture.convert("L")) > 0
        except OSError as error:
            raise MissingAsset(f"{path} cannot be read; run the same again.") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)


class Run:
    """What a run left behind.

    Attributes:
        path: the run folder.
        name: the method, e.g. ``int-no_pnm``.
        dataset: the data set's name.
    """

    def __init__(self, folder: Folder, truths: Truths | None = None) -> None:
        self._folder = folder
        self._truths = truths
        self.path = folder.path
        self.name = folder.name
        self.dataset = folder.dataset

    @property
    def records(self) -> Records:
        """The records by (trial, sample): prompt, box, iterations, seconds, or the error."""
        return self._folder.records

    @property
    def failures(self) -> dict[str, str]:
        """Why a sample of the first trial failed."""
        return {sample: why for (trial, sample), why in self._folder.failures.items() if not trial}

    @property
    def masks(self) -> Masks:
        """The final masks of the first trial."""
        return Masks(self._folder.masks())

    @cached_property
    def scores(self) -> Scores:
        """The scores of the first trial, of the masks and the ground truth as they are now.

        Raises:
            MissingAsset: The data set is not here, or has no ground truth.
        """
        masks = self._folder.masks()
        maps = MapFolder(self._folder.mask_folder / "0" / "final", masks, self.failures)
        return scores_of(self.name, self._data(), maps)

    def _data(self) -> Truths:
        """The data set with the samples that were asked for."""
        if self._truths is not None:
            return self._truths
        manifest = self._folder.manifest
        whole = build_stored_dataset(manifest.content, self.path / MANIFEST)
        limit = manifest.config.get("limit")
        return First(whole, limit if isinstance(limit, int) else None)

    def __repr__(self) -> str:
        return f"Run({self.name!r} on {self.dataset!r}, {len(self.masks)} masks, {self.path})"
