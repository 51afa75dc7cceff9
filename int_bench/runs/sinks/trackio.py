"""``sink=trackio``: Trackio, on this machine or wherever its own variables say."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Context
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from int_bench.core.limits import NotEmpty
from int_bench.runs.sinks import Told


@dataclass(frozen=True)
class Trackio:
    """Runs of a project."""

    project: Annotated[str, NotEmpty()] = "int-bench"

    LIBRARY: ClassVar[str] = "trackio"

    def open(self, run: Told) -> _Run:
        """A run of this name, opened again, or a new one.

        It has one run at a time, by a context variable, and ends that for the next: each gets a
        context of its own.
        """
        import trackio

        context = Context()
        opened = context.run(
            trackio.init,
            project=self.project,
            name=f"{run.name} {run.digest}",
            group=run.dataset,
            config={**run.config, "run_dir": run.folder},
            resume="allow",
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )
        return _Run(opened, context)


@dataclass(frozen=True)
class _Run:
    run: Any
    context: Context

    def add(self, values: Mapping[str, float], step: int) -> None:
        self.context.run(self.run.log, {**values, "samples": step})

    def end(self, scores: Mapping[str, float], whole: bool) -> None:
        self.context.run(self.run.log, {**scores, "whole": float(whole)})
        self.context.run(self.run.finish)
