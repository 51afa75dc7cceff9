"""The table at the end of a run or an evaluation: protocol by protocol, the floor last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from int_bench.metrics.summary import Counts, Summary
from int_bench.report.columns import Names, columns, every_column
from int_bench.report.tables import Cell, Column, Row, Table, absent_samples
from int_bench.runs.labels import Seeds
from int_bench.scoring.score import Scored


@dataclass(frozen=True)
class Spread:
    """Numbers over seeds, by measure."""

    mean: Mapping[str, float]
    sd: Mapping[str, float]


_FIRST = (
    Column("dataset", "data", numeric=False),
    Column("protocol", "protocol", numeric=False),
    Column("method", "method", numeric=False),
)
_WHICH_F = Column("F_variant", "Fβ is", numeric=False)
_LAST = (
    Column("scored", "scored"),
    Column("failed", "failed"),
    Column("missing", "missing"),
)


def score_table(
    title: str, scored: Sequence[Scored], seeds: Sequence[Seeds] = (), names: Names = ()
) -> Table:
    """The scores of methods, and of the trivial answers on the same samples.

    Args:
        title: what the table is of.
        scored: methods on one or several data sets (which then get a column).
        seeds: which of them differ in the seed alone; their mean and spread are rows of their own.
        names: keys of the columns; none: the paper's four, and those of the tasks.
    """
    protocols = list(dict.fromkeys(s.protocol for run in scored for s in run.summaries))
    datasets = {run.dataset: run for run in scored}
    methods = [_row(run.dataset, run.name, s) for run in scored for s in run.summaries]
    methods += [row for group in seeds for row in _spread_rows(group, scored)]
    floor = [row for run in datasets.values() for row in _floor(run, scored)]
    rows = [
        row
        for protocol in protocols
        for row in (*methods, *floor)
        if row.cells["protocol"] == protocol.name
    ]
    first = _FIRST if len(datasets) > 1 else _FIRST[1:]
    numbers = list(columns({run.task for run in scored}, names=names))
    keys = [column.key for column in numbers]
    if "F" in keys:
        numbers.insert(1 + keys.index("F"), _WHICH_F)
    shown = (*first, *numbers, *_LAST)
    notes = [*(protocol.text for protocol in protocols), *_notes(scored)]
    return Table(title, shown, tuple(rows), tuple(notes))


def _floor(run: Scored, scored: Sequence[Scored]) -> Iterator[Row]:
    """The trivial answers on a data set, unless they are among the methods."""
    methods = {other.name for other in scored}
    for kind, summaries in run.floor.items():
        if kind not in methods:
            yield from (_row(run.dataset, kind, summary, True) for summary in summaries)


def _row(dataset: str, method: str, summary: Summary, floor: bool = False) -> Row:
    counts, protocol = summary.counts, summary.protocol
    cells: dict[str, Cell] = {
        "dataset": dataset,
        "protocol": protocol.name,
        "method": method,
        **{c.key: summary.values.get(c.variant(protocol)) for c in every_column().values()},
        "F_variant": protocol.printed_f,
        "scored": counts.scored,
        "failed": counts.failed,
        "missing": counts.missing,
    }
    return Row(cells, floor)


def spread(scored: Sequence[Scored], group: Seeds) -> dict[str, Spread]:
    """Mean and standard deviation over seeds, by protocol; unrounded.

    The deviation is that of a sample (one less than their number below the root).
    """
    by_protocol: dict[str, list[Mapping[str, float]]] = {}
    for index in group.members:
        for summary in scored[index].summaries:
            by_protocol.setdefault(summary.protocol.name, []).append(summary.values)
    return {
        protocol: Spread(
            *({name: of([v[name] for v in values]) for name in values[0]} for of in (fmean, stdev))
        )
        for protocol, values in by_protocol.items()
        if len(values) > 1
    }


def spread_as_json(scored: Sequence[Scored], seeds: Sequence[Seeds]) -> dict[str, Any]:
    """``seeds``: a group each, with mean and sd by protocol; nothing without groups."""
    groups = [
        {
            "label": group.label,
            "runs": [str(scored[index].folder) for index in group.members],
            "metrics": {name: asdict(values) for name, values in spread(scored, group).items()},
        }
        for group in seeds
    ]
    return {"seeds": groups} if groups else {}


def _spread_rows(group: Seeds, scored: Sequence[Scored]) -> Iterator[Row]:
    first, count = scored[group.members[0]], len(group.members)
    by_protocol = {summary.protocol.name: summary.protocol for summary in first.summaries}
    for name, values in spread(scored, group).items():
        protocol = by_protocol[name]
        for label, numbers in (
            (f"{group.label}: mean of {count} seeds", values.mean),
            (f"{group.label}: sd over {count} seeds", values.sd),
        ):
            cells = {c.key: numbers.get(c.variant(protocol)) for c in every_column().values()}
            known = {"dataset": first.dataset, "protocol": name, "method": label}
            yield Row({**known, **cells, "F_variant": protocol.printed_f}, ranked=False)


def _notes(scored: Sequence[Scored]) -> Iterator[str]:
    """Stamps, trials, and what the means do about samples without a score, where there are any."""
    for run in scored:
        yield from (f"{run.name} on {run.dataset}: {stamp}" for stamp in run.stamps)
        if run.counts.trials > 1:
            yield trials_note(f"{run.name} on {run.dataset}", run.counts)
    counts = [run.counts for run in scored if run.summaries and not run.counts.complete]
    for policy in dict.fromkeys(of.policy for of in counts):
        yield f"INCOMPLETE: {absent_samples(policy)}"


def trials_note(name: str, counts: Counts) -> str:
    """That a run has several trials, for beneath a table."""
    return (
        f"{name}: {counts.trials} trials of {counts.images} images; an image's score is its mean"
        " over trials, and scored, failed and missing count each trial"
    )
