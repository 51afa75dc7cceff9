"""Memory that was freed goes back to the system between images, and only then.

What the caches of a long run keep lies between what its images have freed, so the allocator of
glibc keeps the holes, and resident memory grows beyond what is held. Within an image it is the
other way round: a pass of a model frees what the next one needs, and pages that went back are
asked for, and filled with zeros, again.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # as <malloc.h> numbers them
KEPT, LARGEST = 512 * 2**20, 32 * 2**20
"""Bytes that may lie free, and of the largest block that may be one of them (glibc's bound)."""


def keep() -> None:
    """Let what is freed lie until the next `trim`, within bounds; nothing without glibc."""
    mallopt = _function("mallopt")
    if mallopt is not None:
        mallopt(TRIM_THRESHOLD, KEPT)
        mallopt(MMAP_THRESHOLD, LARGEST)


def trim() -> None:
    """Give the pages that nothing lies on back; nothing where the allocator cannot (not glibc)."""
    malloc_trim = _function("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


@cache
def _function(name: str) -> Any:
    """Of the C library; None where it has none of this name."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, TypeError, AttributeError):
        return None
