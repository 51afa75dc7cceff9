"""Tables of statistics: ours beside the published rows, and runs beside each other.

Both are :class:`int_bench.report.tables.Table`. Each method is a block of rows; the cells of
``row`` say what each is: published, ours, their difference, the verdict on it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from statistics import fmean, stdev

from int_bench.metrics.rules import PROTOCOLS
from int_bench.report.columns import SPEED_COLUMNS, columns, stored_names
from int_bench.report.published import (
    OF_METHODS,
    PROTOCOL,
    SETS,
    TABLES,
    PublishedRow,
    find,
    published,
    tables_of,
)
from int_bench.report.rows import DAGGER, Block, Settings
from int_bench.report.scores import trials_note
from int_bench.report.tables import Cell, Column, Row, Table, absent_samples
from int_bench.runs.labels import known, labelled_scores, seeds_of
from int_bench.scoring.results import RunScores

OF_F = (
    "The paper's text says adaptive F and cites the weighted F; its numbers fit the weighted F of"
    " the predecessors' code, so ours are those of the protocol family."
)
_SUPERVISED = "Supervision"
_NAMED = 3  # runs without a row
_FIRST = (
    Column("dataset", "data", numeric=False),
    Column("setting", "setting", numeric=False, hidden=True),
    Column("method", "method", numeric=False),
    Column("row", "row", numeric=False),
)
_LAST = (
    Column("protocol", "protocol", numeric=False),
    Column("n", "n"),
    Column("N", "N"),
    Column("trials", "trials", hidden=True),
    Column("failed", "failed"),
    Column("missing", "missing"),
    Column("policy", "policy", numeric=False, hidden=True),
    Column("F_variant", "Fβ is", numeric=False, hidden=True),
    Column("doubtful", "doubtful", numeric=False, hidden=True),
    Column("run", "run", numeric=False, hidden=True),
    *SPEED_COLUMNS,
)


def _columns(settings: Settings, tasks: Collection[str | None] = ()) -> tuple[Column, ...]:
    return (*_FIRST, *columns(tasks, True, settings.columns), *_LAST)


def paper_table(which: str, runs: Sequence[RunScores], settings: Settings | None = None) -> Table:
    """A table of the paper with ours beside the published rows.

    Args:
        which: ``1``, ``2``, ``3a``, ``3b`` or ``3c``.
        runs: ours; those that belong to no row are named beneath, or in Tables 1 and 2 stand at
            the end of their data set.
        settings: of the statistics.

    Raises:
        UsageError: no such table.
    """
    settings, runs = settings or Settings(), labelled_scores(runs)
    printed = published(which)
    rows: list[Row] = []
    placed: list[RunScores] = []
    for dataset in dict.fromkeys(row.dataset for row in printed):
        of_set = [run for run in runs if run.dataset in SETS and SETS[run.dataset].name == dataset]
        for row in (row for row in printed if row.dataset == dataset):
            fitting = [run for run in of_set if _place(which, run) is row]
            rows.append(_published_row(row))
            for run in fitting:
                rows += _beside(run, row, settings, fitting)
            placed += fitting
        unplaced = [run for run in of_set if run not in placed and which in OF_METHODS]
        for run in unplaced:
            shared = {**_shared(run, PROTOCOL.name), "dataset": dataset}
            block = Block(run, PROTOCOL.name, settings, shared=shared)
            rows += block.ours(block.estimates())
        placed += unplaced
    left_out = [run for run in runs if run not in placed]
    notes = [PROTOCOL.text, OF_F, *_flagged(printed)]
    if placed:
        notes += [settings.interval_note, settings.verdict_note, *_sizes(placed)]
    notes += _elsewhere(left_out)
    title = f"INT (arXiv 2501.18753), Table {which}: {TABLES[which].title}"
    return Table(title, _columns(settings), tuple(rows), tuple(notes), "dataset", ("dataset",))


def runs_table(runs: Sequence[RunScores], settings: Settings | None = None) -> Table:
    """Runs beside each other by data set and protocol, with the published row where there is one.

    With ``settings.against`` each run is compared, sample by sample, with that method's run.
    """
    groups = seeds_of([known(run) for run in runs])
    settings, runs = settings or Settings(), labelled_scores(runs)
    over_seeds = [(group.label, [runs[index] for index in group.members]) for group in groups]
    tasks = {run.task for run in runs}
    rows: list[Row] = []
    for dataset in dict.fromkeys((run.dataset, run.data) for run in runs):
        of_set = [run for run in runs if (run.dataset, run.data) == dataset]
        base = _base(of_set, settings.against)
        for protocol in PROTOCOLS:
            for run in of_set:
                shared = _shared(run, protocol)
                rows += _of_run(Block(run, protocol, settings, "ours", shared, tasks), base)
            for label, members in over_seeds:
                if members[0] in of_set:
                    shown = stored_names(protocol, tasks, settings.columns)
                    rows += _over_seeds(label, members, protocol, shown)
    notes = [*(protocol.text for protocol in PROTOCOLS.values()), settings.interval_note]
    if settings.against:
        notes.append(
            f"minus {settings.against}: mean difference on the same samples; p: two-sided paired"
            " permutation test of it, not corrected for the number of comparisons."
        )
    if any(row.cells["row"] == "published" for row in rows):
        notes += [OF_F, settings.verdict_note]
    return Table(
        "Runs", _columns(settings, tasks), tuple(rows), (*notes, *_sizes(runs)), "protocol"
    )


def _of_run(block: Block, base: RunScores | None) -> Iterator[Row]:
    """A run in a table of runs: the published row if there is one, ours, and against the base."""
    run, estimates = block.run, block.estimates()
    printed = None
    if block.protocol == PROTOCOL.name:
        places = (find(which, run.dataset, run.method) for which in tables_of(run.dataset))
        printed = next((row for row in places if row is not None), None)
    if printed is not None:
        row = _published_row(printed)
        yield Row({**row.cells, **block.shared}, shown=row.shown)
    yield from block.ours(estimates)
    if printed is not None:
        yield from block.beside(printed, estimates)
    if base is not None and run is not base:
        yield from block.against(base)


def _shared(run: RunScores, protocol: str) -> dict[str, Cell]:
    return {"dataset": run.dataset, "method": run.title, "protocol": protocol}


def _beside(
    run: RunScores, printed: PublishedRow, settings: Settings, fitting: Sequence[RunScores]
) -> Iterator[Row]:
    """Ours beneath a published row; named by method and folder where several fit."""
    label = f"ours ({run.title})" if len(fitting) > 1 else "ours"
    shared: dict[str, Cell] = {
        "dataset": printed.dataset,
        "setting": printed.setting,
        "method": printed.method,
    }
    block = Block(run, PROTOCOL.name, settings, label, shared)
    estimates = block.estimates()
    yield from block.ours(estimates)
    yield from block.beside(printed, estimates)


def _base(runs: Sequence[RunScores], against: str | None) -> RunScores | None:
    """The run that others are compared with: by its label, else the first of its method."""
    named = [run for run in runs if run.title == against]
    return next((run for run in (*named, *runs) if against in (run.title, run.method)), None)


def _over_seeds(
    label: str, members: Sequence[RunScores], protocol: str, names: Mapping[str, str]
) -> Iterator[Row]:
    """Of runs that differ in the seed alone, mean and standard deviation of their numbers.

    ``names`` is the stored score of each column.
    """
    means: dict[str, Cell] = {}
    deviations: dict[str, Cell] = {}
    for key, name in names.items():
        numbers = [run.mean(name) for run in members if name in run.values]
        known_numbers = [number for number in numbers if number is not None]
        if len(known_numbers) == len(members):
            means[key], deviations[key] = fmean(known_numbers), stdev(known_numbers)
    shared = {**_shared(members[0], protocol), "method": label}
    yield Row({**shared, "row": f"mean of {len(members)} seeds", **means}, ranked=False)
    yield Row({**shared, "row": f"sd over {len(members)} seeds", **deviations}, ranked=False)


def _place(which: str, run: RunScores) -> PublishedRow | None:
    return find(which, run.dataset, run.method, run.iterations, run.patches)


def _published_row(printed: PublishedRow) -> Row:
    """The numbers as printed, doubtful ones with a dagger."""
    doubtful = [key for key, cell in printed.cells.items() if cell.doubtful]
    known = next((known for known in SETS.values() if known.name == printed.dataset), None)
    cells: dict[str, Cell] = {
        "dataset": printed.dataset,
        "setting": printed.setting,
        "method": printed.method,
        "row": "published",
        **{key: cell.value for key, cell in printed.cells.items()},
        "N": known.size if known and known.stated else None,
        "doubtful": " ".join(doubtful),
    }
    shown = {
        key: cell.text + (DAGGER if cell.doubtful else "") for key, cell in printed.cells.items()
    }
    if printed.setting.endswith(_SUPERVISED):
        kind = printed.setting.removesuffix(_SUPERVISED).strip().lower()
        shown["method"] = f"{printed.method} ({kind})"
    return Row(cells, shown=shown)


def _elsewhere(runs: Sequence[RunScores]) -> list[str]:
    """The runs that a table has no row for: by name if they are few, else how many."""
    names = list(dict.fromkeys(f"{run.title} on {run.dataset}" for run in runs))
    if len(names) > _NAMED:
        return [f"not in this table: {len(names)} other runs"]
    return [f"not in this table: {', '.join(names)}"] if names else []


def _flagged(printed: Sequence[PublishedRow]) -> list[str]:
    """The remarks on rows and cells, each once with what it is about."""
    about: dict[tuple[bool, str], list[str]] = {}
    for row in printed:
        if row.remark:
            about.setdefault((False, row.remark), []).append(f"{row.method}, {row.dataset}")
        for key, cell in row.cells.items():
            if cell.remark:
                where = f"{row.method}, {row.dataset}, {key}"
                about.setdefault((cell.doubtful, cell.remark), []).append(where)
    return [
        f"{DAGGER if doubtful else ''}{'; '.join(where)}: {remark}"
        for (doubtful, remark), where in about.items()
    ]


def _sizes(runs: Sequence[RunScores]) -> list[str]:
    """What is particular about the samples of the runs."""
    notes = []
    for run in runs:
        notes += [f"{run.method} on {run.dataset}: {stamp}" for stamp in run.stamps]
        if run.counts.trials > 1:
            notes.append(trials_note(f"{run.title} on {run.dataset}", run.counts))
        if run.unseen:
            notes.append(f"{run.title} on {run.dataset}: not held against {run.unseen}")
        known = SETS.get(run.dataset)
        if known is not None and len(run.ids) != known.size:
            notes.append(
                f"{run.title} on {run.dataset}: {len(run.ids)} of {known.size} images, no verdict"
            )
        if not run.counts.complete:
            notes.append(
                f"INCOMPLETE: {run.method} on {run.dataset}: {absent_samples(run.counts.policy)}"
            )
    unstated = {SETS[r.dataset] for r in runs if r.dataset in SETS and not SETS[r.dataset].stated}
    for known in sorted(unstated, key=lambda known: known.name):
        notes.append(f"{known.name}: the paper gives no number of images; {known.size} is assumed")
    return list(dict.fromkeys(notes))
