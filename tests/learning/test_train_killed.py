"""A training that is killed at any moment goes on to the same bytes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

KILLS = 10
WORDS = (
    *("method=sam_decoder", "dataset=camoworld_crowd", "dataset.count=40", "train.steps=40"),
    *("train.batch=4", "train.report_every=5", "train.validated=8", "train.save_every=0"),
)


def started(out: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "int_bench", "train", *WORDS, "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.services
def test_killed_ten_times_it_ends_as_one_that_was_not(tmp_path):
    began = time.monotonic()
    assert started(tmp_path / "whole").wait(600) == 0
    spent, rng, kills = time.monotonic() - began, np.random.default_rng(0), 0
    while kills < KILLS:
        process = started(tmp_path / "killed")
        try:
            # Most of a sitting is the start of Python: what follows is hit as well.
            assert process.wait(rng.uniform(0.3, 1.0) * spent) == 0
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    assert kills > 2 and started(tmp_path / "killed").wait(600) == 0
    whole, killed = (
        next((tmp_path / name).glob("camoworld_crowd/sam_decoder/*/final"))
        for name in ("whole", "killed")
    )
    for name in ("model.safetensors", "config.json"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes()
