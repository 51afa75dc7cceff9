"""Adapters of the zoo: trained by `int-bench train`, then taken into the zoo."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from int_bench.errors import UserError
from int_bench.zoo.training.pool import CACHE

DATA = {"sam_granular": "camoworld_crowd"}
"""By adapter, what it is trained on."""


def train(name: str, out: Path, steps: int | None = None) -> None:
    """Train, or go on where an earlier sitting stopped, and copy the adapter.

    Args:
        name: of the adapter, which is its method.
        out: the folder of the zoo that it becomes.
        steps: of the training; None for its own.

    Raises:
        UserError: the training failed; it has said why.
    """
    more = [] if steps is None else [f"train.steps={steps}"]
    words = [f"method={name}", f"dataset={DATA[name]}", *more, "--out", str(CACHE / "train")]
    done = subprocess.run(
        [sys.executable, "-m", "int_bench", "train", *words], stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise UserError(f"`int-bench train {' '.join(words)}` ended with {done.returncode}.")
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(done.stdout.strip().splitlines()[-1], out)
