"""``sink=mlflow``: MLflow, in files or wherever ``MLFLOW_TRACKING_URI`` says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from int_bench.core.files import expanded
from int_bench.core.limits import NotEmpty
from int_bench.runs.sinks import Told

_LONGEST = 500  # characters of a parameter


@dataclass(frozen=True)
class MLflow:
    """Runs of an experiment, found again by the digest of what decides their results."""

    experiment: Annotated[str, NotEmpty()] = "int-bench"
    folder: Annotated[str, NotEmpty()] = "mlruns"

    LIBRARY: ClassVar[str] = "mlflow"

    def open(self, run: Told) -> _Run:
        """The run of this digest, opened again, or a new one."""
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # files are refused without it
        from mlflow import MlflowClient

        uri = os.environ.get("MLFLOW_TRACKING_URI") or expanded(self.folder).absolute().as_uri()
        client = MlflowClient(uri)
        there = client.get_experiment_by_name(self.experiment)
        group = there.experiment_id if there else client.create_experiment(self.experiment)
        known = client.search_runs([group], f"tags.digest = '{run.digest}'", max_results=1)
        if known:
            opened = _Run(client, known[0].info.run_id)
            client.update_run(opened.id, status="RUNNING")
            return opened
        tags = {"digest": run.digest, "dataset": run.dataset, "run_dir": run.folder}
        opened = _Run(client, client.create_run(group, run_name=run.name, tags=tags).info.run_id)
        for key, value in run.config.items():  # a name with a slash would be a folder
            client.log_param(opened.id, key.replace("/", "."), str(value)[:_LONGEST])
        return opened


@dataclass(frozen=True)
class _Run:
    client: Any
    id: str

    def add(self, values: Mapping[str, float], step: int = 0) -> None:
        for name, value in values.items():
            self.client.log_metric(self.id, name, value, step=step)

    def end(self, scores: Mapping[str, float], whole: bool) -> None:
        self.add(scores)
        self.client.set_terminated(self.id, "FINISHED" if whole else "KILLED")
