"""Where a result comes from: code, package versions, machine and accelerator."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import int_bench
from int_bench.config.exactness import Nodes, cuda_names
from int_bench.config.needs.devices import computing

PACKAGES = (
    "int-bench",
    "torch",
    "torchvision",
    "transformers",
    "diffusers",
    "segment-anything",
    "open_clip_torch",
    "groundingdino-py",
    "pysodmetrics",
    "numpy",
    "opencv-python-headless",
    "pillow",
    "hydra-core",
)


def code() -> dict[str, Any]:
    """What computes: version, revision, packages; JSON-ready, None for what is not known."""
    return {
        "version": int_bench.__version__,
        "git": git_state(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def machine() -> dict[str, Any]:
    """Where it computes, JSON-ready."""
    return {
        "host": platform.node(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "gpus": _gpus(),
    }


def git_state() -> dict[str, Any] | None:
    """Revision and dirty flag of the checkout that holds this package; None for a wheel.

    What git does not say within its time (a large checkout on a busy disk) is None as well: not
    known, which is not the same as clean.
    """
    folder = Path(int_bench.__file__).resolve().parent
    tracked = _run(["git", "-C", str(folder), "ls-files", "--error-unmatch", "__init__.py"])
    revision = _run(["git", "-C", str(folder), "rev-parse", "HEAD"])
    if tracked is None or revision is None:
        return None
    changes = _run(["git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no"])
    return {"revision": revision, "dirty": None if changes is None else bool(changes)}


def device(nodes: Nodes) -> str:
    """What models compute on, in a word or two: the kinds of their accelerators, or a processor's.

    Of several kinds in one machine torch alone knows which it counts first; the driver is asked
    where torch sees none.

    Args:
        nodes: the models' constructor arguments by role.
    """
    names = cuda_names(nodes)
    if not names:
        devices = computing(nodes)
        names = _gpus() if devices is None else [device.name for device in devices]
    return ", ".join(dict.fromkeys(names)) or platform.machine() or "cpu"


@cache
def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@cache
def _gpus() -> list[str]:
    """Model names, as the driver's own tool prints them (no model library is imported for it)."""
    if shutil.which("nvidia-smi") is None:
        return []
    listed = _run(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"])
    return listed.splitlines() if listed else []


def _run(command: list[str]) -> str | None:
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return process.stdout.strip()
