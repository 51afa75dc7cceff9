"""The parts of a measurement, made by several processes, put together into one.

A part runs its share of each group's scenes into a root of its own. Joining copies what the parts
have done, without a model's call; what is missing is computed by whoever asks for the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from int_bench.data.images import read_map
from int_bench.runs.layout import MANIFEST
from int_bench.runs.prepare import Prepared, prepare
from int_bench.runs.reader import Run
from int_bench.runs.variants import RunRequest, batches
from int_bench.zoo import bars
from int_bench.zoo.mechanism import Measured, judged
from scripts.experiments.field_runs import GROUPS, Scope, bar_requests


def prepared_runs(requests: Sequence[RunRequest]) -> list[Prepared]:
    """Each run folder of the requests once, whatever their data sets."""
    return [prepared for batch in batches(requests) for prepared in prepare(batch)]


def join(folder: Path, scope: Scope) -> None:
    """Fill the run folders of a scope from the parts that lie under a folder."""
    roots = sorted(path for path in folder.iterdir() if path.is_dir())
    for group in GROUPS.values():
        for prepared in prepared_runs(group.requests(scope)):
            inside = prepared.path.relative_to(scope.runs)
            sources = [root / inside for root in roots if (root / inside / MANIFEST).is_file()]
            if prepared.source is None and sources:
                prepared.join(sources)
                print(f"{inside}: {len(Run(prepared.path).records)} of {len(prepared.keys)}")


def keep_bars(scope: Scope, folder: Path) -> None:
    """Store for ``int_bench.zoo.report --only int`` what the finished runs have come to."""
    for name, wanted in bars.SETS.items():
        by_variant = {
            variant: prepared_runs([request])[0]
            for variant, request in bar_requests(name, scope).items()
        }
        trials = [
            {variant: _measured(run, name, scope, trial) for variant, run in by_variant.items()}
            for trial in range(wanted.trials)
        ]
        bars.keep(name, scope.split, scope.n, folder, trials)


def _measured(prepared: Prepared, name: str, scope: Scope, trial: int) -> Measured:
    scenes, run = bars.scenes_of(name, scope.split, scope.n), Run(prepared.path)
    rows = []
    for index, sample in enumerate(prepared.samples):
        steps = run.records[trial, sample.id].iterations
        kinds = [*(str(number) for number in range(1, len(steps) + 1)), "final"]
        *masks, final = [read_map(run.mask(trial, sample.id, kind)) > 127 for kind in kinds]
        prompts = [step.prompt or "" for step in steps]
        rows.append(judged(scenes, index, masks, final, prompts, steps[0].details))
    return Measured.joined(rows)
