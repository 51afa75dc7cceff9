"""Output that fails, and the surroundings of a command: one sentence or silence, never a trace."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from int_bench.errors import UsageError
from int_bench.runs import folder as store
from tests.cli.test_cli import folder_of, result

METHODS = f"{shlex.quote(sys.executable)} -m int_bench methods"
FAULTS = {
    "a full disk": (f"{METHODS} > /dev/full", 2, "No space left on device"),
    "closed": (f"{METHODS} >&-", 2, "it is closed"),
    "a reader that leaves": (f"{METHODS} | head -n 1 > /dev/null; exit ${{PIPESTATUS[0]}}", 0, ""),
    "latin-1": (f"PYTHONIOENCODING=latin-1 {METHODS} > /dev/null", 0, ""),
    "no working folder": (f"mkdir x; cd x; rmdir ../x; {METHODS}", 2, "directory is gone"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_output_is_one_sentence(here, name):
    line, code, said = FAULTS[name]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, env=environment, cwd=here
    )
    assert done.returncode == code and said in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == bool(said)


def test_a_finished_run_on_a_read_only_disk_is_printed(command, pairs, monkeypatch):
    words = ("run", *folder_of(pairs), "method=centre_box", "--json")
    first = result(command(*words)[1])

    def refused(*_, **__):
        raise UsageError("written to a read-only disk")

    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    monkeypatch.setattr(store, "write_whole", refused)
    code, out, err = command(*words, "--limit", "3")
    assert code == 0 and "its scores are printed and not kept" in err
    assert (result(out)["n"], result(out)["run_dir"]) == (3, first["run_dir"])
