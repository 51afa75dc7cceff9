"""Points of objects: by hand, and what holds of all of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from int_bench.data.instances.points import point_of
from int_bench.data.instances.samples import Points
from int_bench.errors import SampleError

MASKS = arrays.arrays(
    np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.booleans()
).filter(np.any)
KINDS = ["qc", "uniform", "centroid"]


def box_mask(height: int, width: int, rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((height, width), dtype=np.bool_)
    mask[rows, columns] = True
    return mask


def drawn(mask: np.ndarray, kind, count: int = 250) -> np.ndarray:
    return np.array([point_of(mask, kind, 0, f"object {index}") for index in range(count)])


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(mask=MASKS, seed=st.integers(0, 3))
def test_a_point_lies_in_a_pixel_of_its_mask(kind, mask, seed):
    x, y = point_of(mask, kind, seed, "a-1")
    assert mask[int(y), int(x)]
    assert (x, y) == point_of(mask.copy(), kind, seed, "a-1")


def test_a_pixel_alone_is_the_point_of_all_kinds():
    mask = box_mask(5, 7, slice(3, 4), slice(6, 7))
    assert point_of(mask, "centroid", 0, "a") == (6.5, 3.5)
    for kind in ("qc", "uniform"):
        x, y = point_of(mask, kind, 0, "a")
        assert (int(x), int(y)) == (6, 3)


def test_the_centroid_is_the_nearest_pixel_of_the_mask_to_its_mean():
    ring = np.ones((5, 5), dtype=np.bool_)
    ring[1:4, 1:4] = False  # the mean, pixel (2, 2), is not of the mask
    x, y = point_of(ring, "centroid", 0, "a")
    assert ring[int(y), int(x)] and np.hypot(x - 2.5, y - 2.5) == 2.0
    assert point_of(box_mask(4, 9, slice(0, 3), slice(2, 7)), "centroid", 0, "a") == (4.5, 1.5)


def test_the_seed_and_the_annotation_are_the_key():
    mask = np.ones((64, 64), dtype=np.bool_)
    points = {point_of(mask, "uniform", seed, name) for seed in (0, 1) for name in ("a", "b")}
    assert len(points) == 4


def test_quasi_centre_points_lie_in_the_ellipse_of_an_eighth_of_the_sides():
    # A box of 32 x 16 pixels at (10, 20): centre (26, 28), semi-axes 4 and 2 pixels.
    points = drawn(box_mask(60, 60, slice(20, 36), slice(10, 42)), "qc")
    centres = np.floor(points) + 0.5
    assert ((((centres - (26, 28)) / (4, 2)) ** 2).sum(axis=1) <= 1).all()
    # By hand: of pixel centres at .5, 1.5, 2.5, 3.5 across, all fit at .5 down, and three at 1.5,
    # since |across| <= 4 sqrt(1 - (.5 / 2)^2) = 3.87 and 4 sqrt(1 - (1.5 / 2)^2) = 2.65.
    assert len({tuple(centre) for centre in centres}) == 4 * (4 + 3)


def test_the_ellipse_is_96_pixels_at_most():
    points = drawn(np.ones((16, 2000), dtype=np.bool_), "qc", 100)
    assert np.abs(points[:, 0] - 1000).max() <= 96.5


def test_without_the_centre_the_gaussian_alone_decides():
    # Two bars at the ends of a box of 40: u = -.475 and .475 share one weight, so both are drawn;
    # of a bar at u = -.475 and one at u = .25, e^(-.5 (.475^2 - .25^2) / .0625) = .27 of the draws.
    apart = box_mask(1, 40, slice(0, 1), slice(0, 2))
    apart = np.repeat(apart, 40, axis=0)
    apart[:, 38:] = True
    points = drawn(apart, "qc")
    assert 0.4 < (points[:, 0] < 20).mean() < 0.6
    assert abs(points[:, 1] - 20).std() < 0.25 * 40


def test_a_line_of_one_pixel_is_drawn_from_evenly():
    points = drawn(box_mask(3, 30, slice(1, 2), slice(0, 30)), "qc")
    assert len(np.unique(points[:, 0].astype(int))) == 30


def test_a_clicked_point_is_taken_as_it_is_or_refused():
    mask = np.ones((4, 6), dtype=np.bool_)
    points = Points("file", 0, {"a": (5.9, 0.0), "b": (6.0, 1.0)})
    assert points.point("a", mask) == (5.9, 0.0)
    with pytest.raises(SampleError, match=r"\(6, 1\) of object b lies outside its image of 6x4"):
        points.point("b", mask)
