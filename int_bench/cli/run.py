"""``int-bench run``, and what ``ablate`` shares with it: run over one broker, score, print."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field

from int_bench.cli.screen import Command, Meter, quiet_libraries, say, say_some, terminable
from int_bench.config import RunConfig, build_backbones, build_method, load_config
from int_bench.config.overrides import options
from int_bench.config.schedule import schedule
from int_bench.core.protocols import Backbone, Method
from int_bench.engine.broker import Broker
from int_bench.engine.serving import Observer
from int_bench.engine.sharing import Sharing, Tally
from int_bench.engine.trace import Trace
from int_bench.engine.work import Work, work_of
from int_bench.errors import Exit
from int_bench.runs.execute import Plan, Variant, pending, run
from int_bench.runs.prepare import Asked, Prepared, prepare, with_all_models
from int_bench.runs.records import Record
from int_bench.scoring.score import (
    Finished,
    Rules,
    Scored,
    print_json,
    print_scores,
    remarks_of,
    score_runs,
)

_ONLY_BY_NAME = ("sam3", "vlm_api_sam")
"""Left out by ``method=all``: they need an endpoint, or a model that no preset holds."""


@dataclass(frozen=True)
class Done:
    """What running has cost: the broker's counters, the models' work, what variants shared."""

    counters: dict[str, int] = field(default_factory=dict)
    work: Work = field(default_factory=Work)
    sharing: Sharing = field(default_factory=Sharing)


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
            done = _run(runs, built, config, trace)
            for one in prepared:
                if one.source is not None:
                    one.take(one.source)
            scored = _score(prepared)
        except KeyboardInterrupt:
            return _interrupted(command, runs)
    _print(command, scored, done, time.monotonic() - started)
    return Exit.DONE if all(one.complete for one in scored) else Exit.INCOMPLETE


def _print(command: Command, scored: Sequence[Scored], done: Done, seconds: float) -> None:
    say_some(remarks_of(scored), "the notes in scores.csv name all")
    if command.json:
        key = "runs" if command.verb == "run" else "variants"
        report = {"work": done.work.as_json(), "sharing": done.sharing.as_json()}
        print_json(scored, seconds, done.counters, key, report)
        return
    print_scores(scored)
    for block in (done.work.lines(), done.sharing.lines()):
        print("\n".join(["", *block]), end="\n" if block else "")


def _run(
    runs: Sequence[Prepared], built: Sequence[Method], config: RunConfig, observe: Observer | None
) -> Done:
    """Run what is not finished.

    Args:
        runs: what is asked for.
        built: their methods.
        config: the first of them, with the models of all.
        observe: told of every call, step and stored sample.
    """
    if all(one.finished == one.total for one in runs):
        return Done()
    backbones = build_backbones(config)
    broker = _broker(config, backbones, observe)
    models = {role: dict(backbone.identity) for role, backbone in backbones.items()}
    with ExitStack() as stack:
        variants = [
            Variant(one.label, method, stack.enter_context(one.open(models)))
            for one, method in zip(runs, built, strict=True)
        ]
        tallies = _loop(runs[0].plan, variants, broker, observe)
    images = sum(one.images for one in tallies.values())
    work = work_of(images, broker.counters, broker.seconds)
    return Done(broker.counters, work, Sharing(tallies))


def _broker(config: RunConfig, backbones: dict[str, Backbone], observe: Observer | None) -> Broker:
    using = schedule(config, backbones)
    return Broker(
        backbones,
        max_batch=using.max_batch,
        memo_bytes=config.memo_mb * 2**20,
        in_flight=using.in_flight,
        overlap=using.overlap,
        observe=observe,
    )


def _loop(
    plan: Plan, variants: Sequence[Variant], broker: Broker, observe: Observer | None
) -> dict[str, Tally]:
    """Run with progress on stderr; what each variant asked for."""
    tallies = {variant.name: Tally() for variant in variants}
    total = len(plan.samples) * plan.trials * len(variants)
    with Meter(total, total - pending(plan, variants)) as meter:

        def on_record(variant: Variant, record: Record) -> None:
            tallies[variant.name].add(record.counters)
            meter.step()
            if record.status != "ok":
                meter.say(f"{variant.name}: sample {record.id} failed: {record.error}")

        run(plan, variants, broker, on_record, observe)
    return tallies


def _score(prepared: Sequence[Prepared]) -> list[Scored]:
    """All runs in one pass over the ground truth."""
    first = prepared[0]
    runs = [Finished(one.path, one.label, one.config.trials) for one in prepared]
    return score_runs(first.dataset, runs, Rules(backend=first.config.metrics["backend"]))


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
