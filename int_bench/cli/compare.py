"""``int-bench compare``: one run against another on the same samples."""

from __future__ import annotations

import json as json_format
from pathlib import Path

from int_bench.cli.results import load_run
from int_bench.cli.screen import drawn
from int_bench.config.binding import closest
from int_bench.errors import Exit, UsageError
from int_bench.metrics.metrics import METRICS
from int_bench.report.comparison import compare
from int_bench.runs.labels import labelled_scores
from int_bench.scoring.results import metric_names


def compare_command(
    runs: tuple[Path, Path],
    metric: str = "native.S",
    common: bool = False,
    most: int = 10,
    json: bool = False,
) -> int:
    """Print the paired statistics and the samples that changed most.

    Args:
        runs: the run that is compared with, and the other.
        metric: ``<protocol>.<metric>``.
        common: compare on the samples that both have a score of.
        most: how many samples to list.
        json: print one line of JSON instead.

    Raises:
        UsageError: an unknown metric, or runs of different samples without ``common``.
        MissingAsset: a folder is no scored run.
    """
    _check(metric)
    a, b = labelled_scores([load_run(place) for place in runs])
    comparison = compare(a, b, metric, common)
    if json:
        print(json_format.dumps(comparison.as_json(most), allow_nan=False))
    else:
        print(drawn(comparison.table()))
        print(drawn(comparison.changes(most)), end="")
    return Exit.DONE


def _check(metric: str) -> None:
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
