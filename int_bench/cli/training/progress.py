"""How far a training is, on stderr."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from int_bench.cli.screen import say
from int_bench.core.text import shown

_LINE_SECONDS = 60.0


class StepMeter:
    """Steps as a bar below what is said, or as a line a minute without a terminal.

    The bar is there from the first step on: what comes before a training says its own lines.
    """

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._terminal = sys.stderr.isatty()
        self._task = TaskID(0)
        self._said = time.monotonic()

    def __enter__(self) -> StepMeter:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, message: str) -> None:
        """One line, above the bar."""
        self._said = time.monotonic()
        if self._bar is not None:
            self._bar.console.print(shown(message), markup=False, highlight=False)
        else:
            say(message)

    def step(self, done: int, steps: int, text: str) -> None:
        """A step is done; ``text`` says how far that is."""
        if self._terminal:
            if self._bar is None:
                columns = (BarColumn(bar_width=20), TextColumn("{task.description}", markup=False))
                self._bar = Progress(*columns, console=Console(stderr=True))
                self._bar.start()
                self._task = self._bar.add_task(text, total=steps)
            self._bar.update(self._task, completed=done, description=text)
        elif time.monotonic() - self._said > _LINE_SECONDS:
            self.say(text)
