"""``int-bench run`` and ``int-bench ablate``: run over one broker, score, print."""

from __future__ import annotations

import gc
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from int_bench.cli import plan
from int_bench.cli.process import terminable
from int_bench.cli.screen import (
    Command,
    Meter,
    drawn,
    print_json,
    print_scores,
    quiet_libraries,
    say,
    say_some,
)
from int_bench.config import RunConfig, build_method
from int_bench.config.building import keep_models
from int_bench.config.printing import printed
from int_bench.config.sweeps import combinations
from int_bench.core.protocols import Method
from int_bench.engine.trace import Trace
from int_bench.errors import Exit, MissingAsset, UsageError, UserError
from int_bench.report.columns import chosen_columns
from int_bench.report.scores import spread_as_json
from int_bench.report.tables import Table
from int_bench.runs.execute import Variant
from int_bench.runs.executors.compute import Done, OnRecord, compute
from int_bench.runs.kept.work import Spent, spent_of
from int_bench.runs.labels import Seeds, of_datasets, seeds_of
from int_bench.runs.preflight.checks import merged, preflight
from int_bench.runs.preflight.estimate import Estimate
from int_bench.runs.prepare import Prepared, former, prepare, with_all_models
from int_bench.runs.reader import Run
from int_bench.runs.records import OK, Record
from int_bench.runs.scorable import scorable
from int_bench.runs.sinks.telling import Trackers, trackers
from int_bench.runs.training.parts import is_trained
from int_bench.runs.variants import RunRequest, ablations, batches, labelled, sweep
from int_bench.scoring.evaluate import Evaluation
from int_bench.scoring.score import Rules, Scorable, Scored, remarks_of, score_runs

_OFTEN = (700, 10, 10)
"""Python's own: tensors may hang on what a run leaves for the collector."""


def run_command(command: Command) -> int:
    """Segment one data set or several, by one method or several, and score the masks."""
    if command.print_config:
        return _print_config(command.overrides)
    return run_all(command, sweep(command.overrides))


def ablate_command(command: Command) -> int:
    """Run the full method and its variants; one table."""
    if command.print_config:
        raise UsageError("--print-config is of `int-bench run`: give it one variant's overrides.")
    if is_trained(command.overrides):
        # Imports what trains, which no other variants need.
        from int_bench.cli.training.ablation import ablate_trained

        return ablate_trained(command, run_all)
    return run_all(command, ablations(command.overrides))


def _print_config(overrides: Sequence[str]) -> int:
    """The configuration of each run, one YAML document each."""
    for number, words in enumerate(combinations(overrides)):
        print("---" if number else "", end="\n" if number else "")
        print("\n".join(printed(words)))
    return Exit.DONE


def run_all(
    command: Command,
    requests: Sequence[RunRequest],
    tables: Callable[[Sequence[Scored]], Sequence[Table]] = lambda scored: (),
) -> int:
    """Run what is asked for, what can share a broker over one, score it and print the table.

    Args:
        command: as it was typed.
        requests: what is run.
        tables: further tables of what was scored, in the order of the requests.

    Returns:
        The exit code: 0, 4 if a sample failed, 130 if interrupted.
    """
    quiet_libraries()
    chosen_columns(command.columns)  # refused before anything is computed
    groups = [_Group.of(batch) for batch in batches(requests)]
    report = merged([preflight(g.requests, g.runs, g.methods, g.lack) for g in groups])
    prepared = [run for group in groups for run in group.prepared]
    ended = plan.looked_over(report, prepared, command.dry_run)
    if ended is not None:
        return ended
    gc.set_threshold(*_OFTEN)
    shared = [_Batch.of(group) for group in groups]
    runs = [run for group in groups for run in group.runs]
    for run in runs:
        _tell_of_former(run)
    started = time.monotonic()
    tracing = Trace(command.profile) if command.profile else nullcontext()
    with terminable(), tracing as trace, trackers(prepared, say) as told:
        try:
            done = _compute(shared, Progress(report.estimate, trace, told))
            for run in prepared:
                if run.source is not None:
                    run.take(run.source)
            scored = _with_datasets(_score(prepared), prepared)
            for result in scored:
                told.scored(result.folder, result.as_json()["metrics"])
        except KeyboardInterrupt:
            return _interrupted(command, runs)
    for batch, cost in zip(shared, done, strict=True):
        _tell_of_speed(batch.runs, cost)
    seeds = seeds_of([labelled(run.config, run.path) for run in prepared])
    _print(command, scored, seeds, done, time.monotonic() - started, tables(scored))
    return Exit.DONE if all(run.complete for run in scored) else Exit.INCOMPLETE


@dataclass(frozen=True)
class _Group:
    """What can share a broker, before it was looked over.

    ``lack`` is why the data set cannot be used; nothing is prepared then.
    """

    requests: Sequence[RunRequest]
    prepared: Sequence[Prepared]
    lack: UserError | None

    @classmethod
    def of(cls, batch: Sequence[RunRequest]) -> _Group:
        try:
            return cls(batch, prepare(batch), None)
        except MissingAsset as error:
            return cls(batch, [], error)

    @property
    def runs(self) -> list[Prepared]:
        """Those that are computed."""
        return [run for run in self.prepared if run.source is None]

    @cached_property
    def methods(self) -> list[Method]:
        """Theirs, built."""
        return [build_method(run.config) for run in self.runs]


@dataclass(frozen=True)
class _Batch:
    """The runs of one broker: those that are computed, their methods, and the models of all."""

    runs: Sequence[Prepared]
    methods: Sequence[Method]
    config: RunConfig

    @classmethod
    def of(cls, group: _Group) -> _Batch:
        return cls(group.runs, group.methods, with_all_models(group.runs))


def _compute(shared: Sequence[_Batch], progress: Progress) -> list[Done]:
    """One broker after the other; a model that several need is loaded once."""
    done = []
    try:
        for number, batch in enumerate(shared):
            keep_models([later.config for later in shared[number:]])
            here = batch.config.choices.get("executor") == "inline"
            listening = (progress.watch, progress.observe if here else progress.trace, say)
            done.append(compute(batch.runs, batch.methods, batch.config, *listening))
    finally:
        keep_models(())
    return done


def _tell_of_former(run: Prepared) -> None:
    former_run = former(run)
    if former_run is not None:
        say(
            f"{former_run} is of an earlier format: it is read and scored, not resumed; this run"
            f" begins {run.path}."
        )


def _print(
    command: Command,
    scored: Sequence[Scored],
    seeds: Sequence[Seeds],
    done: Sequence[Done],
    seconds: float,
    tables: Sequence[Table],
) -> None:
    mended = [text for batch in done for text in batch.mended]
    say_some(mended, "`int-bench check` names all")
    say_some(remarks_of(scored), "the notes in the run's scores name all")
    if command.json:
        key = "runs" if command.verb == "run" else "variants"
        counters = sum((Counter(batch.counters) for batch in done), Counter[str]())
        reports = [{"work": _work_of(batch), "sharing": batch.sharing.as_json()} for batch in done]
        more: dict[str, Any] = reports[0] if len(reports) == 1 else {"brokers": reports}
        more |= {"tables": [json.loads(table.to_json()) for table in tables]} if tables else {}
        print_json(scored, seconds, counters, key, more | spread_as_json(scored, seeds))
        return
    for batch in done:
        for block in (batch.work.lines() if command.verbose else [], batch.sharing.lines()):
            print("\n".join([*block, ""]), end="\n" if block else "")
    print_scores(scored, seeds, chosen_columns(command.columns))
    for table in tables:
        print(f"\n{drawn(table)}", end="")


def _tell_of_speed(runs: Sequence[Prepared], done: Done) -> None:
    """How fast the command was; of a run by itself, how fast it was from its beginning on."""
    parts: Sequence[Spent] = done.spent
    if len(runs) == 1 and done.work.images:
        parts = [part for part in spent_of(runs[0].path) if part.methods == 1]
    for part in parts:
        if part.text:
            name = f"{runs[0].label}: " if len(runs) == 1 else ""
            say(f"{name}{part.text}.")


def _work_of(done: Done) -> dict[str, Any]:
    return {**done.work.as_json(), "spent": [spent.as_json() for spent in done.spent]}


class Progress:
    """Progress on stderr, and the samples that failed.

    Args:
        cost: of the command, as estimated.
        trace: told of everything, too.
        told: the trackers of the runs.
    """

    def __init__(
        self, cost: Estimate | None, trace: Trace | None = None, told: Trackers | None = None
    ) -> None:
        self._per_image = cost.iterations / cost.images if cost and cost.images else 1.0
        self.trace, self._told = trace, told
        self._meter: Meter | None = None

    @contextmanager
    def watch(self, total: int, done: int) -> Iterator[OnRecord]:
        """A :data:`int_bench.runs.executors.compute.Watch`."""
        with Meter(total, done, self._per_image) as meter:
            self._meter, started, told = meter, time.monotonic(), False

            def on_record(variant: Variant, record: Record) -> None:
                nonlocal told
                if not told:
                    meter.say(f"The first sample after {time.monotonic() - started:.1f} s.")
                told = True
                meter.step()
                if self._told is not None:
                    self._told.record(variant.folder.path, record)
                if record.status != OK:
                    meter.say(f"{variant.name}: sample {record.id} failed: {record.error}")

            yield on_record

    def observe(
        self, track: str, name: str, start: float, seconds: float, args: Mapping[str, Any]
    ) -> None:
        """An observer of the run, see :data:`int_bench.engine.serving.Observer`."""
        if self.trace is not None:
            self.trace(track, name, start, seconds, args)
        if self._meter is not None:
            self._meter.observe(track, name, start, seconds, args)


def _score(prepared: Sequence[Prepared]) -> list[Scored]:
    """All runs of a data set in one pass over its ground truth; in the order of the runs."""
    groups: dict[str, list[Prepared]] = {}
    for run in prepared:
        groups.setdefault(str((run.config.dataset, run.dataset.asked)), []).append(run)
    scored: dict[int, Scored] = {}
    for group in groups.values():
        first = group[0]
        rules = Rules(backend=first.config.metrics["backend"])
        runs = [_scorable(run) for run in group]
        results, evaluations = score_runs(first.dataset, runs, rules, first.dataset.asked)
        _tell_of_unread(runs, evaluations)
        scored |= {id(run): result for run, result in zip(group, results, strict=True)}
    return [scored[id(run)] for run in prepared]


def _tell_of_unread(runs: Sequence[Scorable], evaluations: Sequence[Evaluation]) -> None:
    """Name the samples that were segmented and could not be scored, such as by a bad mask."""
    maps = [trial for run in runs for trial in run.trials]
    unread = dict.fromkeys(
        f"{row.id}: {row.note}"
        for of, evaluation in zip(maps, evaluations, strict=False)  # none without ground truth
        for row in evaluation.rows
        if row.status == "failed" and of.failure(row.id) is None
    )
    say_some(list(unread), "`int-bench data check` names all")


def _with_datasets(scored: Sequence[Scored], prepared: Sequence[Prepared]) -> list[Scored]:
    """The results with a name for each data set that no other of the command has."""
    runs = of_datasets([labelled(run.config, run.path) for run in prepared])
    return [replace(of, dataset=run.dataset) for of, run in zip(scored, runs, strict=True)]


def _scorable(run: Prepared) -> Scorable:
    maps = scorable(Run(run.path), run.label, run.trials, run.config.task.name)
    if run.writable:
        return maps
    say(f"{run.path} cannot be written: its scores are printed and not kept.")
    return replace(maps, keep=False)


def _interrupted(command: Command, runs: Sequence[Prepared]) -> int:
    for run in runs:
        with suppress(UsageError):
            done = run.standing().done
            say(f"Interrupted: {done} of {len(run.keys)} images are done and safe in {run.path}.")
    say(f"Resume with: {command.text}")
    return Exit.INTERRUPTED
