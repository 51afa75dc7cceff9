"""``int-bench table`` and ``compare``: the paper's tables with ours beside them; runs by pairs."""

from __future__ import annotations

import json as json_format
from collections.abc import Callable, Sequence
from pathlib import Path

from int_bench.cli.results import DEFAULT_ROOT, load_run, runs_in
from int_bench.cli.screen import drawn, say, say_some
from int_bench.config.binding import closest
from int_bench.core.files import write_file
from int_bench.errors import Exit, MissingAsset, SampleError, UsageError, UserError
from int_bench.metrics.metrics import METRICS
from int_bench.report.comparison import compare
from int_bench.report.latex import to_latex
from int_bench.report.paper_tables import paper_table, runs_table
from int_bench.report.point_table import point_table
from int_bench.report.published import TABLES
from int_bench.report.rows import Settings
from int_bench.report.sapnet.places import measure_of
from int_bench.report.sapnet.scores import instance_scores
from int_bench.report.sapnet.tables import NAMES as SAPNET
from int_bench.report.sapnet.tables import PREFIX, sapnet_table
from int_bench.report.segments import found_by
from int_bench.report.tables import Table
from int_bench.runs.labels import labelled_scores
from int_bench.runs.layout import find_runs
from int_bench.runs.scorable import NoTruth, StoredRun
from int_bench.scoring.results import RunScores, metric_names

FORMATS: dict[str, Callable[[Table], str]] = {
    "md": Table.to_markdown,
    "latex": to_latex,
    "csv": Table.to_csv,
    "json": lambda table: table.to_json() + "\n",
    "terminal": drawn,
}

OTHER_TABLES: dict[str, Callable[[Sequence[StoredRun], Settings], Table]] = {"plm": point_table}
"""Of other systems than INT: what their runs' masks say, by name."""


def table_command(
    words: Sequence[str],
    runs: Sequence[Path],
    settings: Settings,
    form: str | None = None,
    out: Path | None = None,
    verify: bool = False,
) -> int:
    """Print or write a table.

    Args:
        words: the table's name (one of INT's, or of ``OTHER_TABLES``), and further run folders
            beside ``runs``.
        runs: run folders, roots of them, or hashes.
        settings: of the statistics.
        form: of the text; None chooses by the name of ``out``, or the terminal.
        out: the file to write; None prints.
        verify: read every byte that scores were made from.

    Raises:
        UserError: no table and no runs, an unknown format, or a folder that holds no scores.
    """
    known = _names()
    names = [word for word in words if word in known]
    places = [*runs, *(Path(word) for word in words if word not in known)]
    if len(names) > 1 or not (names or places):
        raise UsageError(f"Say which table ({', '.join(known)}), or --runs DIR [DIR...].")
    if names and settings.against:
        raise UsageError("--against compares runs with each other: give --runs DIR, and no table.")
    render = FORMATS[_format(form, out)]
    if len(words) == 1 and not (names or runs):
        _check_name(words[0])
    text = render(_table(names, places, settings, verify))
    if out is None:
        print(text, end="")
    else:
        write_file(out, text.encode())
        say(f"wrote {out}")
    return Exit.DONE


def _table(names: Sequence[str], places: Sequence[Path], settings: Settings, verify: bool) -> Table:
    """The paper's table, or runs beside each other, or what runs without ground truth found."""
    if names and names[0] in SAPNET:
        return _of_sapnet(names[0], places)
    if names and names[0] in OTHER_TABLES:
        stored = [StoredRun(folder) for folder in runs_in(places or [DEFAULT_ROOT])]
        return OTHER_TABLES[names[0]](stored, settings)
    scored, unscored = _loaded(places, verify)
    if unscored and not (scored or names):
        return found_by(unscored)
    lists = "`int-bench table` of each lists what was found"
    say_some([f"left out {folder}: no ground truth; {lists}" for folder in unscored], lists)
    loaded = _with_base(scored, settings.against)
    return paper_table(names[0], loaded, settings) if names else runs_table(loaded, settings)


def _names() -> tuple[str, ...]:
    return (*TABLES, *OTHER_TABLES, *SAPNET)


def _of_sapnet(name: str, places: Sequence[Path]) -> Table:
    """A table of SAPNet; of all runs under a root, those that recorded what it needs."""
    scored, left_out, measure = [], [], measure_of(name.removeprefix(PREFIX))
    for folder in runs_in(places) if places else find_runs(DEFAULT_ROOT):
        try:
            scored.append(instance_scores(folder, measure))
        except (MissingAsset, SampleError) as error:
            if folder in places:
                raise
            left_out.append(f"left out {folder}: {error}")
    if places:
        say_some(left_out, "they are of no method that this table is of")
    return sapnet_table(name, scored)


def _check_name(word: str) -> None:
    """Refuse what is neither a table nor a run."""
    try:
        runs_in([Path(word)])
    except MissingAsset as error:
        if not Path(word).exists():
            names = ", ".join(_names())
            raise UsageError(f"There is no table {word!r}; choose {names}.") from error


def _loaded(places: Sequence[Path], verify: bool) -> tuple[list[RunScores], list[Path]]:
    """The scored runs among places, or all under the default root, and those without ground truth.

    Of many, those that have no scores, or stale ones, are named on stderr; one alone is refused.
    """
    if not places and not (DEFAULT_ROOT.is_dir() and any(DEFAULT_ROOT.iterdir())):
        return [], []
    folders = runs_in(places or [DEFAULT_ROOT])
    loaded, unscored, left_out = [], [], []
    for folder in folders:
        try:
            loaded.append(load_run(folder, verify))
        except NoTruth:
            unscored.append(folder)
        except UserError as error:
            if folder in places or len(folders) == 1:
                raise
            left_out.append(f"left out {folder}: {error}")
    say_some(left_out, "`int-bench eval` of each says what it lacks")
    return loaded, unscored


def _with_base(runs: list[RunScores], against: str | None) -> list[RunScores]:
    """The runs, the one that others are compared with among them."""
    labels = [run.title for run in labelled_scores(runs)]
    methods = list(dict.fromkeys((*(run.method for run in runs), *labels)))
    if against is not None and against not in methods:
        raise UsageError(f"No run of --against {against} here; there are {', '.join(methods)}.")
    return runs


def _format(form: str | None, out: Path | None) -> str:
    by_suffix = {".tex": "latex", ".md": "md", ".csv": "csv", ".json": "json"}
    chosen = form or by_suffix.get(out.suffix if out else "", "terminal")
    if chosen not in FORMATS:
        raise UsageError(f"--format must be {', '.join(FORMATS)}, not {chosen!r}.")
    return chosen


def compare_command(
    runs: tuple[Path, Path],
    metric: str = "native.S",
    common: bool = False,
    most: int = 10,
    json: bool = False,
    verify: bool = False,
) -> int:
    """Print the paired statistics and the samples that changed most.

    Args:
        runs: the run that is compared with, and the other.
        metric: ``<protocol>.<metric>``.
        common: compare on the samples that both have a score of.
        most: how many samples to list.
        json: print one line of JSON instead.
        verify: read every byte that scores were made from.

    Raises:
        UsageError: an unknown metric, or runs of different samples without ``common``.
        MissingAsset: a folder is no scored run.
    """
    _check_metric(metric)
    a, b = labelled_scores([load_run(place, verify) for place in runs])
    comparison = compare(a, b, metric, common)
    if json:
        print(json_format.dumps(comparison.as_json(most), allow_nan=False))
    else:
        print(drawn(comparison.table()))
        print(drawn(comparison.changes(most)), end="")
    return Exit.DONE


def _check_metric(metric: str) -> None:
    metrics = metric_names()
    if metric in metrics:
        return
    name = metric.rpartition(".")[2]
    if name in METRICS and METRICS[name].mean != "samples":
        raise UsageError(
            f"{metric} is the maximum of a mean curve and no mean over samples; choose another."
        )
    raise UsageError(
        f"Unknown metric {metric!r}; choose one of {', '.join(metrics)}." + closest(metric, metrics)
    )
