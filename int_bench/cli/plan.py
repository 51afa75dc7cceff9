"""What a command needs and will do, and what is missing for it: for ``--dry-run`` and before it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence

from int_bench.cli import process
from int_bench.cli.screen import say
from int_bench.core.text import in_bytes, in_seconds, many, shown
from int_bench.errors import Exit
from int_bench.runs.preflight.checks import Preflight, by_place
from int_bench.runs.preflight.estimate import Estimate
from int_bench.runs.prepare import Prepared

_WIDE = 10


def looked_over(report: Preflight, prepared: Sequence[Prepared], dry_run: bool) -> Exit | None:
    """Say what was found and what comes; the exit code if the command ends here, else None."""
    if dry_run:
        return describe(prepared, report)
    if report.faults:
        return complain(report)
    process.has_spoken()
    for note in (*dict.fromkeys(s for run in prepared for s in run.stamps), *report.notes):
        say(f"{note}.")
    if report.estimate is not None and report.estimate.images:
        say(f"{to_do(report.estimate)}; loading the models")
    return None


def complain(report: Preflight) -> Exit:
    """All that is missing or cannot work on stderr, each with what mends it; the exit code."""
    if len(report.faults) == 1:
        lines = [f"int-bench: {report.faults[0].sentence}."]
    else:
        many = f"{len(report.faults)} things are missing or cannot work"
        lines = [f"int-bench: {many}; nothing was loaded or made."]
        wide = max((len(fault.subject) for fault in report.faults), default=0)
        for fault in report.faults:
            lines.append(f"{fault.subject:<{wide}}  {fault.what}")
            lines += [f"{'':<{wide}}  next step: {fault.remedy}"] if fault.remedy else []
        lines += [f"All weights at once: {report.fetch}"] if report.fetch else []
    print("\n".join(map(shown, lines)), file=sys.stderr, flush=True)
    return report.code


def describe(prepared: Sequence[Prepared], report: Preflight) -> Exit:
    """What would be done, what it needs, what it will cost, and what is missing; the exit code."""
    computed = [run for run in prepared if run.source is None]
    known = report.estimate.left if report.estimate else ()
    paths = [run.path for run in computed]
    left = dict(zip(paths, known, strict=True)) if len(paths) == len(known) else {}
    for run in prepared:
        print("\n".join(_of_run(run, left.get(run.path))))
    notes = [f"{'note':<{_WIDE}} {shown(note)}" for note in report.notes]
    print("\n".join([*_of_memory(report), *_of_cost(report.estimate), *notes]))
    sys.stdout.flush()
    return complain(report) if report.faults else Exit.DONE


def _of_run(run: Prepared, left: int | None) -> Iterator[str]:
    """What is done in a run; ``left`` is what is to do, where that has been counted."""
    config = run.config
    done = run.standing().done if left is None else len(run.keys) - left
    iterations = config.method.get("iterations")
    images = many(len(run.samples), "image")
    images += f", {config.trials} trials" if config.trials > 1 else ""
    yield f"{'data set':<{_WIDE}} {shown(config.dataset_name)}: {images}"
    counted = "" if iterations is None else f", {many(iterations, 'iteration')}"
    yield f"{'task':<{_WIDE}} {shown(config.task.prompt)}{counted}"
    yield f"{'method':<{_WIDE}} {shown(run.label)}"
    for role, node in config.backbone.items():
        choice = config.choices.get(f"backbone/{role}", "")
        source = node.get("checkpoint") or node.get("model")
        where = [str(node[key]) for key in ("dtype", "device") if key in node]
        details = ", ".join(map(str, filter(None, [source, " on ".join(where)])))
        yield f"{role:<{_WIDE}} {choice}{': ' if details else ''}{shown(details)}"
    yield f"{'run folder':<{_WIDE}} {run.path} ({done} of {len(run.keys)} done)"
    if run.source is not None:
        yield f"{'taken from':<{_WIDE}} {run.source}"
    for stamp in run.stamps:
        yield f"{'note':<{_WIDE}} {stamp}"


def _of_memory(report: Preflight) -> Iterator[str]:
    for place, needs in by_place(report.demands).items():
        weights = sum(need.weights for need in needs)
        prefixes = sum(need.prefixes for need in needs)
        parts = f"{in_bytes(weights)} of weights"
        if prefixes:
            parts += f" and {in_bytes(prefixes)} for the patches of two images"
        if place is not None:
            parts += f"; {in_bytes(place.free)} of {in_bytes(place.total)} are free ({place.name})"
        yield f"{'memory':<{_WIDE}} {parts}"


def _of_cost(cost: Estimate | None) -> Iterator[str]:
    if cost is None or not cost.images:
        return
    yield f"{'to do':<{_WIDE}} {to_do(cost)}"
    if cost.calls:
        roles: Counter[str] = Counter()
        for call, number in cost.calls.items():
            roles[call.partition(".")[0]] += number
        yield f"{'calls':<{_WIDE}} about " + ", ".join(f"{n:,} {role}" for role, n in roles.items())
    if cost.bytes is not None:
        yield f"{'disk':<{_WIDE}} {in_bytes(cost.bytes)} of masks at most"


def to_do(cost: Estimate) -> str:
    """Images, calls and time that are left, in a line."""
    calls = sum(cost.calls.values())
    parts = [many(cost.images, "image")]
    parts += [f"about {many(calls, 'model call')}"] if calls else []
    seconds = cost.total_seconds
    if seconds is not None:
        parts.append(f"about {in_seconds(seconds)}, as {many(cost.measured, 'image')} before took")
    else:
        parts.append("time known after the first")
    return ", ".join(parts)
