"""The columns of scores, once: what tables, comparisons and the published rows call them.

A new column is an entry of ``SCORE_COLUMNS``; what it shows is a measure of
:data:`int_bench.metrics.metrics.METRICS`, whose symbol, decimals and better side it takes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from int_bench.config.binding import closest
from int_bench.errors import UsageError
from int_bench.metrics.metrics import METRICS
from int_bench.metrics.rules import PROTOCOLS, ScoringProtocol
from int_bench.report.tables import Cell, Column
from int_bench.runs.kept.work import spent_of

_OVERLAP = frozenset({"polyp", "skin"})
"""Tasks whose literature prints IoU and Dice."""


@dataclass(frozen=True)
class ScoreColumn:
    """One column of scores.

    Attributes:
        key: in tables.
        metric: the measure that it shows; None for the F of the protocol, ``printed_f``.
        published: its column in ``report/paper/*.csv``; None if the paper does not have it.
        tasks: the tasks in whose tables it stands; None for all.
    """

    key: str
    metric: str | None
    published: str | None = None
    tasks: frozenset[str] | None = None

    def variant(self, protocol: ScoringProtocol) -> str:
        """The name of the measure under a protocol."""
        return self.metric or protocol.printed_f

    def column(self, interval: bool = False, visible: bool = True) -> Column:
        """As a column of a table."""
        metric = METRICS[self.metric or "adpF"]
        if self not in SCORE_COLUMNS:  # symbols tell the field's own columns apart, and no others
            metric = replace(metric, symbol=self.key)
        better: Literal["lower", "higher"] = "lower" if metric.lower_is_better else "higher"
        return Column(self.key, metric.title, metric.decimals, True, better, interval, not visible)


SCORE_COLUMNS = (
    ScoreColumn("MAE", "MAE", "MAE"),
    ScoreColumn("F", None, "Fbeta"),
    ScoreColumn("meanE", "meanE", "Ephi"),
    ScoreColumn("S", "S", "Salpha"),
    ScoreColumn("Dice", "Dice", tasks=_OVERLAP),
    ScoreColumn("IoU", "IoU", tasks=_OVERLAP),
)
"""The paper's four (M, F, E, S), and what other tasks print beside them."""

SPEED_COLUMNS = (
    Column("images_per_hour", "img/h", 0, hidden=True),
    Column("hour_of", "hour of", numeric=False, hidden=True),
    Column("share_of_ceiling", "of ceiling", 3, hidden=True),
    Column("joules_per_image", "J/img", 0, hidden=True),
)
"""How fast a run was, on what, how near to what that can do, and what it drew: of a GPU's hour, or
of a core's without one."""


def speed_cells(run: Path) -> dict[str, Cell]:
    """The cells of ``SPEED_COLUMNS``; empty where the folder does not say.

    Of several kinds of device it is the one that made the most images. What several methods took
    together is no method's own.
    """
    for spent in spent_of(run):
        if spent.methods == 1 and spent.per_hour is not None:
            return {
                "images_per_hour": spent.per_hour,
                "hour_of": f"{spent.device} ({spent.exactness})",
                "share_of_ceiling": spent.share_of_ceiling,
                "joules_per_image": spent.joules_per_image,
            }
    return {}


Names = Sequence[str]
"""Keys of the columns that were asked for; none: those of the tasks."""


def of_tasks(tasks: Collection[str | None] = (), names: Names = ()) -> tuple[ScoreColumn, ...]:
    """The columns of tables of these tasks, the paper's four at least; or those of some names."""
    if names:
        return tuple(every_column()[name] for name in names)
    return tuple(
        column for column in SCORE_COLUMNS if column.tasks is None or column.tasks & set(tasks)
    )


def columns(
    tasks: Collection[str | None] = (), interval: bool = False, names: Names = ()
) -> tuple[Column, ...]:
    """The columns for tables of these tasks, with an interval or without."""
    return tuple(column.column(interval) for column in of_tasks(tasks, names))


def stored_names(
    protocol: str, tasks: Collection[str | None] = (), names: Names = ()
) -> dict[str, str]:
    """The stored score of each column under a protocol, ``<protocol>.<metric>`` by column key."""
    rules = PROTOCOLS[protocol]
    return {column.key: f"{protocol}.{column.variant(rules)}" for column in of_tasks(tasks, names)}


def chosen_columns(text: str | None, per_sample: bool = False) -> tuple[str, ...]:
    """The keys that ``--columns`` names, each once.

    Args:
        text: keys with commas between them, or ``all``; None chooses nothing.
        per_sample: only measures with a number for each sample, of which there are intervals.

    Raises:
        UsageError: an unknown key, or none.
    """
    keys = [key for key, column in every_column().items() if not per_sample or _per_sample(column)]
    if text is None or text == "all":
        return () if text is None else tuple(keys)
    names = tuple(dict.fromkeys(filter(None, (name.strip() for name in text.split(",")))))
    for name in names or ("",):
        if name not in keys:
            whole = "; it is a maximum of a mean curve, without an interval" * (
                name in every_column()
            )
            raise UsageError(
                f"--columns: no column {name!r} here{whole}. Choose of {', '.join(keys)}, or all."
                + closest(name, keys)
            )
    return names


def every_column() -> dict[str, ScoreColumn]:
    """All columns by key: those of the field, then the other measures under their own names."""
    shown = {column.key: column for column in SCORE_COLUMNS}
    return shown | {name: ScoreColumn(name, name) for name in METRICS if name not in shown}


def _per_sample(column: ScoreColumn) -> bool:
    return METRICS[column.metric or "adpF"].mean == "samples"
