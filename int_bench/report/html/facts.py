"""What was run, in words: facts of one run or two beside each other, and what to beware of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from int_bench.report.html.sides import Side
from int_bench.report.html.story import RULES
from int_bench.runs.kept.work import spent_of
from int_bench.runs.labels import flat
from int_bench.runs.records import FAILED, OK


@dataclass(frozen=True)
class Fact:
    """A line: what it is, and what it is in each run."""

    name: str
    values: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether all runs agree."""
        return len(set(self.values)) == 1


def facts(sides: Sequence[Side]) -> list[Fact]:
    """The facts that any of the runs has, in one order."""
    told = [dict(_of(side)) for side in sides]
    names = dict.fromkeys(name for of in told for name in of)
    return [Fact(name, tuple(of.get(name, "–") for of in told)) for name in names]


def differences(sides: Sequence[Side]) -> list[Fact]:
    """What of the identities of two runs differs, key by key."""
    identities = [flat(side.run.manifest.identity) for side in sides]
    keys = dict.fromkeys(key for of in identities for key in of)
    rows = [Fact(key, tuple(str(of.get(key, "–")) for of in identities)) for key in keys]
    return [row for row in rows if not row.same]


def warnings(sides: Sequence[Side]) -> list[str]:
    """What a reader must know before anything else."""
    several = len(sides) > 1
    texts = []
    for side in sides:
        before = f"{side.label}: " if several else ""
        own = [*map(_stamp, side.run.manifest.stamps), *side.warnings]
        texts += [f"{before}{text}" for text in dict.fromkeys(own)]
    return list(dict.fromkeys(texts))


def _stamp(stamp: str) -> str:
    """A stamp is words with hyphens between."""
    text = stamp if " " in stamp else stamp.replace("-", " ").replace("_", " ")
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _of(side: Side) -> Iterator[tuple[str, str]]:
    run = side.run
    manifest = run.manifest
    yield "Method", side.label
    yield "Data set", run.dataset
    task = side.at("task", "prompt")
    if isinstance(task, str):
        yield "Task prompt", task
    yield "Images", _counted(side)
    if run.trials > 1:
        yield "Trials", f"{run.trials}; pictures are of the first"
    rule = side.at("method", "final")
    iterations = side.at("method", "iterations")
    if isinstance(iterations, int):
        yield "Iterations", str(iterations)
    if isinstance(rule, str):
        yield "Final mask", RULES.get(rule, rule)
    for role, model in manifest.models.items():
        if isinstance(model, Mapping):
            source = model.get("source") or model.get("class") or "?"
            yield _role(str(role)), str(source)
    yield from _conditions(side)


def _conditions(side: Side) -> Iterator[tuple[str, str]]:
    manifest = side.run.manifest
    for name, key in (("Reading", "reading"), ("Exactness", "exactness"), ("Seed", "seed")):
        value = manifest.content.get(key) or side.at(key)
        if value is not None:
            yield name, str(value)
    kept = Counter(_kept(record) for record in side.records.values())
    if kept:
        yield "Kept", ", ".join(f"{what} of {count}" for what, count in kept.most_common())
    code = manifest.content.get("code")
    if isinstance(code, Mapping):
        git = code.get("git")
        more = ""
        if isinstance(git, Mapping):
            dirty = git.get("dirty", False)
            state = ", perhaps changed" if dirty is None else ", changed" if dirty else ""
            more = f" ({str(git.get('revision'))[:10]}{state})"
        yield "int-bench", f"{code.get('version')}{more}"
    machine = manifest.content.get("machine")
    if isinstance(machine, Mapping):
        gpus = machine.get("gpus") or [f"{machine.get('cpus')} CPU cores"]
        yield "Machine", ", ".join(map(str, gpus)) if isinstance(gpus, list) else "?"
    known = {
        "Speed": "; ".join(filter(None, (spent.text for spent in spent_of(side.folder)))),
        "Made": manifest.created,
        "Run folder": str(side.folder),
    }
    yield from ((name, text) for name, text in known.items() if text)


def _kept(record: Any) -> str:
    if record.status != OK:
        return "nothing"
    words = {"final": "final mask", "iterations": "masks of all iterations", "soft": "soft masks"}
    if record.traces:
        return "the whole trace"
    keep = "soft" if any(s.soft for s in record.iterations) else "iterations" if any(
        s.mask for s in record.iterations) else "final"  # fmt: skip
    return words[keep]


def _counted(side: Side) -> str:
    counts = side.scores.counts if side.scores else None
    if counts is None:
        states = Counter(record.status for record in side.records.values())
        done, failed = states[OK] or len(side.maps.paths), states[FAILED]
        return f"{done} done, {failed} failed; not scored"
    trials = f" in {counts.trials} trials" if counts.trials > 1 else ""
    told = [f"{counts.scored} scored"]
    told += [f"{counts.failed} failed"] * bool(counts.failed)
    told += [f"{counts.missing} missing"] * bool(counts.missing)
    return f"{counts.images}{trials}: {', '.join(told)}"


def _role(role: str) -> str:
    names = {"vlm": "Vision-language model"}
    return names.get(role, role.replace("_", " ").capitalize())
