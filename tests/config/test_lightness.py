"""What a command must not import: model libraries where no model is asked, Hydra for ``--help``."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

LIBRARIES = {"torch", "transformers", "diffusers", "open_clip", "segment_anything", "accelerate"}
HEAVY = LIBRARIES | {"hydra", "omegaconf", "numpy", "scipy", "cv2", "PIL", "rich"}
CODE = """
import sys
from int_bench.cli.app import exit_code
assert exit_code(sys.argv[2:]) == 0
print(sorted(set(sys.argv[1].split(",")) & set(sys.modules)))
"""
CASES = [
    (("run", "method=centre_box", "--limit", "1"), LIBRARIES),
    (("run", "--dry-run", "device=cpu"), LIBRARIES | {"scipy"}),
    (("run", "--help"), HEAVY),
]


@pytest.mark.parametrize(("words", "absent"), CASES, ids=lambda value: " ".join(sorted(value)))
def test_a_command_imports_what_it_uses_and_no_more(words, absent, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CODE, ",".join(absent), *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
