"""Commands killed at random moments, and the memory of a long run; the scripts print more."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.experiments.kills import COMMANDS, chains_of

ROOT = Path(__file__).parents[2]
KILLS = 7
"""Of each of thirteen commands: 91."""


@pytest.mark.services
@pytest.mark.parametrize("name", COMMANDS)
def test_what_was_killed_again_and_again_ends_as_what_was_not(name):
    moments, chains, differences = chains_of(COMMANDS[name], KILLS, random.Random(name))
    assert not differences
    assert moments >= 9 and chains >= 3


@pytest.mark.services
def test_the_memory_of_a_run_is_what_its_caches_say_and_stays_below_2_gb():
    """After 24 image-variants: with all caches full, and in what nothing accounts for."""
    words = ["-m", "scripts.experiments.soak", "--images", "12", "--every", "6"]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[:4]] == ["6", "12", "18", "24"]
