"""``int-bench run`` and ``int-bench ablate``: run over one broker, score, print."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace

from int_bench.cli.process import terminable
from int_bench.cli.screen import (
    Command,
    Meter,
    print_json,
    print_scores,
    quiet_libraries,
    say,
    say_some,
)
from int_bench.config import build_method
from int_bench.core.text import shown
from int_bench.engine.trace import Trace
from int_bench.errors import Exit, UsageError
from int_bench.runs.execute import Variant
from int_bench.runs.executors.compute import Done, OnRecord, compute
from int_bench.runs.prepare import Prepared, former, prepare, with_all_models
from int_bench.runs.reader import Run
from int_bench.runs.records import OK, Record
from int_bench.runs.scorable import scorable
from int_bench.runs.variants import RunRequest, ablations, methods
from int_bench.scoring.score import Rules, Scorable, Scored, remarks_of, score_runs


def run_command(command: Command) -> int:
    """Segment a data set with one method or several and score the masks."""
    return run_all(command, methods(command.overrides))


def ablate_command(command: Command) -> int:
    """Run the full method and its variants; one table."""
    return run_all(command, ablations(command.overrides))


def run_all(command: Command, requests: Sequence[RunRequest]) -> int:
    """Run what shares one data set and one set of models, score it and print the table.

    Returns:
        The exit code: 0, 4 if a sample failed, 130 if interrupted.
    """
    quiet_libraries()
    prepared = prepare(requests)
    runs = [run for run in prepared if run.source is None]
    config = with_all_models(runs)
    built = [build_method(run.config) for run in runs]
    if command.dry_run:
        return describe(prepared)
    for run in runs:
        _tell_of_former(run)
    started = time.monotonic()
    tracing = Trace(command.profile) if command.profile else nullcontext()
    with terminable(), tracing as trace:
        try:
            done = compute(runs, built, config, watched, trace, say)
            for run in prepared:
                if run.source is not None:
                    run.take(run.source)
            scored = _score(prepared)
        except KeyboardInterrupt:
            return _interrupted(command, runs)
    _print(command, scored, done, time.monotonic() - started)
    return Exit.DONE if all(run.complete for run in scored) else Exit.INCOMPLETE


def _tell_of_former(run: Prepared) -> None:
    former_run = former(run)
    if former_run is not None:
        say(
            f"{former_run} is of an earlier format: it is read and scored, not resumed; this run"
            f" begins {run.path}."
        )


def _print(command: Command, scored: Sequence[Scored], done: Done, seconds: float) -> None:
    say_some(done.mended, "`int-bench check` names all")
    say_some(remarks_of(scored), "the notes in the run's scores name all")
    if command.json:
        key = "runs" if command.verb == "run" else "variants"
        report = {"work": done.work.as_json(), "sharing": done.sharing.as_json()}
        print_json(scored, seconds, done.counters, key, report)
        return
    for block in (done.work.lines() if command.verbose else [], done.sharing.lines()):
        print("\n".join([*block, ""]), end="\n" if block else "")
    print_scores(scored)


@contextmanager
def watched(total: int, done: int) -> Iterator[OnRecord]:
    """Progress on stderr, and the samples that failed."""
    with Meter(total, done) as meter:

        def on_record(variant: Variant, record: Record) -> None:
            meter.step()
            if record.status != OK:
                meter.say(f"{variant.name}: sample {record.id} failed: {record.error}")

        yield on_record


def _score(prepared: Sequence[Prepared]) -> list[Scored]:
    """All runs in one pass over the ground truth."""
    first = prepared[0]
    runs = [_scorable(run) for run in prepared]
    rules = Rules(backend=first.config.metrics["backend"])
    return score_runs(first.dataset, runs, rules, first.config.limit)[0]


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


def describe(prepared: Sequence[Prepared]) -> int:
    """What would be done."""
    for run in prepared:
        config = run.config
        iterations = config.method.get("iterations")
        images = f"{len(run.samples)} images, {config.trials} trial(s)"
        print(f"data set   {shown(config.dataset_name)}: {images}")
        counted = "" if iterations is None else f", {iterations} iterations"
        print(f"task       {shown(config.task.prompt)}{counted}")
        print(f"method     {shown(run.label)}")
        for role, node in config.backbone.items():
            print(f"{role:<10} {node.get('checkpoint') or node['_target_']}")
        print(f"run folder {run.path} ({run.standing().done} of {len(run.keys)} done)")
        if run.source is not None:
            print(f"taken from {run.source}")
    return Exit.DONE
