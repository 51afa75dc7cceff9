"""What is not finished of some runs, computed by the executor that the configuration names."""

from __future__ import annotations

from collections.abc import Sequence

from int_bench.config import RunConfig, build
from int_bench.core.protocols import Method
from int_bench.engine.serving import Observer
from int_bench.runs.executors import Executor
from int_bench.runs.executors.progress import Done, OnRecord, Watch, unwatched
from int_bench.runs.prepare import Prepared

__all__ = ["Done", "OnRecord", "Watch", "compute", "unwatched"]


def compute(
    runs: Sequence[Prepared],
    methods: Sequence[Method],
    config: RunConfig,
    watch: Watch = unwatched,
    observe: Observer | None = None,
) -> Done:
    """Run what is not finished, and mend what is torn.

    Args:
        runs: what is asked for, of one data set.
        methods: their methods, built.
        config: the first of them, with the models of all.
        watch: told of the progress.
        observe: told of every call, step and stored sample.

    Raises:
        UserError: what every sample would meet; all finished samples are stored.
    """
    total = sum(len(prepared.keys) for prepared in runs)
    if sum(prepared.standing().done for prepared in runs) == total:
        for prepared in runs:
            prepared.settle()
        return Done()
    executor: Executor = build(config.executor, "executor")
    return executor.compute(runs, methods, config, watch, observe)
