"""The allocator keeps freed pages within an image and gives them back between images (glibc)."""

from __future__ import annotations

import subprocess
import sys

import pytest

from int_bench.engine import heap

LOOPS, PAGES = 8, 5 * 10 * 2**20 // 4096
"""Five blocks of 10 MB, written and freed, so many times."""
CODE = f"""
import resource
from int_bench.engine import heap

def faults(between):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range({LOOPS}):
        blocks = [b"1" * (10 * 2**20) for _ in range(5)]
        del blocks
        between()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

heap.keep()
faults(lambda: None)
print(faults(lambda: None), faults(heap.trim))
"""


@pytest.mark.skipif(heap._function("mallopt") is None, reason="not glibc's allocator")
def test_pages_come_back_from_the_system_after_a_trim_alone():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    kept, trimmed = map(int, done.stdout.split())
    assert kept < PAGES / 10
    assert trimmed > (LOOPS - 1) * PAGES / 2
