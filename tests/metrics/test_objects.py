"""Both found: each of several objects against one mask."""

import numpy as np

from int_bench.metrics.objects import all_found, object_overlaps


def _square(start: int) -> np.ndarray:
    mask = np.zeros((12, 12), dtype=bool)
    mask[2:6, start : start + 4] = True
    return mask


def test_each_object_is_compared_without_the_other() -> None:
    one, other = _square(0), _square(6)
    assert object_overlaps(one | other, [one, other]).tolist() == [1.0, 1.0]
    assert object_overlaps(one, [one, other]).tolist() == [1.0, 0.0]
    assert not all_found(one, [one, other])
    assert all_found(one | other, [one, other])
    # 16 pixels of each object, 144 - 32 of the ground between them.
    everything = np.ones((12, 12), dtype=bool)
    assert np.allclose(object_overlaps(everything, [one, other]), 16 / (16 + 112))


def test_half_of_an_object_is_the_border_of_found() -> None:
    whole, half = _square(0), _square(0)
    half[4:] = False
    assert all_found(half, [whole])
    half[3, 0] = False
    assert not all_found(half, [whole])
