"""Two hosts on one folder, as processes that see each other late: deaths, and a full disk."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from int_bench.runs.executors.arrays import collect
from int_bench.runs.executors.status import status_of
from int_bench.runs.reader import Run
from tests.runs.executors.bench import content, go, pictures, request
from tests.runs.executors.hosts import Shared, ended

SLOW = {"detector": "tests.runs.executors.hazards.Slow"}
WORDS = ["method.iterations=1"]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("scenes"), 10)


@pytest.fixture(scope="module")
def whole(scenes, tmp_path_factory):
    """What one process leaves behind, undisturbed."""
    return content(go(request(scenes, tmp_path_factory.mktemp("w"), *WORDS, models=SLOW))[0])


def test_two_hosts_without_locks_that_see_each_other_late_leave_the_same_folder(
    scenes, whole, tmp_path
):
    shared = Shared(scenes, tmp_path, *WORDS, models=SLOW)
    hosts = [shared.start(name, late=0.5, together=2) for name in ("host a", "host b")]
    assert ended(hosts) == [0, 0]
    assert status_of(shared.run).done == 10
    told: list[str] = []
    collect(shared.array, {}, told.append)
    assert content(shared.run) == whole and not told
    served = {record.host["name"] for record in Run(shared.run).records.values()}
    assert served == {"host a", "host b"}


def test_a_full_disk_on_one_host_stops_that_host_alone_and_is_named(scenes, whole, tmp_path):
    shared = Shared(scenes, tmp_path, *WORDS, models=SLOW)
    hosts = [shared.start("host a", together=2), shared.start("host b", full=True, together=2)]
    assert ended(hosts) == [0, 2]
    told: list[str] = []
    collect(shared.array, {}, told.append)
    assert content(shared.run) == whole
    (sentence,) = told
    assert "others did its share: On host b: Cannot write to" in sentence
    assert "No space left on device" in sentence


@pytest.mark.services
def test_hosts_that_are_killed_at_twenty_five_points_change_nothing(scenes, whole, tmp_path):
    chance = random.Random(5)
    kills = 0
    for attempt in range(9):  # a run is done before all kills have met it
        shared = Shared(scenes, tmp_path / f"{attempt}", *WORDS, models=SLOW)
        hosts = {name: shared.start(name) for name in ("host a", "host b")}
        noted = 0
        while len(list(shared.parts.glob("*.done"))) < shared.array.shards:
            time.sleep(chance.uniform(0, 0.1))
            now = sum(path.stat().st_size for path in shared.parts.glob("*.begun"))
            if now > noted and kills < 25:  # something was begun or ended since the last one
                noted, name = now, chance.choice(sorted(hosts))
                os.kill(hosts[name], signal.SIGKILL)
                kills += ended([hosts[name]]) == [-signal.SIGKILL]
                hosts[name] = shared.start(name)
        ended(hosts.values())
        collect(shared.array, {}, lambda sentence: None)
        # What two kills met was given up; the next command computes it.
        go(request(scenes, tmp_path / f"{attempt}", *WORDS, models=SLOW))
        assert content(shared.run) == whole
        if kills >= 25:
            break
    assert kills == 25
