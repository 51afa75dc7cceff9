"""An environment for each tracker, ``.trackers/NAME``, for the tests with the real libraries.

    python -m scripts.trackers

What the trackers need may be of other versions than what this project needs: each environment has
its own, and borrows the rest from the one that this is run in.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".trackers"
NAMES = ("wandb", "mlflow", "trackio")


def python_of(name: str) -> Path:
    """The interpreter of a tracker's environment."""
    return FOLDER / name / "bin" / "python"


def make(name: str) -> None:
    """Make the environment of a tracker, named by its extra, or bring it up to date."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    python = python_of(name)
    if not python.exists():
        venv.create(FOLDER / name, with_pip=True)
    needed = extras["optional-dependencies"][name]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *needed], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = FOLDER / name / "lib" / version / "site-packages"
    (site / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n")


if __name__ == "__main__":
    for tracker in NAMES:
        make(tracker)
