"""What tells runs apart: names for the rows of one table, and which rows are seeds of one run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from int_bench.scoring.results import RunScores
from int_bench.scoring.score import Scored

_SPEED = frozenset(
    [
        "out",
        "keep",
        "device",
        "in_flight",
        "overlap",
        "memo_mb",
        "cpu_threads",
        "models_dir",
        "metrics",
        "executor",
        "sink",
        "label",
        "limit",
        "skip",
        "ids",
        "trials",
    ]
)
"""What decides no result; it tells runs apart where nothing else does."""
_FIRST = ("seed", "choices.models", "choices.task", "choices.reading")
"""Keys that say most, before the others in alphabetical order."""
_LAST = ("dataset.",)
_CLASS = "._target_"
"""The end of keys that name a class: what it is called says less than its options and its file."""
_LONGEST = 40  # characters of a value


@dataclass(frozen=True)
class Labelled:
    """A run as tables see it.

    Attributes:
        name: what it is called: its label, or its method.
        dataset: the data set's name.
        config: its resolved configuration, as in ``run.json``.
        folder: the run folder.
        images: how many were asked for, where known.
    """

    name: str
    dataset: str
    config: Mapping[str, Any]
    folder: Path
    images: int | None = None


def of_datasets(runs: Sequence[Labelled]) -> list[Labelled]:
    """The runs with a name for each data set that no other has, by what differs in its options."""
    nodes = [run.config.get("dataset", {}) for run in runs]
    sets = {(run.dataset, str(node)): node for run, node in zip(runs, nodes, strict=True)}
    named = [Labelled(name, "", {"dataset": node}, Path(name)) for (name, _), node in sets.items()]
    labels = dict(zip(sets, distinct(named), strict=True))
    return [
        replace(run, dataset=labels[run.dataset, str(node)])
        for run, node in zip(runs, nodes, strict=True)
    ]


def known(run: RunScores) -> Labelled:
    """Scores as tables tell them from others."""
    return Labelled(run.title, run.dataset, run.config, run.folder, run.counts.images)


def labelled_results(scored: Sequence[Scored], runs: Sequence[Labelled]) -> list[Scored]:
    """Results with names and data sets that tell them apart; ``runs`` are what they are of."""
    runs = of_datasets(runs)
    return [
        replace(result, name=label, dataset=run.dataset)
        for result, label, run in zip(scored, distinct(runs), runs, strict=True)
    ]


def labelled_scores(runs: Sequence[RunScores]) -> list[RunScores]:
    """Scores with a label each that no others of the table have on the same data set."""
    labels = distinct([known(run) for run in runs])
    return [replace(run, label=label) for run, label in zip(runs, labels, strict=True)]


@dataclass(frozen=True)
class Seeds:
    """Runs that differ in nothing but the seed.

    Attributes:
        label: what they are called together.
        members: their places among the runs.
    """

    label: str
    members: tuple[int, ...]


def distinct(runs: Sequence[Labelled]) -> list[str]:
    """A label for each run that no other of its data set has: its name, and what differs.

    Where the configurations are the same, the beginning of the folder's hash or its path.
    """
    labels = [run.name for run in runs]
    for members in _alike([(run.dataset, run.name) for run in runs]):
        parts = _differences([runs[index].config for index in members])
        for index, part in zip(members, parts, strict=True):
            labels[index] = ", ".join([runs[index].name, *part])
    for form in (lambda path: path.name[:6], str):
        for members in _alike(
            [(run.dataset, label) for run, label in zip(runs, labels, strict=True)]
        ):
            for index in members:
                labels[index] = f"{labels[index]} ({form(runs[index].folder)})"
    return labels


def seeds_of(runs: Sequence[Labelled]) -> list[Seeds]:
    """The groups of runs of as many images that differ in the seed alone, at least two each."""
    plain = [
        {
            key: value
            for key, value in flat(run.config).items()
            if key.partition(".")[0] not in _SPEED
        }
        for run in runs
    ]
    keys = [
        (
            run.dataset,
            run.name,
            run.images,
            tuple(sorted((k, str(v)) for k, v in values.items() if k != "seed")),
        )
        for run, values in zip(runs, plain, strict=True)
    ]
    groups = [
        members for members in _alike(keys) if len({plain[i].get("seed") for i in members}) > 1
    ]
    firsts = [runs[members[0]] for members in groups]
    named = [replace(run, config={**run.config, "seed": None}) for run in firsts]
    return [Seeds(*item) for item in zip(distinct(named), map(tuple, groups), strict=True)]


def _alike(values: Sequence[Any]) -> list[list[int]]:
    """The places of values that occur more than once, by value."""
    places = defaultdict(list)
    for index, value in enumerate(values):
        places[value].append(index)
    return [members for members in places.values() if len(members) > 1]


def _differences(configs: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """``KEY=VALUE`` of each configuration, of as few keys as tell apart what can be told apart."""
    flattened = [flat(config) for config in configs]
    chosen: list[str] = []
    groups = 1
    for key in sorted({key for values in flattened for key in values}, key=_rank):
        finer = len({tuple(str(values.get(k)) for k in (*chosen, key)) for values in flattened})
        if finer > groups:
            chosen, groups = [*chosen, key], finer
    names = _short(chosen)
    return [
        [f"{names[key]}={_shown(key, values[key])}" for key in chosen if key in values]
        for values in flattened
    ]


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Every value by dotted key; lists are values."""
    return dict(_leaves(config, ""))


def _leaves(node: Mapping[str, Any], under: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{under}{key}.")
        else:
            yield f"{under}{key}", value


def _rank(key: str) -> tuple[int, int, bool, str]:
    """Where a key stands among those that may tell runs apart."""
    first = _FIRST.index(key) if key in _FIRST else len(_FIRST)
    last = key.startswith(_LAST) + key.endswith(_CLASS)
    last += 4 * (key.removeprefix("choices.").partition(".")[0] in _SPEED)
    return first, last, not key.startswith("choices."), key


def _short(keys: Sequence[str]) -> dict[str, str]:
    """The last part of each key, or all of it where that is not enough; of a class, what it is."""
    parts = {key: key.removesuffix(_CLASS).replace("/", ".") for key in keys}
    last = {key: part.rpartition(".")[2] for key, part in parts.items()}
    times = list(last.values())
    return {key: name if times.count(name) == 1 else key for key, name in last.items()}


def _shown(key: str, value: Any) -> str:
    if isinstance(value, list | tuple):
        return "+".join(_shown(key, part) for part in value)
    text = str(value)
    if key.endswith(_CLASS):
        text = text.rpartition(".")[2]
    if text.startswith("/"):
        text = "/".join(Path(text).parts[-2:])
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
