"""Commands killed at random moments, and the memory of a long run; the scripts print more."""

from __future__ import annotations

import random

import pytest

from scripts.experiments.kills import COMMANDS, chains_of
from scripts.experiments.soak import BAR_MB, STEEPEST, peak_mb, soaked

KILLS = 7
"""Of each of nine commands: 63."""


@pytest.mark.services
@pytest.mark.parametrize("name", COMMANDS)
def test_what_was_killed_again_and_again_ends_as_what_was_not(name):
    moments, chains, differences = chains_of(COMMANDS[name], KILLS, random.Random(name))
    assert not differences
    assert moments >= 9 and chains >= 3


@pytest.mark.services
def test_the_memory_of_a_run_is_what_its_caches_say_and_stays_below_2_gb():
    """After 24 image-variants: with all caches full, and in what nothing accounts for."""
    soak = soaked(images=12, every=6)
    assert len(soak.points) == 24
    assert max(soak.full, peak_mb()) <= BAR_MB, soak.line()
    assert soak.slope <= STEEPEST, soak.slope
