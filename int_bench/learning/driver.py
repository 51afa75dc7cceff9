"""Carries a training out: begin, the one loop, a smaller batch where memory is short, export."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from int_bench.core.protocols import Backbone
from int_bench.core.text import in_seconds
from int_bench.data.dataset import Dataset
from int_bench.errors import OutOfMemory, UsageError
from int_bench.learning.loop import Listener, Report, fit
from int_bench.learning.training import Training


@dataclass(frozen=True)
class Place:
    """Where a training keeps what it does, and who is told.

    Attributes:
        folder: of the checkpoint.
        checkpoint: its name without ``.ckpt``.
        scratch: of what is computed once.
        export: of the adapter, there and empty.
        parts: into how many a batch was cut in an earlier sitting.
        resumed: told of the step that the loop goes on from.
        tell: told of each report, and of a batch that is halved, as JSON-ready records.
        say: told the same in words.
        step: told of every step: how many are done, of how many, and that in words.
    """

    folder: Path
    checkpoint: str
    scratch: Path
    export: Path
    parts: int
    resumed: Callable[[int], None]
    tell: Callable[[Mapping[str, Any]], None]
    say: Callable[[str], None]
    step: Callable[[int, int, str], None]


class _Told(Listener):
    def __init__(self, place: Place) -> None:
        self._place = place

    def begun(self, step: int) -> None:
        self._place.resumed(step)
        if step:
            self._place.say(f"Going on after step {step}.")

    def stepped(self, report: Report) -> None:
        self._place.step(report.step, report.steps, _in_words(report))

    def reported(self, report: Report) -> None:
        record: dict[str, Any] = {
            "step": report.step,
            "steps": report.steps,
            "seconds": round(report.seconds, 1),
            **{name: _number(value) for name, value in report.figures.items()},
        }
        if report.validation:
            checked = report.validation
            record["validation"] = {name: _number(checked[name]) for name in checked}
        self._place.tell(record)
        words = _in_words(report)
        self._place.say(words)
        self._place.step(report.step, report.steps, words)


def _in_words(report: Report) -> str:
    left = f"{in_seconds(report.left)} left" if report.left else "done"
    figures = {**report.figures, **{f"val {k}": v for k, v in report.validation.items()}}
    told = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
    return f"step {report.step} of {report.steps}, {left}: {told}"


def _number(value: float) -> float | None:
    """As JSON knows it: what is not finite is null."""
    return float(value) if math.isfinite(value) else None


def train(
    training: Training,
    data: Dataset,
    validation: Dataset,
    backbones: Mapping[str, Backbone],
    place: Place,
) -> None:
    """Train to the last step, from wherever an earlier sitting stopped, and export.

    A batch that does not fit is cut into twice as many parts whose gradients are added up: a step
    stays a step of the whole batch.

    Raises:
        UserError: the data or the models cannot be used, or a single example does not fit.
        KeyboardInterrupt: Ctrl-C; a checkpoint was written.
    """
    parts = place.parts
    while True:
        smaller = training
        if parts > 1:
            smaller = replace(training, batch=math.ceil(training.batch / parts))  # type: ignore[type-var]
        try:
            fitting = smaller.begin(data, validation, backbones, place.scratch)
            recipe = replace(fitting.recipe, name=place.checkpoint, cache=place.folder, parts=parts)
            fit(fitting.model, recipe, fitting.loss, fitting.validate, _Told(place))
            break
        except OutOfMemory as error:
            if parts >= training.batch:
                raise UsageError(
                    f"A single example does not fit into memory ({error}); choose a smaller model "
                    "or another device."
                ) from error
            parts *= 2
            half = math.ceil(training.batch / parts)
            place.tell({"parts": parts})
            place.say(
                f"Memory is too short for {math.ceil(training.batch * 2 / parts)} examples at "
                f"once: from now on {half} at a time, {parts} times a step."
            )
    fitting.export(place.export)
