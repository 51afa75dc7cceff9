"""What the tests of the endpoint share."""

from __future__ import annotations

import numpy as np
import pytest

from int_bench.core.types import Picture


@pytest.fixture
def picture():
    """20 x 30 pixels, greener to the right."""
    pixels = np.zeros((20, 30, 3), dtype=np.uint8)
    pixels[..., 1] = np.arange(30)
    return Picture(pixels)
