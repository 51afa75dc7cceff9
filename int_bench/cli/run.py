"""``int-bench run``, and what ``ablate`` shares with it: run over one broker, score, print."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from int_bench.cli.screen import (
    Command,
    Meter,
    print_json,
    print_scores,
    quiet_libraries,
    say,
    say_some,
    terminable,
)
from int_bench.config import build_method, load_config
from int_bench.config.overrides import options
from int_bench.engine.trace import Trace
from int_bench.errors import Exit
from int_bench.runs.compute import Done, OnRecord, compute
from int_bench.runs.execute import Variant
from int_bench.runs.prepare import Asked, Prepared, prepare, with_all_models
from int_bench.runs.reader import Run
from int_bench.runs.records import Record
from int_bench.runs.scorable import scorable
from int_bench.scoring.score import Rules, Scored, remarks_of, score_runs

_ONLY_BY_NAME = ("sam3", "vlm_api_sam")
"""Left out by ``method=all``: they need an endpoint, or a model that no preset holds."""


def run_command(command: Command) -> int:
    """Segment a data set with one method or several and score the masks."""
    return execute(command, methods(command.overrides))


def methods(overrides: Sequence[str]) -> list[Asked]:
    """The configuration of each method in ``method=A,B`` or ``method=all``; INT comes first in all.

    Raises:
        UsageError: See :func:`int_bench.config.load`.
    """
    return [Asked(load_config(each)) for each in _by_method(overrides)]


def _by_method(overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of each method."""
    chosen = [text for text in overrides if text.startswith("method=")]
    names = chosen[0].removeprefix("method=") if len(chosen) == 1 else ""
    if names == "all":
        named = [name for name in options("method") if name not in _ONLY_BY_NAME]
        named.sort(key=lambda name: name != "int")
    elif "," in names:
        named = names.split(",")
    else:
        return [list(overrides)]
    rest = [text for text in overrides if text not in chosen]
    return [[*rest, f"method={name}"] for name in named]


def execute(command: Command, asked: Sequence[Asked]) -> int:
    """Run what shares one data set and one set of models, score it and print the table.

    Returns:
        The exit code: 0, 4 if a sample failed, 130 if interrupted.
    """
    quiet_libraries()
    prepared = prepare(asked)
    runs = [one for one in prepared if one.source is None]
    config = with_all_models(runs)
    built = [build_method(one.config) for one in runs]  # refuses before models load
    if command.dry_run:
        return _describe(prepared)
    started = time.monotonic()
    tracing = Trace(command.profile) if command.profile else nullcontext()
    with terminable(), tracing as trace:
        try:
            done = compute(runs, built, config, _shown, trace)
            for one in prepared:
                if one.source is not None:
                    one.take(one.source)
            scored = _score(prepared)
        except KeyboardInterrupt:
            return _interrupted(command, runs)
    _print(command, scored, done, time.monotonic() - started)
    return Exit.DONE if all(one.complete for one in scored) else Exit.INCOMPLETE


def _print(command: Command, scored: Sequence[Scored], done: Done, seconds: float) -> None:
    say_some(remarks_of(scored), "the notes in the run's scores name all")
    if command.json:
        key = "runs" if command.verb == "run" else "variants"
        report = {"work": done.work.as_json(), "sharing": done.sharing.as_json()}
        print_json(scored, seconds, done.counters, key, report)
        return
    print_scores(scored)
    for block in (done.work.lines(), done.sharing.lines()):
        print("\n".join(["", *block]), end="\n" if block else "")


@contextmanager
def _shown(total: int, done: int) -> Iterator[OnRecord]:
    """Progress on stderr, and the samples that failed."""
    with Meter(total, done) as meter:

        def on_record(variant: Variant, record: Record) -> None:
            meter.step()
            if record.status != "ok":
                meter.say(f"{variant.name}: sample {record.id} failed: {record.error}")

        yield on_record


def _score(prepared: Sequence[Prepared]) -> list[Scored]:
    """All runs in one pass over the ground truth."""
    first = prepared[0]
    runs = [
        scorable(Run(of.path), of.label, of.config.trials, of.config.task.name) for of in prepared
    ]
    rules = Rules(backend=first.config.metrics["backend"])
    return score_runs(first.dataset, runs, rules, first.config.limit)[0]


def _interrupted(command: Command, runs: Sequence[Prepared]) -> int:
    for one in runs:
        say(f"Interrupted: {one.finished} of {one.total} images are done and safe in {one.path}.")
    say(f"Resume with: {command.text}")
    return Exit.INTERRUPTED


def _describe(prepared: Sequence[Prepared]) -> int:
    """What would be done."""
    for one in prepared:
        config = one.config
        iterations = config.method.get("iterations")
        print(
            f"data set   {config.dataset_name}: {len(one.samples)} images, {config.trials} trial(s)"
        )
        counted = "" if iterations is None else f", {iterations} iterations"
        print(f"task       {config.task.prompt}{counted}")
        print(f"method     {one.label}")
        for role, node in config.backbone.items():
            print(f"{role:<10} {node.get('checkpoint') or node['_target_']}")
        print(f"run folder {one.path} ({one.finished} of {one.total} done)")
        if one.source is not None:
            print(f"taken from {one.source}")
    return 0
