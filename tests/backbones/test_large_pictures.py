"""Pictures of 40 megapixels and thin ones: memory beside the idle models, in a process each."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from int_bench.core.requests import Detect, FirstToken, Heatmap, Inpaint, Segment, Similarity
from int_bench.core.types import Picture, Stencil

MOST_MB = 1024
SIZES = ((5164, 7746), (60, 20000))  # the thin one is thick enough for the square of each model
LLAVA, SAM = "llava.Llava zoo:llava", "sam.Sam zoo:sam"
DINO, CLIP = "grounding_dino.GroundingDino zoo:grounding_dino", "clip.ClipSurgery zoo:clip blocks=2"
ERASER = "stable_diffusion.StableDiffusion zoo:stable_diffusion steps=1 size=128"
CALLS = {
    "first_token": LLAVA,
    "segment": SAM,
    "detect": DINO,
    "heatmap": CLIP,
    "similarity": CLIP,
    "inpaint": ERASER,
    "inpaint telea": "opencv.ClassicInpainter telea",
    "inpaint blur": "opencv.ClassicInpainter blur",
}


def request(verb, picture):
    """A question about a picture whose middle is masked."""
    height, width = picture.size
    mask = np.zeros(picture.size, bool)
    mask[height // 4 : height // 2, width // 4 : width // 2] = True
    return {
        "first_token": lambda: FirstToken(picture, "Name the animal."),
        "segment": lambda: Segment(picture, (width * 0.1, height * 0.1, width * 0.6, height * 0.7)),
        "detect": lambda: Detect(picture, "frog", 0.3, 0.25),
        "heatmap": lambda: Heatmap(picture, ("frog",)),
        "similarity": lambda: Similarity(picture, "frog"),
        "inpaint": lambda: Inpaint(picture, Stencil(mask), "leaves", "", 0),
    }[verb]()


def striped(height, width):
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:] = (np.arange(width) % 251).astype(np.uint8)[:, None]
    return Picture(pixels)


def measure(verb, target, *words):
    """Write the resident memory in MB after a small picture and at most after the large ones."""
    import importlib

    module, _, name = f"int_bench.backbones.{target}".rpartition(".")
    options = dict(word.split("=") for word in words[1:])
    made = getattr(importlib.import_module(module), name)
    backbone = made(words[0], **{key: int(value) for key, value in options.items()})
    peaks = []
    for size in ((64, 80), *SIZES):
        (answer,) = getattr(backbone, verb)([request(verb, striped(*size))])
        del answer
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    sys.stdout.write(f"{peaks[0]} {peaks[-1]}\n")


@pytest.mark.services
@pytest.mark.parametrize("call", CALLS)
def test_the_peak_is_at_most_a_gigabyte_above_the_idle_one(call):
    words = [call.split()[0], *CALLS[call].split()]
    done = subprocess.run(
        [sys.executable, "-m", "tests.backbones.test_large_pictures", *words],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    idle, peak = map(int, done.stdout.split())
    assert peak - idle <= MOST_MB, f"{idle} MB idle, {peak} MB at most"


READ = """
import resource, sys
from pathlib import Path
from int_bench.data.images import read_image, read_mask
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
size = (read_mask if sys.argv[1] == "mask.png" else read_image)(Path(sys.argv[1])).shape[:2]
print(size, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.services
@pytest.mark.parametrize("name", ["image.png", "image.tif", "mask.png"])
def test_a_file_of_16_bits_and_40_megapixels_is_read_within_a_gigabyte(tmp_path, name):
    levels = np.empty((*SIZES[0], 3), np.uint16)
    levels[:] = (np.arange(SIZES[0][1]) * 8).astype(np.uint16)[:, None]
    if name.endswith("tif"):
        tifffile.imwrite(tmp_path / name, levels, photometric="rgb")
    else:
        stored = levels if name == "image.png" else levels[..., 0]
        cv2.imwrite(str(tmp_path / name), stored, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    done = subprocess.run(
        [sys.executable, "-c", READ, name],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    size, _, peak = done.stdout.strip().rpartition(" ")
    assert size == str(SIZES[0]) and int(peak) <= MOST_MB


if __name__ == "__main__":
    measure(*sys.argv[1:])
