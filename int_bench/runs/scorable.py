"""A run folder as scoring sees it: its maps, its failures, and what its scores are held against."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from int_bench.config.building import build_stored_dataset
from int_bench.data.dataset import Truths
from int_bench.data.fingerprint import images_hash, truths_hash
from int_bench.data.folders import PairedFolders
from int_bench.data.subset import Asked, asked_for, chosen
from int_bench.errors import MissingAsset, UsageError, UserError
from int_bench.runs.labels import Labelled
from int_bench.runs.reader import Run, record_files
from int_bench.scoring.predictions import MapFolder, maps_in
from int_bench.scoring.results import Present, RunScores, as_stored, read_scores
from int_bench.scoring.score import Scorable, has_truth
from int_bench.scoring.sources import Source, files_source, truths_source


class NoTruth(MissingAsset):
    """A run on pictures that have no ground truth: there is nothing that it could be scored by."""


class StoredRun:
    """A finished run, or anybody's masks whose scores are kept.

    Args:
        folder: the run folder.

    Raises:
        MissingAsset: it is no run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._run = Run(folder)
        self._manifest = self._run.manifest

    @property
    def name(self) -> str:
        """The method, as tables print it."""
        return self._manifest.label

    @property
    def dataset(self) -> str:
        """The data set's name."""
        return self._manifest.dataset

    @property
    def labelled(self) -> Labelled:
        """As tables tell it from others."""
        return Labelled(self.name, self.dataset, self._manifest.config, self.folder)

    @property
    def again(self) -> str:
        """The command that scores it."""
        return f"int-bench eval {shlex.quote(str(self.folder))}"

    @cached_property
    def masks(self) -> tuple[Path, Path] | None:
        """The folders of maps and of ground truth, if these are anybody's masks."""
        return self._manifest.places if self._manifest.kind == "masks" else None

    @property
    def task(self) -> str | None:
        """The name of its task."""
        name = self._at("task", "name")
        return name if isinstance(name, str) else None

    def truths(self) -> Truths:
        """The whole data set.

        Raises:
            UserError: it is not here, or is none.
        """
        if self.masks is not None:
            return PairedFolders(name=self.dataset, images=None, masks=str(self.masks[1]))
        return build_stored_dataset(self._manifest.content, self._manifest.path)

    def maps(self) -> Scorable:
        """The maps of all trials, those that have a record, and why the others are not there.

        Raises:
            UserError: the records or the masks cannot be read.
        """
        if self.masks is not None:
            maps = maps_in(self.masks[0], ids=[sample.id for sample in self.truths().samples()])
            return Scorable(self.name, self.folder, [maps], task=self.task)
        return scorable(self._run, self.name, self._run.trials, self.task)

    def asked(self, truths: Truths) -> Asked:
        """Which samples were asked for.

        Those of the last command, and whatever another over the same folder has recorded.
        """
        whole, manifest = truths.samples(), self._manifest
        asked = asked_for(whole, manifest.skip, manifest.limit, manifest.ids)
        if asked is None:
            return None
        recorded = {sample_id for _, sample_id in self._run.records}
        if isinstance(asked, frozenset):
            return asked | (recorded & {sample.id for sample in whole})
        places = (number for number, of in enumerate(whole, start=1) if of.id in recorded)
        return max(asked, max(places, default=0))

    def scores(self, verify: bool = False) -> RunScores:
        """The stored scores, held against what lies there now.

        Args:
            verify: read every byte of masks and ground truth, and see that the images are those of
                the run.

        Raises:
            NoTruth: the data set has no ground truth.
            MissingAsset: the run was not scored.
            UsageError: the scores or the images are damaged, or of something else.
        """
        truths: Truths | None = self._truths_here()
        if verify and truths is not None and self.images_changed(truths):
            raise UsageError(
                f"The images of {self.dataset} are not those that {self.folder} was made from; put "
                "them back, or give the command that made the run again: it begins a new one."
            )
        if truths is not None and not has_truth(truths, truths.samples()):
            raise NoTruth(
                f"{self.folder} is of pictures without ground truth, nothing is scored; "
                f"`int-bench table {shlex.quote(str(self.folder))}` lists what was found."
            )
        present = Present(
            self._run.trials,
            self.again,
            None if self.masks else records_source(self._run),
            self._maps_of,
            None if truths is None else lambda asked: _truths_of(truths, asked),
            verify,
        )
        scores = read_scores(self.folder, self._manifest.name, self.dataset, present)
        self._check_rows(scores)
        sets = self._at("method", "prompter", "generation", "grid", "sets")
        # The task's number is what a method takes unless it is told otherwise.
        iterations = self._at("method", "iterations") or self._at("task", "iterations")
        return replace(
            scores,
            task=self.task,
            iterations=iterations if isinstance(iterations, int) else None,
            label=self.name,
            config=self._manifest.config,
            data=str(self._manifest.data.get("content_hash") or ""),
            patches="+".join(map(str, sets)) if isinstance(sets, list) else None,
            stamps=self._manifest.stamps,
            unseen="" if truths is not None else "its ground truth, which is not here",
        )

    def images_changed(self, truths: Truths) -> bool:
        """Whether the images of a data set are others than the run was made from, if it says so."""
        return images_changed(self._run, truths)

    def _check_rows(self, scores: RunScores) -> None:
        """Refuse scores of a part of the run; those of format 1 do not say what they are of."""
        if self._manifest.format > 1 or record_files(self.folder, 1) is None:
            return
        rows = set(scores.ids)
        lacking = next((key for _, key in self._run.records if as_stored(key) not in rows), None)
        if lacking is not None:
            raise UsageError(
                f"The scores in {self.folder} have no row of {lacking}, which was run; score the"
                f" run again with `{self.again}`."
            )

    def _truths_here(self) -> Truths | None:
        try:
            truths = self.truths()
            truths.samples()
        except UserError:
            return None
        return truths

    def _maps_of(self, trial: int) -> Source:
        """The maps of a trial; records are read only where the masks have changed."""
        watched = self.masks[0] if self.masks else _final(self._run, trial)
        return replace(
            files_source({}, watched),
            hashes=lambda: files_source(self.maps().trials[trial].paths).hashes(),
        )

    def _at(self, *keys: str) -> Any:
        """A value in the stored configuration; None where a key is missing."""
        node: Any = self._manifest.config
        for key in keys:
            node = node.get(key) if isinstance(node, Mapping) else None
        return node


def images_changed(run: Run, truths: Truths) -> bool:
    """Whether the images of a run's data set are others than it recorded; False if it did not.

    Beginning and end of each are read: a file of equal size and time is found as well.
    """
    return _other(run, "content_hash", images_hash(truths.samples()))


def truth_changed(run: Run, truths: Truths) -> bool:
    """Whether the ground truth is another than the run recorded, as :func:`images_changed`."""
    return _other(run, "truth_hash", truths_hash(truths.samples()))


def _other(run: Run, key: str, now: str | None) -> bool:
    recorded = run.manifest.data.get(key)
    return None not in (recorded, now) and recorded != now


def scorable(run: Run, name: str, trials: int, task: str | None = None) -> Scorable:
    """The maps of all trials of a run; those that are not as they were recorded have failed.

    Raises:
        UserError: the records cannot be read.
    """
    maps = [_maps(run, trial) for trial in range(trials)]
    stamps = run.manifest.stamps
    return Scorable(name, run.path, maps, records_source(run), task, stamps=stamps)


def records_source(run: Run) -> Source:
    """What the records say that can be scored, for a later look whether it is still the same."""

    def watched() -> list[Path]:
        return record_files(run.path, run.manifest.format) or []

    return Source(lambda: {"": run.records_hash()}, watched)


def _maps(run: Run, trial: int) -> MapFolder:
    paths = run.masks(trial)
    failures = {key: reason for (of, key), reason in run.failures.items() if of == trial}
    for damage in run.verify(keys=[(trial, key) for key in paths]):
        if damage.key is not None and damage.path == paths.get(damage.key[1]):
            del paths[damage.key[1]]
            failures[damage.key[1]] = f"{damage.path} {damage.what}; run the same command again"
    sizes = {}
    if run.manifest.format == 1:  # its records do not know the bytes of their masks
        records = {key: run.records[trial, key] for key in paths}
        sizes = {key: record.size for key, record in records.items() if record.size is not None}
    return MapFolder(_final(run, trial), paths, failures, sizes)


def _final(run: Run, trial: int) -> Path:
    return run.mask_folder / str(trial) / "final"


def _truths_of(truths: Truths, asked: Asked) -> Source:
    samples = truths.samples()
    if isinstance(asked, frozenset):  # ids as files of scores hold them
        return truths_source(truths, [s for s in samples if as_stored(s.id) in asked])
    return truths_source(truths, chosen(samples, asked))
