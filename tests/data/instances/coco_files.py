"""Tiny data sets in COCO's format, a few hundred bytes each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SQUARE = [[2.0, 1.0, 6.0, 1.0, 6.0, 5.0, 2.0, 5.0]]
"""x 2 to 6 and y 1 to 5: pixels 2..5 across and 1..4 down."""


def annotation(number: int, image: int = 1, category: int = 3, **entries: Any) -> dict[str, Any]:
    ids = {"id": number, "image_id": image, "category_id": category}
    return {
        **ids,
        "iscrowd": 0,
        "segmentation": SQUARE,
        "bbox": [2, 1, 4, 4],
        "area": 16,
        **entries,
    }


def content(*annotations: dict[str, Any]) -> dict[str, Any]:
    """Two images of 12 x 8 pixels and three categories; annotations come before the categories."""
    images = [
        {"id": number, "file_name": f"{number:012d}.png", "width": 12, "height": 8}
        for number in (1, 2)
    ]
    names = {7: "dog", 3: "cat", 90: "tooth brush"}
    categories = [{"id": number, "name": name} for number, name in names.items()]
    return {
        "info": {"year": 2017},
        "images": images,
        "annotations": list(annotations) or [annotation(11), annotation(12, 2, 90)],
        "categories": categories,
    }


def write_set(root: Path, told: Any, split: str = "val") -> list[str]:
    """Write a split and say with which words of a command line it is used."""
    folder = root / f"{split}2017"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in (1, 2):
        pixels = rng.integers(0, 256, (8, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:012d}.png")
    (root / "annotations").mkdir(exist_ok=True)
    text = told if isinstance(told, str) else json.dumps(told)
    (root / "annotations" / f"instances_{split}2017.json").write_text(text, encoding="utf-8")
    return ["dataset=coco", f"data_root={root}", "dataset.whole=false", f"dataset.split={split}"]
