"""Runs of INT on small pictures with fake models, by any executor, and what they left behind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from int_bench.config import build_method, load_config
from int_bench.config.building import trust
from int_bench.runs.executors.compute import compute
from int_bench.runs.prepare import prepare
from int_bench.runs.variants import RunRequest
from tests.fakes import scene

MODELS = {
    "vlm": "tests.runs.executors.hazards.Fragile",
    "inpainter": "tests.fakes.Blackout",
    "detector": "tests.fakes.RedBox",
    "segmenter": "tests.fakes.RedMask",
    "aligner": "tests.fakes.RedHeat",
}


def pictures(root: Path, count: int, marks: dict[int, tuple[int, int, int]] | None = None) -> Path:
    """A paired folder of scenes, each a little different; ``marks`` set a first pixel."""
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for index in range(count):
        pixels = np.roll(scene(), index, axis=1)
        pixels[-1, -1] = (0, 0, index % 256)
        if index in (marks or {}):
            pixels[0, 0] = marks[index]
        Image.fromarray(pixels).save(root / "images" / f"p{index:03d}.png")
        truth = (pixels[..., 0] > 150).astype(np.uint8) * 255
        Image.fromarray(truth).save(root / "masks" / f"p{index:03d}.png")
    return root


def request(root: Path, out: Path, *words: str, models: dict[str, str] | None = None) -> RunRequest:
    """INT over a paired folder with fake models."""
    given = [
        "dataset=folder",
        f"dataset.images={root}/images",
        f"dataset.masks={root}/masks",
        "task=cod",
        "device=cpu",
        f"out={out}",
    ]
    config = load_config([*given, *words])
    backbone = {role: {"_target_": target} for role, target in (MODELS | (models or {})).items()}
    trust(backbone)
    return RunRequest(replace(config, backbone=backbone))


def go(asked: RunRequest, **more):
    """Compute it and return its folder and what it has cost."""
    (run,) = prepare([asked])
    done = compute([run], [build_method(asked.config)], asked.config, **more)
    return run.path, done


def content(folder: Path) -> dict[str, bytes]:
    """What two runs must have in common: masks, scores, and records but for seconds and host."""
    left = {
        str(path.relative_to(folder)): path.read_bytes()
        for place in ("masks", "scores")
        for path in sorted((folder / place).rglob("*"))
        if path.is_file()
    }
    for path in sorted((folder / "records").glob("*.jsonl")):
        last = {}
        for line in path.read_bytes().splitlines():
            record = json.loads(line)
            if record["status"] != "intent":
                last[record["trial"], record["id"]] = record
        for record in last.values():
            record.pop("seconds", None)
            record.pop("host", None)
        lines = (json.dumps(last[key], sort_keys=True) for key in sorted(last))
        left[f"records/{path.name}"] = "\n".join(lines).encode()
    return left
