"""The rows of a run in a table of statistics: ours, spreads, differences and verdicts.

Apart from :mod:`int_bench.report.paper_tables`, which decides what stands in a table and in which
order: here is what one run says, whatever stands beside it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from int_bench.methods.trivial import KINDS
from int_bench.metrics.rules import PROTOCOLS
from int_bench.report.columns import speed_cells, stored_names
from int_bench.report.comparison import pair_up
from int_bench.report.published import SETS, PublishedRow
from int_bench.report.statistics import MARGIN, RESAMPLES, Estimate, estimate, verdict
from int_bench.report.tables import Cell, Row, with_interval
from int_bench.scoring.results import RunScores

DAGGER = "†"
INTERVALS = (
    "in brackets: 95 % interval over images (BCa bootstrap,"
    f" {RESAMPLES} resamples, seed {{seed}}); the sd over trials is another spread and not in it."
)


@dataclass(frozen=True)
class Settings:
    """How statistics are made.

    Attributes:
        margin: a difference that does not matter; see
            :func:`int_bench.report.statistics.verdict`.
        seed: of the resampling.
        against: the method that others are compared with, pair by pair; None compares none.
        columns: keys of the columns to show; none: the paper's four, and those of the tasks.
    """

    margin: float = MARGIN
    seed: int = 0
    against: str | None = None
    columns: tuple[str, ...] = ()

    @property
    def interval_note(self) -> str:
        """What the brackets are, for beneath a table."""
        return INTERVALS.format(seed=self.seed)

    @property
    def verdict_note(self) -> str:
        """What the verdicts mean, for beneath a table."""
        return (
            f"reproduced: the interval of the difference lies within ±{self.margin:g}; differs:"
            " else, and it contains no difference that rounds to zero; undecidable: too few images"
            " to say, or not all of them were scored. Published numbers are taken as exact; both"
            " are over the same images, which makes differs the more cautious."
        )


@dataclass(frozen=True)
class Block:
    """The rows of one run under one protocol.

    Attributes:
        run: the scores.
        protocol: whose scores.
        settings: of the statistics.
        label: what the row of means is called.
        shared: the cells that all its rows have.
        tasks: whose columns there are beside the paper's four.
    """

    run: RunScores
    protocol: str
    settings: Settings
    label: str = "ours"
    shared: Mapping[str, Cell] = field(default_factory=dict)
    tasks: Collection[str | None] = ()

    def estimates(self) -> dict[str, Estimate]:
        """Mean and spreads by column, of the columns that have scores."""
        estimates = {
            key: estimate(self.run.values[name], self.settings.seed)
            for key, name in self._names().items()
            if name in self.run.values
        }
        return {key: value for key, value in estimates.items() if value is not None}

    def _row(self, label: str, cells: Mapping[str, Cell], ranked: bool = False) -> Row:
        floor = self.run.method in KINDS
        return Row({**self.shared, "row": label, **cells}, floor=floor, ranked=ranked)

    def ours(self, estimates: Mapping[str, Estimate]) -> Iterator[Row]:
        """The means with their intervals and counts, and the spread over trials."""
        cells: dict[str, Cell] = {}
        for key, value in estimates.items():
            cells |= with_interval(key, value.mean, value.interval)
        counts = self.run.counts
        cells |= {
            "protocol": self.protocol,
            "F_variant": PROTOCOLS[self.protocol].printed_f,
            "n": max((value.n for value in estimates.values()), default=0),
            "N": counts.images,
            "trials": counts.trials,
            "failed": counts.failed,
            "missing": counts.missing,
            "policy": None if counts.complete else counts.policy,
            "run": str(self.run.folder),
            **speed_cells(self.run.folder),
        }
        yield self._row(self.label, cells, ranked=True)
        spread = {
            key: value.trial_sd for key, value in estimates.items() if value.trial_sd is not None
        }
        if spread:
            yield self._row("sd over trials", spread)

    def beside(self, printed: PublishedRow, estimates: Mapping[str, Estimate]) -> Iterator[Row]:
        """The difference from the published row and the verdict on it, cell by cell."""
        differences: dict[str, Cell] = {}
        verdicts: dict[str, Cell] = {}
        for key, cell in printed.cells.items():
            if key not in estimates:
                continue
            ours = estimates[key]
            moved = ours.interval.shifted(-cell.value) if ours.interval else None
            differences |= with_interval(key, ours.mean - cell.value, moved)
            if cell.doubtful:
                verdicts[key] = "none" + DAGGER
            elif not self._whole():
                verdicts[key] = "undecidable"
            else:
                verdicts[key] = verdict(
                    ours.interval, cell.value, cell.half_unit, self.settings.margin
                )
        yield self._row("ours - published", differences)
        yield self._row("verdict", verdicts)

    def against(self, base: RunScores) -> Iterator[Row]:
        """The paired difference from another run and its p value."""
        pairs = {
            key: pair_up(base, self.run, name, self.settings.seed)
            for key, name in self._names().items()
        }
        paired = {key: pair for key, pair in pairs.items() if pair is not None}
        differences: dict[str, Cell] = {}
        for key, pair in paired.items():
            differences |= with_interval(key, pair.difference, pair.interval)
        images = max((pair.n for pair in paired.values()), default=0)
        yield self._row(f"minus {base.title}", {**differences, "n": images})
        chances = {key: pair.p for key, pair in paired.items() if pair.p is not None}
        shown = {key: f"{p:.4f}" for key, p in chances.items()}
        yield Row({**self.shared, "row": "p of it", **chances}, ranked=False, shown=shown)

    def _names(self) -> dict[str, str]:
        return stored_names(self.protocol, self.tasks, self.settings.columns)

    def _whole(self) -> bool:
        """Whether the run scored every image of the data set."""
        entry = SETS.get(self.run.dataset)
        return self.run.counts.complete and entry is not None and entry.size == len(self.run.ids)
