"""What a page is made from: one run, or two, as far as what lies there can be read.

Nothing here fails on a part that is missing: scores that are stale are shown as such, what cannot
be read is None and counted, and the rest of the run is shown.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from int_bench.core.files import plain, read_plain
from int_bench.core.parsing import canonical
from int_bench.core.types import HardMask, Image, SoftMask, Values
from int_bench.data.dataset import Dataset, SampleFile, Truths
from int_bench.data.images import Map, read_map
from int_bench.data.subset import chosen
from int_bench.errors import SampleError, UserError
from int_bench.metrics.rules import PROTOCOLS
from int_bench.metrics.summary import total
from int_bench.runs.reader import Run
from int_bench.runs.records import Record
from int_bench.runs.scorable import StoredRun
from int_bench.scoring.predictions import MapFolder
from int_bench.scoring.results import RunScores, metric_names
from int_bench.scoring.stored import file_of, read_file


@dataclass
class Side:
    """One run of a page; trial 0 is shown.

    Attributes:
        folder: the run folder.
        lost: what could not be shown, so far: its kind, and which.
    """

    folder: Path
    lost: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.stored = StoredRun(self.folder)
        self.run = Run(self.folder)
        self.label = self.run.label
        self.warnings: list[str] = []

    @cached_property
    def maps(self) -> MapFolder:
        """The final masks that are as they were recorded, and why the others are not."""
        try:
            return self.stored.maps().trials[0]
        except UserError as error:
            self.warnings.append(str(error))
            return MapFolder(self.folder, {})

    @cached_property
    def records(self) -> Mapping[str, Record]:
        """The records of the trial by sample; read one by one, and not all at once."""
        if self.run.manifest.kind != "run":
            return {}
        with suppress(UserError):
            return _OfTrial(self.run)
        return {}

    @cached_property
    def scores(self) -> RunScores | None:
        """Its stored scores; stale ones with a warning, None without any."""
        try:
            return self.stored.scores()
        except UserError as error:
            self.warnings.append(f"Scores: {error}")
        with suppress(UserError, ValueError, KeyError):
            return self._unheld()
        return None

    def _unheld(self) -> RunScores:
        """The scores as they are stored, held against nothing.

        Raises:
            UserError: there are none, or they are not as they were written.
        """
        trials, again = range(self.run.trials), self.stored.again
        files = {
            (p, trial): read_file(file_of(self.folder, p, trial), again)
            for p in PROTOCOLS
            for trial in trials
        }
        first = next(iter(files.values()))
        values: dict[str, Values] = {}
        for metric in metric_names():
            protocol, _, name = metric.partition(".")
            cells = [[_value(line[name]) for line in files[protocol, t].lines] for t in trials]
            values[metric] = np.array(cells, dtype=np.float64)
        ids = tuple(line["id"] for line in first.lines)
        counts = total([files[first.header.protocol, trial].counts for trial in trials])
        task = self.stored.task
        return RunScores(self.folder, self.label, self.run.dataset, ids, values, counts, task)

    def mask(self, sample_id: str) -> Map | None:
        """The final mask, (H, W) of any levels; None where it is not there or broken."""
        path = self.maps.paths.get(sample_id)
        if path is not None:
            with suppress(SampleError):
                return read_map(path)
            self.lost.add(("masks", str(path)))
        return None

    def step_mask(self, record: Record, number: int) -> SoftMask | None:
        """M_i in 0..1, soft where it was kept, else hard; None where neither can be read."""
        step = record.iterations[number - 1]
        which = f"soft_{number}" if step.soft else str(number) if step.mask else None
        if which is None:
            return None
        try:
            with (
                plain(self.run.mask(0, record.id, which)) as content,
                PillowImage.open(content) as file,
            ):
                return np.asarray(file.convert("L"), dtype=np.float32) / np.float32(255)
        except (OSError, SyntaxError, ValueError, PillowImage.DecompressionBombError):
            self.lost.add(("masks of iterations", f"{self.folder} {which} {record.id}"))
            return None

    def sheet(self, record: Record, number: int) -> bytes | None:
        """What an iteration saw, as WebP; None where it was not kept, or is not what was kept."""
        path = self.run.trace(0, record.id, number)
        if path is None:
            return None
        try:
            content = read_plain(path)
            with PillowImage.open(io.BytesIO(content)) as file:
                whole = file.format == "WEBP"
        except (OSError, SyntaxError, ValueError, PillowImage.DecompressionBombError):
            whole = False
        if not whole:
            self.lost.add(("traces", str(path)))
            return None
        return content

    def at(self, *keys: str) -> Any:
        """A value of the stored configuration; None where a key is missing."""
        node: Any = self.run.manifest.config
        for key in keys:
            node = node.get(key) if isinstance(node, Mapping) else None
        return node


class _OfTrial(Mapping[str, Record]):
    """The records of the first trial by sample."""

    def __init__(self, run: Run) -> None:
        self._records = run.records

    def __getitem__(self, sample_id: str) -> Record:
        return self._records[0, sample_id]

    def __iter__(self) -> Any:
        return (sample_id for trial, sample_id in self._records if trial == 0)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, sample_id: object) -> bool:
        return (0, sample_id) in self._records


@dataclass
class Pictures:
    """Images and ground truth of the data set, as far as it is here.

    Attributes:
        side: the run that says which data set.
        lost: what could not be read, so far: its kind, and which.
    """

    side: Side
    lost: set[tuple[str, str]] = field(default_factory=set)

    @cached_property
    def truths(self) -> Truths | None:
        """The data set; None where it is not here."""
        try:
            truths = self.side.stored.truths()
            truths.samples()
        except UserError as error:
            self.side.warnings.append(f"Images and ground truth are not here: {error}")
            return None
        return truths

    @cached_property
    def samples(self) -> Sequence[SampleFile]:
        """What was asked for; without the data set, what there are records or masks of."""
        if self.truths is None:
            known = dict.fromkeys([*self.side.records, *self.side.maps.paths])
            return tuple(SampleFile(sample_id) for sample_id in known)
        try:
            asked = self.side.stored.asked(self.truths)
        except UserError:
            asked = None
        return tuple(chosen(self.truths.samples(), asked))

    def image(self, sample: SampleFile) -> Image | None:
        """(H, W, 3) RGB; None where it cannot be read."""
        load = getattr(self.truths, "load_image", None)
        if load is None:
            return None
        dataset: Dataset = self.truths  # type: ignore[assignment]
        try:
            return dataset.load_image(sample)
        except (SampleError, TypeError, AttributeError):
            self.lost.add(("images", sample.id))
            return None

    def truth(self, sample: SampleFile) -> HardMask | None:
        """(H, W); None without ground truth."""
        if self.truths is None:
            return None
        with suppress(SampleError):
            return self.truths.load_mask(sample)
        if sample.mask_path is not None:  # a picture of one's own never had one
            self.lost.add(("ground truths", sample.id))
        return None


def named_right(prompt: str | None, truth_name: str | None) -> bool | None:
    """Whether a prompt names what is there, one of them where there are several; None if unknown.

    >>> named_right("Frogs", "frog and owl"), named_right("crab", "owl"), named_right("crab", None)
    (True, False, None)
    """
    if truth_name is None or prompt is None:
        return None
    return canonical(prompt) in {canonical(name) for name in truth_name.split(" and ")}


def _value(cell: str) -> float:
    return float(cell) if cell else float("nan")
