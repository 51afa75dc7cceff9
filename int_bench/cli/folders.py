"""``int-bench check``, ``status`` and ``upgrade``: whole, how far, and format 1 to 2."""

from __future__ import annotations

import json as json_format
from pathlib import Path

from int_bench.core.text import shown
from int_bench.errors import Exit
from int_bench.runs.check import check, said
from int_bench.runs.executors.status import Status, status_of
from int_bench.runs.manifest import read_manifest
from int_bench.runs.reader import Run
from int_bench.runs.training.folder import TrainFolder
from int_bench.runs.upgrade import upgrade

_NAMED, _RUNNING = 20, 8


def check_command(path: Path, thorough: bool) -> int:
    """Say what of a run folder is torn, gone or changed.

    Returns:
        The exit code: 0 if all is as it was written, else 4.

    Raises:
        MissingAsset: it is no run folder, of a newer version, or was edited.
    """
    run = Run(path)
    damages = list(check(run, thorough))
    for damage in damages[:_NAMED]:
        print(shown(said(damage, path)))
    if len(damages) > _NAMED:
        print(f"and {len(damages) - _NAMED} more")
    if damages:
        print("The command that made the run computes again what is gone or changed;")
        print("traces alone, which decide no result, with refill=true.")
        return Exit.INCOMPLETE
    states = [run.records.status(key) for key in run.records] if run.manifest.kind == "run" else []
    counted = f"{states.count('ok')} done, {states.count('failed')} failed"
    how = "every byte" if thorough else "sizes and dates; --verify compares every byte"
    print(f"{path} is whole ({counted}; {how}).")
    return Exit.DONE


def upgrade_command(path: Path) -> int:
    """Rewrite a run folder of format 1 as format 2.

    Raises:
        MissingAsset: it is no run folder, or holds what is no record.
        UsageError: it cannot be written.
    """
    count = upgrade(path)
    if count is None:
        print(f"{path} is of today's format; nothing was changed.")
    else:
        print(f"{path}: {count} records rewritten; score it with `int-bench eval {path}`.")
    return Exit.DONE


def status_command(path: Path, json: bool) -> int:
    """Say how many samples are done, running and failed, who works on them, and what is left.

    Returns:
        The exit code: 0 if all that was asked for is done, else 4.

    Raises:
        MissingAsset: it is no run folder.
    """
    if read_manifest(path).kind == "train":
        return _training(TrainFolder(path), json)
    status = status_of(path)
    if json:
        print(json_format.dumps(_as_json(status)))
    else:
        print("\n".join(map(shown, _lines(path, status))))
    return Exit.DONE if status.asked == status.done else Exit.INCOMPLETE


def _training(folder: TrainFolder, json: bool) -> Exit:
    """How far a training is: its last report."""
    reports = [line for line in folder.lines() if "steps" in line]
    last = {**(reports[-1] if reports else {"step": 0}), "done": folder.done}
    text = f"step {last['step']} of {last['steps']}" if reports else "nothing was reported yet"
    state = "done" if folder.done else text
    print(json_format.dumps(last) if json else shown(f"{folder.path}: {state}"))
    return Exit.DONE if folder.done else Exit.INCOMPLETE


def _lines(path: Path, status: Status) -> list[str]:
    of = "" if status.asked is None else f" of {status.asked}"
    counted = f"{status.done}{of} done, {len(status.running)} running, {status.failed} failed"
    lines = [f"{path}: {counted}"]
    if status.left is not None:
        lines.append(f"about {status.left / 60:.1f} min left, by the pace so far")
    names = [f"{sample} (trial {trial})" for trial, sample in status.running[:_RUNNING]]
    if names:
        more = len(status.running) - len(names)
        lines.append("running: " + ", ".join(names) + (f" and {more} more" if more else ""))
    lines += [f"at work: {worker}" for worker in status.workers]
    if not status.workers and status.asked != status.done:
        lines.append("nobody is at work; the command that began the run goes on with it")
    return lines


def _as_json(status: Status) -> dict[str, object]:
    return {
        "asked": status.asked,
        "done": status.done,
        "running": [{"trial": trial, "id": sample} for trial, sample in status.running],
        "failed": status.failed,
        "workers": list(status.workers),
        "seconds_left": status.left,
    }
