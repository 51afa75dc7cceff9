"""The columns of scores, once: what tables, comparisons and the published rows call them.

A new column is an entry of ``SCORE_COLUMNS``; what it shows is a measure of
:data:`int_bench.metrics.metrics.METRICS`, whose symbol, decimals and better side it takes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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
    Column("joules_per_image", "J/img", 0, hidden=True),
)
"""How fast a run was, on what, and what it drew: of a GPU's hour, or of a core's without one."""


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
                "joules_per_image": spent.joules_per_image,
            }
    return {}


def of_tasks(tasks: Collection[str | None] = ()) -> tuple[ScoreColumn, ...]:
    """The columns of tables of these tasks; the paper's four at least."""
    return tuple(
        column for column in SCORE_COLUMNS if column.tasks is None or column.tasks & set(tasks)
    )


def columns(tasks: Collection[str | None] = (), interval: bool = False) -> tuple[Column, ...]:
    """The columns for tables of these tasks, with an interval or without."""
    return tuple(column.column(interval) for column in of_tasks(tasks))


def stored_names(protocol: str, tasks: Collection[str | None] = ()) -> dict[str, str]:
    """The stored score of each column under a protocol, ``<protocol>.<metric>`` by column key."""
    rules = PROTOCOLS[protocol]
    return {column.key: f"{protocol}.{column.variant(rules)}" for column in of_tasks(tasks)}
