"""``int-bench check`` and ``int-bench upgrade``: whether a run folder is whole; format 1 to 2."""

from __future__ import annotations

from pathlib import Path

from int_bench.core.text import shown
from int_bench.errors import Exit
from int_bench.runs.check import check, said
from int_bench.runs.reader import Run
from int_bench.runs.upgrade import upgrade

_NAMED = 20


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
