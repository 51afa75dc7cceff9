"""``int-bench run``, and what ``ablate`` shares with it: prepare, run over one broker, score."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from int_bench import binding
from int_bench import config as configuration
from int_bench.broker import Broker
from int_bench.cli_scoring import Scored, print_json, print_scores, score_run
from int_bench.cli_support import Command, Meter, quiet_libraries, say, terminable
from int_bench.config import RunConfig
from int_bench.data.dataset import Dataset, SampleFile
from int_bench.data.subset import First
from int_bench.errors import UsageError
from int_bench.report.work import Work, work_of
from int_bench.runner import store
from int_bench.runner.profile import Trace
from int_bench.runner.provenance import provenance
from int_bench.runner.run import Plan, Variant, pending, run
from int_bench.runner.store import Record, RunFolder
from int_bench.schedule import schedule
from int_bench.serving import Observer

_INTERRUPTED = 130
_INCOMPLETE = 4


@dataclass(frozen=True)
class Prepared:
    """A checked configuration with its data set and its run folder (not yet made)."""

    config: RunConfig
    dataset: Dataset
    samples: Sequence[SampleFile]
    identity: dict[str, Any]
    path: Path

    @property
    def total(self) -> int:
        """Samples over trials."""
        return len(self.samples) * self.config.trials

    @property
    def plan(self) -> Plan:
        """What the run loop needs of it."""
        config = self.config
        return Plan(
            self.dataset, self.samples, config.task.prompt, seed=config.seed, trials=config.trials
        )


def run_command(command: Command) -> int:
    """Segment a data set and score the masks."""
    return execute(command, [configuration.load(command.overrides)])


def execute(command: Command, configs: Sequence[RunConfig]) -> int:
    """Run variants that share one data set and one set of models, score them and print the table.

    Returns:
        The exit code: 0, 4 if a sample failed, 130 if interrupted.
    """
    quiet_libraries()
    prepared = _prepare(configs)
    if command.dry_run:
        return _describe(prepared)
    started = time.monotonic()
    tracing = Trace(command.profile) if command.profile else nullcontext()
    with terminable(), tracing as trace:
        try:
            counters, work = _run(prepared, trace)
            scored = [_score(one) for one in prepared]
        except KeyboardInterrupt:
            return _interrupted(command, prepared)
    seconds = time.monotonic() - started
    if command.json:
        key = "runs" if command.verb == "run" else "variants"
        print_json(scored, seconds, counters, key, work)
    else:
        print_scores(scored)
        print("\n".join(["", *work.lines()]), end="\n" if work.roles else "")
    return 0 if all(one.complete for one in scored) else _INCOMPLETE


def _prepare(configs: Sequence[RunConfig]) -> list[Prepared]:
    """Check everything that can be checked before a model is loaded."""
    first = configs[0]
    whole: Dataset = configuration.build(first.dataset, "dataset")
    dataset = First(whole, first.limit)
    samples = dataset.samples()
    known = {"name": first.dataset_name, "manifest": whole.manifest()}
    prepared = []
    for config in configs:
        identity = configuration.identity(config, known)
        digest = configuration.digest(identity)
        path = config.out / config.dataset_name / config.method_name / digest
        prepared.append(Prepared(config, dataset, samples, identity, path))
    return prepared


def _run(prepared: Sequence[Prepared], observe: Observer | None) -> tuple[dict[str, int], Work]:
    """Run what is not finished; the counters of the models, and what they did."""
    if all(_finished(one) == one.total for one in prepared):
        return {}, Work()
    config, plan = prepared[0].config, prepared[0].plan
    if any(one.config.backbone != config.backbone for one in prepared):
        raise UsageError("Variants of one command must use the same models.")
    backbones = configuration.build_backbones(config)
    using = schedule(config, backbones)
    broker = Broker(
        backbones,
        max_batch=using.max_batch,
        memo_bytes=config.memo_mb * 2**20,
        in_flight=using.in_flight,
        overlap=using.overlap,
        observe=observe,
    )
    models = {role: dict(backbone.identity) for role, backbone in backbones.items()}
    with ExitStack() as stack:
        variants = [
            Variant(
                one.config.method_name,
                configuration.build_method(one.config),
                stack.enter_context(_open(one, models)),
            )
            for one in prepared
        ]
        left = pending(plan, variants)
        total = sum(one.total for one in prepared)
        meter = stack.enter_context(Meter(total, total - left))

        def on_record(variant: Variant, record: Record) -> None:
            meter.step()
            if record.status != "ok":
                meter.say(f"{variant.name}: sample {record.id} failed: {record.error}")

        run(plan, variants, broker, on_record, observe)
    return broker.counters, work_of(left, broker.counters, broker.seconds)


def _finished(one: Prepared) -> int:
    """How many samples, over trials, are done and well."""
    if not (one.path / store.RECORDS).exists():
        return 0
    records = store.read_records(one.path)
    done = {key for key, record in records.items() if record.status == "ok"}
    return len(done & {(t, s.id) for t in range(one.config.trials) for s in one.samples})


def _score(one: Prepared) -> Scored:
    return score_run(one.path, one.dataset, one.config.trials, one.config.method_name)


def _open(one: Prepared, models: dict[str, Any]) -> RunFolder:
    manifest = {
        "name": one.config.method_name,
        "identity": one.identity,
        "config": resolved(one.config),
        "models": models,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **provenance(),
    }
    return RunFolder(one.path, manifest, one.config.keep)


def resolved(config: RunConfig) -> dict[str, Any]:
    """The whole configuration, JSON-ready; the data set's root made absolute."""
    dataset = dict(config.dataset)
    if "root" in (binding.signature(str(dataset[binding.TARGET])) or {}):
        dataset["root"] = str(Path(dataset.get("root", ".")).expanduser().absolute())
    return {**asdict(config), "out": str(config.out), "dataset": dataset}


def _interrupted(command: Command, prepared: Sequence[Prepared]) -> int:
    for one in prepared:
        say(f"Interrupted: {_finished(one)} of {one.total} images are done and safe in {one.path}.")
    say(f"Resume with: {command.text}")
    return _INTERRUPTED


def _describe(prepared: Sequence[Prepared]) -> int:
    """What would be done."""
    for one in prepared:
        config = one.config
        print(
            f"data set   {config.dataset_name}: {len(one.samples)} images, {config.trials} trial(s)"
        )
        print(f"task       {config.task.prompt}, {config.task.iterations} iterations")
        print(f"method     {config.method_name}")
        for role, node in config.backbone.items():
            print(f"{role:<10} {node.get('checkpoint') or node['_target_']}")
        print(f"run folder {one.path} ({_finished(one)} of {one.total} done)")
    return 0
