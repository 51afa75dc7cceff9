"""Memory that was freed goes back to the system.

What the caches of a long run keep lies between what its images have freed, so the allocator of
glibc keeps the holes, and resident memory grows beyond what is held.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


def trim() -> None:
    """Give the pages that nothing lies on back; nothing where the allocator cannot (not glibc)."""
    function = _malloc_trim()
    if function is not None:
        function(0)


@cache
def _malloc_trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):
        return None
