"""The stored scores of a run, all protocols and trials, held against what lies there now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from int_bench.core.types import Values
from int_bench.data.subset import Asked
from int_bench.errors import UsageError
from int_bench.metrics.metrics import METRICS
from int_bench.metrics.rules import PROTOCOLS
from int_bench.metrics.summary import Counts, mean, sample_means, total
from int_bench.scoring.former import former_counts, former_files, read_former
from int_bench.scoring.sources import ABSENT, Source, digest_of
from int_bench.scoring.stored import Link, StoredScores, file_of, read_file, rules_of


@dataclass(frozen=True)
class RunScores:
    """What a method reached on each sample.

    Attributes:
        folder: where the scores lie.
        method: its name.
        dataset: the data set's name.
        ids: the samples that were asked for, in order.
        values: by ``<protocol>.<metric>``, (trials, n) float64, NaN without a score.
        counts: over samples and trials.
        task: the name of the task, where known.
        iterations: of the method, where known.
        patches: its patch sets, as in ``original+halves``, where known.
        label: what tables call it; the method's name if empty.
        config: the resolved configuration, by which it is told from others.
        data: a hash of the data set, where known.
        unseen: what the scores could not be held against, since it is not here; empty mostly.
        stamps: what every table must say about the run.
    """

    folder: Path
    method: str
    dataset: str
    ids: tuple[str, ...]
    values: Mapping[str, Values]
    counts: Counts
    task: str | None = None
    iterations: int | None = None
    patches: str | None = None
    label: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    data: str = ""
    unseen: str = ""
    stamps: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What tables call it."""
        return self.label or self.method

    def by_sample(self, metric: str) -> dict[str, float]:
        """The score of each sample that has one, the mean over trials."""
        scores = self.values[metric]
        scored = np.flatnonzero((~np.isnan(scores)).any(axis=0))
        means = sample_means(scores)
        return {self.ids[place]: float(value) for place, value in zip(scored, means, strict=True)}

    def mean(self, metric: str) -> float | None:
        """The number of the data set; see :func:`int_bench.metrics.summary.mean`."""
        return mean(self.values[metric])


@dataclass(frozen=True)
class Present:
    """What a run's scores are held against.

    Attributes:
        trials: of the run.
        again: the command that scores it again.
        records: its records now; None for anybody's masks.
        maps: the maps of a trial now.
        truths: the ground truth now of the samples that are asked for; None if the data set is
            not here, so that it cannot be looked at.
        verify: read every byte, also where names, sizes and times are as they were.
    """

    trials: int
    again: str
    records: Source | None = None
    maps: Callable[[int], Source] | None = None
    truths: Callable[[Asked], Source] | None = None
    verify: bool = False


def metric_names() -> list[str]:
    """The stored scores that have a mean over samples, as ``<protocol>.<metric>``."""
    kept = [metric.name for metric in METRICS.values() if metric.mean == "samples"]
    return [f"{protocol}.{name}" for protocol in PROTOCOLS for name in kept]


def read_scores(folder: Path, method: str, dataset: str, present: Present) -> RunScores:
    """Read the scores of a run folder, of this format or the former.

    Args:
        folder: the run folder.
        method: its name.
        dataset: the data set's name.
        present: what they are held against.

    Raises:
        MissingAsset: the run was not scored.
        UsageError: a file is damaged, or of other records, maps, ground truth or rules than there
            are now, or the files are of different samples.
    """
    files = {
        (protocol, trial): file_of(folder, protocol, trial)
        for protocol in PROTOCOLS
        for trial in range(present.trials)
    }
    if not any(path.exists() for path in files.values()) and former_files(folder, 1)[0].exists():
        return _former(folder, method, dataset, present)
    stored = {key: read_file(path, present.again) for key, path in files.items()}
    everything = list(stored.values())
    for problem in chain(_unlike(everything), _stale(everything, present)):
        raise UsageError(f"{problem}; score the run again with `{present.again}`.")
    ids = tuple(line["id"] for line in next(iter(stored.values())).lines)
    values = {}
    for metric in metric_names():
        protocol, _, name = metric.partition(".")
        trials = [stored[protocol, trial].lines for trial in range(present.trials)]
        values[metric] = _values(trials, name)
    first = next(iter(PROTOCOLS))
    counts = total([stored[first, trial].counts for trial in range(present.trials)])
    return RunScores(folder, method, dataset, ids, values, counts)


def _former(folder: Path, method: str, dataset: str, present: Present) -> RunScores:
    files = former_files(folder, present.trials)
    trials = [read_former(path, present.again) for path in files]
    ids = tuple(line["id"] for line in trials[0])
    for path, lines in zip(files, trials, strict=True):
        if tuple(line["id"] for line in lines) != ids:
            raise UsageError(
                f"{path} is of other samples than {files[0]}; score the run again with"
                f" `{present.again}`."
            )
    names = [name for name in metric_names() if name in trials[0][0]]
    values = {name: _values(trials, name) for name in names}
    counts = total([former_counts(lines) for lines in trials])
    return RunScores(folder, method, dataset, ids, values, counts)


def _values(trials: Sequence[Sequence[Mapping[str, str]]], name: str) -> Values:
    cells = [[float(line[name]) if line[name] else np.nan for line in lines] for lines in trials]
    return np.array(cells, dtype=np.float64)


def _unlike(files: Sequence[StoredScores]) -> Iterator[str]:
    """What shows that the files of a run are not of one evaluation by this version."""
    first = files[0]
    ids = [line["id"] for line in first.lines]
    for stored in files:
        header = stored.header
        if header.rules != rules_of(PROTOCOLS[header.protocol]):
            yield f"{stored.path} was made by other rules than this version's"
        if [line["id"] for line in stored.lines] != ids:
            yield f"{stored.path} is of other samples than {first.path}"
        evaluation = (header.policy, header.limit, header.truths.hash)
        if evaluation != (first.header.policy, first.header.limit, first.header.truths.hash):
            yield f"{stored.path} is of another evaluation than {first.path}"


def _stale(files: Sequence[StoredScores], present: Present) -> Iterator[str]:
    """What shows that scores are not of what lies there now."""
    first, records = files[0], files[0].header.records
    if records is not None and present.records is not None:
        if _changed(records, present.records, present.verify):
            yield f"{first.path} is of other records than the run folder holds now"
    elif (records is None) != (present.records is None):
        yield f"{first.path} is of another kind of run"
    if present.truths is not None:
        ids = frozenset(line["id"] for line in first.lines)
        truths = present.truths(ids if first.header.selected else first.header.limit)
        yield from _first_changed(first, "truth", first.header.truths, truths, present.verify)
    if present.maps is not None:
        for stored in files:
            maps = present.maps(stored.header.trial)
            yield from _first_changed(stored, "map", stored.header.maps, maps, present.verify)


def _changed(link: Link, source: Source, verify: bool) -> bool:
    if not verify and source.stamp() == link.stamp:
        return False
    return digest_of(source.hashes()) != link.hash


def _first_changed(
    stored: StoredScores, column: str, link: Link, source: Source, verify: bool
) -> Iterator[str]:
    """The first sample whose file is not the one that was scored."""
    if not _changed(link, source, verify):
        return
    kind = {"map": "mask", "truth": "ground truth"}[column]
    hashes = source.hashes()
    now = {as_stored(key): value for key, value in hashes.items()}
    for line in stored.lines:
        if line[column] != now.get(line["id"], ABSENT):
            gone = " (it is gone)" if line["id"] not in now else ""
            yield f"{stored.path} is of another {kind} of {line['id']} than there is now{gone}"
    yield f"{stored.path} is of other samples than there are now"


def as_stored(text: str) -> str:
    """An id as the files hold it: odd bytes of a file name as escapes."""
    return text.encode(errors="backslashreplace").decode()
