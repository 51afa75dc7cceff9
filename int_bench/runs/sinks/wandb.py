"""``sink=wandb``: Weights & Biases, online or offline (``WANDB_MODE``)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from int_bench.core.limits import NotEmpty
from int_bench.runs.sinks import Told

_SECONDS = 30.0


@dataclass(frozen=True)
class Wandb:
    """Runs of a project; several stand side by side in one process."""

    project: Annotated[str, NotEmpty()] = "int-bench"
    entity: str | None = None

    LIBRARY: ClassVar[str] = "wandb"

    def open(self, run: Told) -> _Run:
        """Without a key, which it would ask for, all is kept for ``wandb sync``."""
        import wandb

        # The terminal stays ours: its lines and the copy of what we print are off.
        quiet = {"console": "off", "silent": True}
        waits = {"init_timeout": _SECONDS, "finish_timeout": _SECONDS}
        unsaid = "WANDB_MODE" not in os.environ and not wandb.login(prompt=False)
        opened = wandb.init(
            project=self.project,
            entity=self.entity,
            name=run.name,
            id=run.digest,
            group=run.dataset,
            config={**run.config, "run_dir": run.folder},
            resume="allow",
            reinit="create_new",
            mode="offline" if unsaid else None,
            settings=wandb.Settings(**quiet, **waits),
        )
        return _Run(opened)


@dataclass(frozen=True)
class _Run:
    run: Any

    def add(self, values: Mapping[str, float], step: int) -> None:
        self.run.log({**values, "samples": step})

    def end(self, scores: Mapping[str, float], whole: bool) -> None:
        self.run.summary.update(dict(scores))
        self.run.finish(exit_code=0 if whole else 1)
