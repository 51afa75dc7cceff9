"""What the methods and the models' thread compute around the networks, against an earlier commit.

    OMP_NUM_THREADS=1 python -m scripts.bench.threads

Both trees run in turn, each in processes of its own, with the same programs (``one_image``). Ratios
of CPU seconds of one thread, medians over rounds; masks must be the same to the byte. The
predecessor's order, which the leads of ``bench.engine`` are over, must not have become slower.
Without the commit (a clone without history) nothing is measured.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from scripts.bench.report import ROOT, Row, finish

BEFORE = "3f0e9ada"
"""The commit before pictures were prepared on threads of their own and digests were fast."""
BARS = {"methods": 0.31, "models": 0.11, "order": 1.03}
SAID = {
    "methods": "the methods' thread",
    "models": "pre- and post-processing, models' thread",
    "order": "the predecessor's order",
}
COMPARED = {"methods": "masks", "order": "texts"}
"""What must be the same to the byte."""


def measured(tree: Path, part: str, images: int) -> dict[str, Any]:
    """What ``one_image`` prints for a tree."""
    program = Path(__file__).with_name("one_image.py")
    done = subprocess.run(
        [sys.executable, "-P", program, part, str(images)],
        env={**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"},
        cwd=tree,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def unpacked(commit: str, folder: Path) -> bool:
    """Put the tree of a commit into a folder; False if the commit is not here."""
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        return False
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return True


def with_weights_of_now(tree: Path) -> None:
    """Let an older tree compute with the shipped weights of this one, so that the work is equal."""
    for folder in (ROOT / "int_bench" / "zoo").iterdir():
        if any(folder.rglob("*.safetensors")):
            shutil.copytree(folder, tree / "int_bench" / "zoo" / folder.name, dirs_exist_ok=True)
    shutil.copy(ROOT / "int_bench" / "zoo" / "SHA256SUMS", tree / "int_bench" / "zoo")


def compare(before: Path, rounds: int, images: int) -> list[Row]:
    """Both parts of both trees."""
    rows = []
    for part, bar in BARS.items():
        pairs = [
            (measured(before, part, images), measured(ROOT, part, images)) for _ in range(rounds)
        ]
        ratio = median(new["seconds"] / old["seconds"] for old, new in pairs)
        old, new = (min(run["seconds"] for run in runs) for runs in zip(*pairs, strict=True))
        name = SAID[part]
        rows += [
            Row(f"{name}, before: CPU time an image", old, "s"),
            Row(f"{name}: CPU time an image", new, "s"),
            Row(f"{name}, against before", ratio, "x", "<=", bar),
        ]
        if part in COMPARED:
            same = all(old["same"] == new["same"] for old, new in pairs)
            rows.append(
                Row(f"{name}: {COMPARED[part]} are those of before", float(same), "", "==", 1.0)
            )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all parts; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "bench")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        if not unpacked(BEFORE, Path(folder)):
            print(f"The commit {BEFORE} is not here: nothing to compare with.")
            return 0
        with_weights_of_now(Path(folder))
        rows = compare(Path(folder), given.rounds, given.images)
    return finish("threads", rows, {"rounds": given.rounds, "images": given.images}, given.out)


if __name__ == "__main__":
    sys.exit(main())
