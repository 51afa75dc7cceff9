"""What all tests share: no network, no environment of the user, one thread, the command line."""

from __future__ import annotations

import os
import signal
from pathlib import Path

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # before NumPy and torch read them
    os.environ.setdefault(name, "1")
os.environ["HF_HUB_OFFLINE"] = "1"
for name in ("INT_BENCH_DATA", "INT_BENCH_MODELS"):
    os.environ.pop(name, None)

# A shell ignores Ctrl-C for what it runs in the background; commands under test would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402
from PIL import Image  # noqa: E402

from int_bench.cli import app as cli  # noqa: E402

settings.register_profile("busy", deadline=None)  # no test hangs on how fast the machine is
settings.load_profile("busy")

HANGING = 600
"""Seconds after which a test that hangs is ended; none that passes depends on it."""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder as working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(here, capsys):
    """Runs ``int-bench`` in this process: ``code, out, err = command("run", ...)``."""

    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.exit_code([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def pairs(tmp_path) -> Path:
    """A paired folder, ``images/`` and ``masks/``, of six small samples a0.png to a5.png."""
    return write_pairs(tmp_path / "pairs", 6)


def write_pairs(folder: Path, count: int, size: tuple[int, int] = (24, 32)) -> Path:
    """Noise images with a rectangle each, (height, width) ``size``."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for index in range(count):
        image = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
        mask = np.zeros(size, dtype=np.uint8)
        mask[4 : 12 + index, 6:20] = 255
        Image.fromarray(image).save(folder / "images" / f"a{index}.png")
        Image.fromarray(mask).save(folder / "masks" / f"a{index}.png")
    return folder
