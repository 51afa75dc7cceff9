"""A page as data: everything that a template draws, bounded by a budget of bytes.

What is costly is made by :mod:`int_bench.report.html.maker`; mark-up by ``render``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from int_bench.core.text import shown
from int_bench.data.dataset import SampleFile
from int_bench.errors import UserError
from int_bench.metrics.metrics import metric_of
from int_bench.report.columns import stored_names
from int_bench.report.html.facts import Fact, differences, facts, warnings
from int_bench.report.html.maker import MIB, Maker, Measured
from int_bench.report.html.measured import floor_scores
from int_bench.report.html.sides import Pictures, Side, named_right
from int_bench.report.html.story import plain
from int_bench.report.paper_tables import runs_table
from int_bench.report.tables import Table
from int_bench.runs.records import FAILED, OK
from int_bench.scoring.results import RunScores

FIRST_METRIC = "native.S"


@dataclass(frozen=True)
class Page:
    """All that a page shows.

    Attributes:
        sides: the run, or the two.
        facts: what was run.
        differences: of two runs, what of their identities differs.
        warnings: what to beware of.
        tables: scores with intervals, and of two runs their paired differences.
        entries: the images, in the order of the data set; see :class:`_Entries`.
        metrics: what the images' scores are.
        stories: pictures and stories by the image's number.
        measured: curves, floor and sizes.
        left_out: what is not on the page, and why.
    """

    sides: tuple[Side, ...]
    facts: list[Fact]
    differences: list[Fact]
    warnings: list[str]
    tables: list[Table]
    entries: list[dict[str, Any]]
    metrics: list[dict[str, Any]]
    stories: dict[int, dict[str, Any]]
    measured: Measured
    left_out: list[str]


def gather(folders: Sequence[Path], budget: int = 20 * MIB) -> Page:
    """Everything of one run or two.

    Args:
        folders: the run folders; the second is held against the first, image by image.
        budget: bytes that the file may have.

    Raises:
        UserError: a folder is no run folder.
    """
    sides = tuple(Side(folder) for folder in folders)
    if len(sides) > 1:  # whatever the runs are called, they are told apart
        for letter, side in zip("AB", sides, strict=False):
            side.label = f"{letter}: {side.label}"
    pictures = Pictures(sides[0])
    scored = [side.scores and replace(side.scores, label=side.label) for side in sides]
    metrics = _metrics([run for run in scored if run is not None])
    entries = _entries(sides, pictures.samples, metrics)
    for metric in metrics:
        metric.pop("name")
    maker = Maker(sides, pictures, entries, budget)
    order = _order(entries, metrics)
    stories = maker.make(order)
    tables = _tables([run for run in scored if run is not None], maker.measured)
    lost = Counter(kind for kind, _ in pictures.lost.union(*(side.lost for side in sides)))
    left_out = maker.left_out()
    if lost:
        counted = ", ".join(f"{count} {kind}" for kind, count in lost.items())
        left_out.append(f"Could not be read, and are placeholders: {counted}.")
    return Page(
        sides,
        facts(sides),
        differences(sides) if len(sides) > 1 else [],
        warnings(sides),
        tables,
        entries,
        metrics,
        stories,
        maker.measured,
        left_out,
    )


def _metrics(scored: Sequence[RunScores]) -> list[dict[str, Any]]:
    """The scores of an image, the one that the page is sorted by first."""
    names = dict.fromkeys(
        name
        for protocol in ("native", "family")
        for name in stored_names(protocol, ("polyp",)).values()
        if any(name in run.values for run in scored)
    )
    ordered = sorted(names, key=lambda name: name != FIRST_METRIC)
    return [
        {
            "name": name,
            "symbol": metric_of(name).symbol,
            "key": name,
            "protocol": name.partition(".")[0],
            "lower": metric_of(name).lower_is_better,
        }
        for name in ordered
    ]


def _entries(
    sides: Sequence[Side], samples: Sequence[SampleFile], metrics: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """A line for each image: id, what it shows, and of each run what became of it."""
    values = [
        {metric["name"]: side.scores.by_sample(metric["name"]) for metric in metrics
         if side.scores and metric["name"] in side.scores.values}
        for side in sides
    ]  # fmt: skip
    entries = []
    for sample in samples:
        entry: dict[str, Any] = {"id": sample.id, "runs": []}
        if sample.truth_name is not None:
            entry["truth"] = sample.truth_name
        for side, of in zip(sides, values, strict=True):
            scores = [of.get(metric["name"], {}).get(sample.id) for metric in metrics]
            entry["runs"].append({**_became(side, sample), "scores": scores})
        entries.append(plain(entry))
    return entries


def _became(side: Side, sample: SampleFile) -> dict[str, Any]:
    """Of a run's image: ``state``, the prompt, whether it is right, and why it failed."""
    record = side.records.get(sample.id)
    failure = side.maps.failures.get(sample.id)
    prompt = record.prompt if record is not None else None
    became: dict[str, Any] = {"state": "done"}
    if record is not None and record.status == FAILED:
        became = {"state": "failed", "note": record.error or "failed"}
    elif failure is not None:
        became = {"state": "broken", "note": failure}
    elif sample.id not in side.maps.paths:
        became = {"state": "missing"}
    if prompt and record is not None and record.status == OK:
        became["prompt"] = prompt
        right = named_right(prompt, sample.truth_name)
        if right is not None:
            became["right"] = right
    return became


def _order(entries: Sequence[Mapping[str, Any]], metrics: Sequence[Mapping[str, Any]]) -> list[int]:
    """The images that matter most first: the largest change between two runs, else the worst."""
    if not metrics:
        return list(range(len(entries)))
    sign = -1.0 if metrics[0]["lower"] else 1.0

    def rank(number: int) -> tuple[float, int]:
        scores = [run["scores"][0] for run in entries[number]["runs"]]
        if any(score is None for score in scores):
            return np.inf, number
        change = -abs(scores[1] - scores[0]) if len(scores) > 1 else sign * scores[0]
        return change, number

    return sorted(range(len(entries)), key=rank)


def _tables(scored: Sequence[RunScores], measured: Measured) -> list[Table]:
    """Scores with their intervals above the floor, and of two runs their paired differences."""
    if not scored:
        return []
    floor = [floor_scores(kind, rows, scored[0]) for kind, rows in measured.floor.items() if rows]
    return [_plain(runs_table([*scored, *floor])), *_paired(scored)]


def _plain(table: Table) -> Table:
    """Without rows that measure nothing, and without columns that say one thing only."""
    rows = tuple(row for row in table.rows if row.cells.get("n") or not row.floor)
    columns = tuple(
        column
        for column in table.columns
        if column.key not in ("dataset", "row") or len({row.cells[column.key] for row in rows}) > 1
    )
    return replace(table, title="Scores", rows=rows, columns=columns)


def _paired(scored: Sequence[RunScores]) -> Iterator[Table]:
    from int_bench.report.comparison import compare

    if len(scored) > 1:
        try:
            yield compare(scored[0], scored[1], FIRST_METRIC, common=True).table()
        except UserError as error:
            yield Table(shown(str(error)), (), ())
