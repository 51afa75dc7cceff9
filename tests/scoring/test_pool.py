"""Scoring processes: none outlives what started it, and an interruption says what is safe."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from int_bench.methods.trivial import trivial_mask
from tests.conftest import HANGING, write_pairs

SLOW = """
import os, sys, time
from int_bench.cli.app import exit_code
from int_bench.data.folders import PairedFolders

read = PairedFolders.load_mask
def load_mask(self, sample):
    os.write(2, f"reading {os.getpid()}\\n".encode())  # at once, as the others write there too
    time.sleep(3600)
    return read(self, sample)
PairedFolders.load_mask = load_mask
if __name__ == "__main__":
    sys.exit(exit_code(sys.argv[1:]))
"""


@pytest.fixture
def scoring(tmp_path):
    """``int-bench eval`` of 40 masks by two processes, each of which takes its time."""
    pairs = write_pairs(tmp_path / "pairs", 40)
    program = tmp_path / "slow.py"
    program.write_text(SLOW)
    words = ["eval", "--pred", pairs / "masks", "--gt", pairs / "masks", "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, program, *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    yield process
    process.kill()
    process.wait()


def workers_of(process: subprocess.Popen) -> set[int]:
    """The processes that have begun to read, both of them."""
    found: set[int] = set()
    while len(found) < 2:
        line = process.stderr.readline()
        assert line, "it ended before it read anything"
        if line.startswith("reading"):
            found.add(int(line.split()[1]))
    return found - {process.pid}


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def gone(pids: set[int]) -> bool:
    """Whether all end; the test's own time limit is the only one."""
    while any(map(alive, pids)):
        time.sleep(0.05)
    return True


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes under /proc")
def test_workers_end_when_their_parent_is_killed(scoring):
    pids = workers_of(scoring)
    assert len(pids) == 2 and all(map(alive, pids))
    scoring.kill()
    assert gone(pids)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes under /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_eval_says_what_is_safe_and_how_to_go_on(scoring, number):
    pids = workers_of(scoring)
    scoring.send_signal(number)
    out, err = scoring.communicate(timeout=HANGING)  # the workers would sleep for an hour
    assert scoring.returncode == 130 and not out and "Traceback" not in err
    said = [line for line in err.splitlines() if not line.startswith("reading")]
    assert len(said) == 2 and said[0].startswith("Interrupted: masks and earlier scores are")
    assert said[1].startswith("Go on with: int-bench eval --pred") and "--workers 2" in said[1]
    assert gone(pids)


def test_the_number_of_workers_is_an_option(command, pairs):
    words = ("eval", "--pred", pairs / "masks", "--gt", pairs / "masks", "--json")
    found = [json.loads(command(*words, *more)[1]) for more in ((), ("--workers", "1"))]
    assert found[0]["metrics"] == found[1]["metrics"]
    code, _, err = command(*words, "--workers", "0")
    assert code == 2 and "--workers" in err


@pytest.mark.parametrize("size", [(4, 4), (5, 7), (6, 9), (23, 1), (1022, 767)])
def test_the_centre_box_lies_in_the_middle_of_any_size(size):
    box = trivial_mask("centre_box", size)
    assert (box == box[::-1]).all() and (box == box[:, ::-1]).all()
    assert not trivial_mask("empty", size).any() and trivial_mask("full", size).all()
    assert abs(box.mean() - 0.25) <= 2 / min(size)
