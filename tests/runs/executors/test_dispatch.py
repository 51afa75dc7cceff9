"""Who computes what, whoever dies: decisions alone, in thousands of simulated runs."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from int_bench.runs.executors.dispatch import Dispatcher, Unit


def units(count, size=1):
    return [
        Unit(tuple((0, 0, f"u{number}s{place}") for place in range(size)))
        for number in range(count)
    ]


def simulate(seed: int, workers: int, poison: frozenset[str], size: int):
    """A run in which workers die at random and of poison: what was computed, what was given up."""
    chance = random.Random(seed)
    dispatcher = Dispatcher(units(20, size))
    names, hired, now = [f"w{i}" for i in range(workers)], workers, 0.0
    finished, given_up, deaths = Counter(), Counter(), Counter()
    while dispatcher.left:
        now += 1
        name = chance.choice(names)
        while dispatcher.take(name, now):
            pass
        unit = dispatcher.computing().get(name)
        if unit is None:
            continue
        killed = set(unit.samples) & poison
        if killed or (chance.random() < 0.05 and not unit.deaths):
            deaths.update(unit.samples)
            lost = dispatcher.died(name)
            given_up.update(lost.samples if lost else ())
            names[names.index(name)] = f"w{hired}"
            hired += 1
        else:
            dispatcher.finished(name, now)
            finished.update(unit.samples)
    return finished, given_up, deaths


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_everything_is_computed_once_and_poison_alone_is_given_up(workers, size):
    poison = frozenset({"u3s0", "u17s0"})
    for seed in range(50):
        finished, given_up, deaths = simulate(seed, workers, poison, size)
        assert set(given_up) == poison and set(given_up.values()) == {1}
        assert set(finished.values()) == {1} and len(finished) == 20 * size - 2
        assert not set(finished) & poison
        assert all(deaths[name] <= (2 if size == 1 else 4) for name in deaths)


def test_a_worker_has_no_more_than_it_can_use_and_at_the_end_nobody_waits_behind_another():
    dispatcher = Dispatcher(units(5))
    taken = [dispatcher.take(name, 0) for name in ("a", "b", "a", "b", "a")]
    assert [unit is not None for unit in taken] == [True, True, True, False, False]
    assert dispatcher.left == 5 and dispatcher.waiting == 2


def test_what_a_dead_worker_had_not_begun_is_under_no_suspicion():
    dispatcher = Dispatcher(units(6))
    dispatcher.take("a", 0)
    dispatcher.take("a", 0)
    assert dispatcher.died("a") is None
    first, second = dispatcher.take("b", 0), dispatcher.take("b", 0)
    assert (first.samples, first.deaths) == (("u0s0",), 1)
    assert (second.samples, second.deaths) == (("u1s0",), 0)
    assert dispatcher.died("nobody") is None


def test_a_late_worker_is_known_and_its_sample_given_up_at_once():
    dispatcher = Dispatcher(units(2), depth=1)
    dispatcher.take("a", 10.0)
    assert dispatcher.late(20.0, seconds=5, start=10) == []  # it may load its models first
    assert dispatcher.late(25.1, seconds=5, start=10) == ["a"]
    dispatcher.finished("a", 12.0)
    dispatcher.take("a", 12.0)
    assert dispatcher.late(17.1, seconds=5, start=10) == ["a"]
    assert dispatcher.stopped("a").samples == ("u1s0",)
    assert dispatcher.left == 0


def test_a_late_unit_of_several_samples_is_tried_sample_by_sample():
    dispatcher = Dispatcher(units(1, size=3))
    dispatcher.take("a", 0.0)
    assert dispatcher.late(14.0, seconds=5, start=0) == []
    assert dispatcher.stopped("a") is None
    assert [dispatcher.take(name, 0).samples for name in "bcd"] == [
        ("u0s0",),
        ("u0s1",),
        ("u0s2",),
    ]
