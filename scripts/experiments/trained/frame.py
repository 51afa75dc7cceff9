"""Steps, measures and bars of trained systems: run over seeds, go on after a stop, print a table.

A step is one command of ``int-bench``. What it printed last (a run folder, an adapter) is what
later steps and measures know it by. A step that is done is not done again.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from int_bench.core.files import write_file
from int_bench.core.types import Values
from int_bench.report.statistics import Interval, bootstrap_interval
from int_bench.runs.scorable import StoredRun


@dataclass(frozen=True)
class Step:
    """A command.

    Attributes:
        name: of the step, unique in its system.
        words: behind ``int-bench``; ``{seed}``, and ``{NAME}`` for what step NAME has printed last.
        once: the same for all seeds.
    """

    name: str
    words: tuple[str, ...]
    once: bool = False


Outputs = Mapping[str, Path]
"""By step, the path that it has printed last."""
Measure = Callable[[Outputs], Mapping[str, float]]
"""Of one seed: a value per object, by its id; a single one by any name."""


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        what: is measured.
        measure: of one seed.
        bar: in words; empty where there is none.
        met: whether a mean and its interval meet the bar.
    """

    what: str
    measure: Measure
    bar: str = ""
    met: Callable[[float, Interval | None], bool] | None = None


@dataclass(frozen=True)
class System:
    """A system with all that is told of it.

    Attributes:
        name: of the system, and of the option ``--only``.
        title: of its part of the page.
        steps: in their order; a step knows those before it.
        rows: of its table.
        remarks: paragraphs below the table.
    """

    name: str
    title: str
    steps: tuple[Step, ...]
    rows: tuple[Row, ...]
    remarks: tuple[str, ...] = ()


def outputs(system: System, seed: int, root: Path) -> dict[str, Path]:
    """Do the steps of a seed that are not done; their outputs.

    Raises:
        SystemExit: a step failed; it has said why.
    """
    known: dict[str, Path] = {}
    for step in system.steps:
        file = _file(system, step, seed, root)
        words = [word.format(seed=seed, **known) for word in step.words]
        record = json.loads(file.read_text()) if file.is_file() else None
        if record is None or record["words"] != words:
            record = {"words": words, **_done(words)}
            write_file(file, json.dumps(record, indent=1).encode())
        known[step.name] = Path(record["printed"])
    return known


def _file(system: System, step: Step, seed: int, root: Path) -> Path:
    """The record of a step."""
    return root / system.name / ("once" if step.once else f"seed{seed}") / f"{step.name}.json"


def _done(words: Sequence[str]) -> dict[str, object]:
    """Run a command in a process of its own; what it printed last, and its processor seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    print("int-bench", *words, file=sys.stderr, flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "int_bench", *words], stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise SystemExit(done.returncode)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"printed": done.stdout.split()[-1], "cpu_s": round(spent, 1)}


def seconds(system: System, seed: int, root: Path) -> float:
    """Processor seconds of a seed's steps, those that all seeds share among them."""
    files = (_file(system, step, seed, root) for step in system.steps)
    records = [json.loads(file.read_text()) for file in files]
    return sum(float(record["cpu_s"]) for record in records)


def score(step: str, metric: str) -> Measure:
    """The stored score of each sample of a run."""
    return lambda known: StoredRun(known[step]).scores().by_sample(metric)


def difference(new: Measure, base: Measure) -> Measure:
    """Object by object, over those that both have."""

    def measure(known: Outputs) -> Mapping[str, float]:
        ours, theirs = new(known), base(known)
        return {name: ours[name] - theirs[name] for name in ours if name in theirs}

    return measure


def validation(step: str, figure: str) -> Measure:
    """A figure of the last report of a training, over its validation objects."""

    def measure(known: Outputs) -> Mapping[str, float]:
        log = known[step].parent / "train.jsonl"
        return {figure: json.loads(log.read_text().splitlines()[-1])["validation"][figure]}

    return measure


def at_least(bar: float) -> Callable[[float, Interval | None], bool]:
    """The mean reaches a bar."""
    return lambda mean, interval: mean >= bar


def table(system: System, seeds: Sequence[int], root: Path) -> list[str]:
    """The system's part of the page."""
    known = [outputs(system, seed, root) for seed in seeds]
    lines = [f"## {system.title}", "", "| what | bar | mean [95 %] | by seed | |",
             "|---|---|---|---|---|"]  # fmt: skip
    for row in system.rows:
        per_seed = [row.measure(paths) for paths in known]
        shared = [name for name in per_seed[0] if all(name in values for values in per_seed)]
        values: Values = np.array([[of[name] for name in shared] for of in per_seed])
        mean = float(values.mean())
        interval = bootstrap_interval(values.mean(0)) if len(shared) > 1 else None
        ends = f" [{interval.low:.3f}, {interval.high:.3f}]" if interval else ""
        verdict = "" if row.met is None else "met" if row.met(mean, interval) else "**missed**"
        by_seed = " ".join(f"{value:.3f}" for value in values.mean(1))
        lines.append(f"| {row.what} | {row.bar} | {mean:.3f}{ends} | {by_seed} | {verdict} |")
    spent = " ".join(f"{seconds(system, seed, root):.0f}" for seed in seeds)
    lines += ["", f"Processor seconds by seed: {spent}."]
    for remark in system.remarks:
        lines += ["", remark]
    return [*lines, ""]
