"""What the commands share: quiet libraries, progress, what is printed."""

from __future__ import annotations

import json
import os
import shlex
import sys
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from int_bench.cli.selection import selection
from int_bench.core.named_folders import options_typed
from int_bench.core.text import in_seconds, many, shown
from int_bench.report.scores import score_table
from int_bench.report.segments import found_by, shortened
from int_bench.report.tables import Table
from int_bench.runs.labels import Seeds
from int_bench.runs.reader import Run
from int_bench.runs.segments import segments
from int_bench.scoring.score import Scored

_WIDTH = 160  # characters of a table that does not go to a terminal
_QUIET = {
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_VERBOSITY": "error",
}
_LINE_SECONDS = 60.0
_NAMED = 5  # messages of one kind


@dataclass(frozen=True)
class Command:
    """A command that runs a method, as it was typed.

    Attributes:
        verb: ``run`` or ``ablate``.
        given: the overrides.
        limit: ``--limit``: N or A-B.
        out: ``--out``.
        dry_run: ``--dry-run``.
        json: ``--json``.
        profile: ``--profile``.
        verbose: ``--verbose``: what the models have done as well.
        ids: ``--ids``.
        ids_file: ``--ids-file``.
        print_config: ``--print-config``.
        columns: ``--columns``.
    """

    verb: str
    given: tuple[str, ...]
    limit: str | None = None
    out: Path | None = None
    dry_run: bool = False
    json: bool = False
    profile: Path | None = None
    verbose: bool = False
    ids: str | None = None
    ids_file: Path | None = None
    print_config: bool = False
    columns: str | None = None

    @property
    def overrides(self) -> list[str]:
        """The overrides, the options among them."""
        out = [] if self.out is None else [f"out={self.out}"]
        return [*self.given, *selection(self.limit, self.ids, self.ids_file), *out]

    @property
    def text(self) -> str:
        """The command line that does the same again."""
        words = ["int-bench", self.verb, *self.given]
        for option, value in (
            ("--limit", self.limit),
            ("--ids", self.ids),
            ("--ids-file", self.ids_file),
            ("--columns", self.columns),
            ("--out", self.out),
            ("--profile", self.profile),
        ):
            words += [] if value is None else [option, str(value)]
        if self.verbose:
            words.append("--verbose")
        return shlex.join([*words, *options_typed()])


def quiet_libraries() -> None:
    """Ask the model libraries for errors only, unless the user has asked for more."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def say(message: str) -> None:
    """One line on stderr; what a terminal would take for a command is written as an escape."""
    print(shown(message), file=sys.stderr, flush=True)


def say_some(messages: Sequence[str], more: str) -> None:
    """The first few messages on stderr, then how many there are and ``more``: what names all."""
    for message in messages[:_NAMED]:
        say(message)
    if len(messages) > _NAMED:
        say(f"and {len(messages) - _NAMED} more; {more}")


def drawn(table: Table) -> str:
    """A table for the terminal, at its width."""
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    with console.capture() as capture:
        console.print(*table.to_rich(console.width), sep="\n")
    return capture.get()


def print_scores(
    scored: Sequence[Scored], seeds: Sequence[Seeds] = (), columns: Sequence[str] = ()
) -> None:
    """The table, with columns of choice, and where the results lie, on stdout."""
    if any(run.summaries for run in scored):
        print(drawn(score_table("Scores", scored, seeds, columns)), end="")
    unscored = [run.folder for run in scored if not run.summaries]
    if unscored:
        every = "`int-bench table RUN --format csv` prints all"
        print("There is no ground truth: nothing is scored.\n")
        print(drawn(shortened(found_by(unscored), every)), end="")
    for run in scored:
        masks = "" if run.summaries else "/masks/<trial>/final"
        print(f"{shown(run.name)}: {shown(str(run.folder))}{masks}")


def print_json(
    scored: Sequence[Scored],
    seconds: float,
    counters: Mapping[str, int],
    key: str,
    more: Mapping[str, Any] | None = None,
) -> None:
    """One line of JSON: the result itself if there is one, else a list under ``key``.

    ``more`` are further reports on the whole command, by key; those that are None are left out.
    """
    shared: dict[str, Any] = {"counters": dict(counters), "seconds": round(seconds, 3)}
    shared |= {name: report for name, report in (more or {}).items() if report is not None}
    if len(scored) == 1 and key == "runs":
        print(json.dumps({**_as_json(scored[0]), **shared}))
        return
    results = [{"method": run.name, "dataset": run.dataset, **_as_json(run)} for run in scored]
    print(json.dumps({key: results, **shared}))


def _as_json(run: Scored) -> dict[str, Any]:
    """Its counts and metrics; without ground truth, what was found in each picture."""
    if run.summaries:
        return run.as_json()
    return {**run.as_json(), "pictures": [s.as_json() for s in segments(Run(run.folder))]}


class Meter:
    """How far a command is, on stderr: a bar, or a line a minute without a terminal.

    Images, iterations and calls of the models; the time left follows from the iterations.

    Args:
        total: how many images there are in all.
        done: how many of them were done before.
        per_image: iterations of an image, on average.
    """

    def __init__(self, total: int, done: int, per_image: float = 1.0) -> None:
        self._total, self._before, self._done, self._per_image = total, done, done, per_image
        self._iterations, self._calls = 0, 0
        self._lock = threading.Lock()
        self._started = self._said = time.monotonic()
        self._bar = self._make_bar() if sys.stderr.isatty() else None
        self._task = TaskID(0)

    def __enter__(self) -> Meter:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self.text, total=1.0)
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self) -> None:
        """One more image is done."""
        with self._lock:
            self._done += 1
            least = round((self._done - self._before) * self._per_image)
            self._iterations = max(self._iterations, least)
            self._show()

    def observe(
        self, track: str, name: str, start: float, seconds: float, args: Mapping[str, Any]
    ) -> None:
        """An observer of the run, see :data:`int_bench.engine.serving.Observer`."""
        with self._lock:
            self._calls += track == "models"
            self._iterations += track == "iterations"
            self._show()

    def say(self, message: str) -> None:
        """One line above the bar."""
        if self._bar is not None:
            self._bar.console.print(shown(message), markup=False, highlight=False)
        else:
            say(message)

    @property
    def text(self) -> str:
        """How far it is, in a line."""
        parts = [f"{self._done} of {many(self._total, 'image')}"]
        if self._per_image > 1:
            to_do = round((self._total - self._before) * self._per_image)
            parts.append(f"{self._iterations} of {many(to_do, 'iteration')}")
        if self._calls:
            parts.append(many(self._calls, "model call"))
        if 0 < self._share < 1:
            spent = time.monotonic() - self._started
            parts.append(f"{in_seconds(spent * (1 - self._share) / self._share)} left")
        return ", ".join(parts)

    @property
    def _share(self) -> float:
        """Of what is to be done now, 0..1."""
        to_do = (self._total - self._before) * self._per_image
        return min(self._iterations / to_do, 1.0) if to_do else 1.0

    def _show(self) -> None:
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, completed=self._share, description=self.text)
        elif now - self._said > _LINE_SECONDS:
            self._said = now
            say(self.text)

    @staticmethod
    def _make_bar() -> Progress:
        return Progress(
            BarColumn(bar_width=20), TextColumn("{task.description}"), console=Console(stderr=True)
        )
