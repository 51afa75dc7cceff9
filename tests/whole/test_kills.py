"""Chains of kill -9: a run that is killed again and again ends as one that never was."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCENES, KILLS, CHAINS = 24, 3, 15


def command(out: Path) -> list[str]:
    options = ["method=centre_box", f"dataset.count={SCENES}", f"out={out}"]
    return [sys.executable, "-m", "int_bench", "run", *options]


def masks(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.rglob("masks/0/final/*.png"))}


def scores(out: Path) -> list[str]:
    """The rows of every sample, without the lines above the column names."""
    paths = sorted(out.rglob("scores/*.csv"))
    assert paths
    lines = [line for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    return sorted(line for line in lines if not line.startswith("#"))


def killed(out: Path, after: int) -> bool:
    """Start the command and kill it once it has stored some masks; whether it was still running."""
    with subprocess.Popen(
        command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        while process.poll() is None and len(list(out.rglob("masks/0/final/*.png"))) < after:
            time.sleep(0.002)
        alive = process.poll() is None
        if alive:
            os.killpg(process.pid, signal.SIGKILL)
        return alive and process.wait() == -signal.SIGKILL


@pytest.mark.services
@pytest.mark.parametrize("chain", range(CHAINS))
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_never_was(tmp_path, chain):
    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    points = sorted(random.Random(chain).sample(range(1, SCENES - 2), KILLS))
    hits = [killed(tmp_path / "killed", point) for point in points]
    done = subprocess.run(command(tmp_path / "killed"), check=True, capture_output=True, text=True)
    assert any(hits) and "Traceback" not in done.stderr
    assert len(masks(tmp_path / "whole")) == SCENES
    assert masks(tmp_path / "killed") == masks(tmp_path / "whole")
    assert scores(tmp_path / "killed") == scores(tmp_path / "whole")
    assert not [path for path in (tmp_path / "killed").rglob("*") if path.suffix == ".part"]
