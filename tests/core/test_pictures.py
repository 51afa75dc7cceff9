"""Pictures by content: digests, and pictures that are black but for one part."""

from __future__ import annotations

import hashlib

import numpy as np

from int_bench.core.requests import Similarity, key_of
from int_bench.core.types import OnBlack, Picture, Stencil

PART = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) + 1


def test_equal_pixels_are_equal_pictures_and_shapes_tell_them_apart() -> None:
    assert Picture(PART) == Picture(PART[::-1][::-1])
    assert Picture(PART) != Picture(PART.reshape(3, 2, 3))
    assert Stencil(PART[..., 0] > 4) == Stencil(PART[..., 0] > 4)
    assert len({Picture(PART), Picture(PART + 1), Picture(PART)}) == 2


def test_what_is_kept_in_files_is_a_sha256() -> None:
    head = f"{PART.shape}{PART.dtype.str}".encode()
    assert Picture(PART).fingerprint == hashlib.sha256(head + PART.tobytes()).hexdigest()


def test_a_picture_on_black_is_made_where_it_is_looked_at() -> None:
    picture = OnBlack(PART, (1, 2), (5, 7))
    key = key_of(Similarity(picture, "frog"))
    assert picture.size == (5, 7) and "pixels" not in vars(picture)
    canvas = np.zeros((5, 7, 3), dtype=np.uint8)
    canvas[1:3, 2:5] = PART
    assert np.array_equal(picture.pixels, canvas)
    assert key == key_of(Similarity(OnBlack(PART.copy(), (1, 2), (5, 7)), "frog"))
    for other in (OnBlack(PART, (2, 1), (5, 7)), OnBlack(PART, (1, 2), (7, 5))):
        assert other != picture
