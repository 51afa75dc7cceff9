"""What is prepared on another thread is what would have been computed, once."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from int_bench.backbones.common import ahead
from int_bench.backbones.common.ahead import Ahead


class Asks:
    """A request."""


REQUEST = Asks()


def never(compute):
    """A pool that never comes to it."""
    return Future()


def test_a_value_is_computed_once_and_taken_once():
    calls = []
    values: Ahead[int] = Ahead()
    with ThreadPoolExecutor(1) as pool:
        for _ in range(2):
            values.begin("a", REQUEST, lambda: calls.append(1) or 7, pool.submit)
    assert values.take("a", lambda: 8) == 7
    assert values.take("a", lambda: 8) == 8
    assert calls == [1]


def test_what_was_not_begun_is_computed_at_once():
    values: Ahead[int] = Ahead()
    values.begin("a", REQUEST, lambda: 7, never)
    assert values.take("a", lambda: 8) == 8


def test_an_error_comes_where_the_value_is_needed():
    def fail():
        raise ValueError("thin")

    values: Ahead[int] = Ahead()
    with ThreadPoolExecutor(1) as pool:
        values.begin("a", REQUEST, fail, pool.submit)
    with pytest.raises(ValueError, match="thin"):
        values.take("a", fail)


def test_few_values_wait():
    values: Ahead[int] = Ahead()
    for key in range(2 * ahead.MOST):
        values.begin(key, REQUEST, lambda: 7, never)
    assert len(values._begun) == ahead.MOST
    values.clear()
    assert not values._begun


def test_what_nobody_takes_goes_with_its_request():
    values: Ahead[int] = Ahead()
    request = Asks()
    values.begin("a", request, lambda: 7, never)
    values.begin("a", REQUEST, lambda: 8, never)
    assert len(values._begun) == 1
    del request
    assert not values._begun
