"""Traced runs of INT on hand-made models over real folders, for pages that show all there is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from int_bench.data.folders import PairedFolders
from int_bench.engine.broker import Broker
from int_bench.runs.execute import Variant
from int_bench.runs.execute import run as execute
from int_bench.runs.folder import RunFolder
from int_bench.runs.layout import file_names
from int_bench.runs.reader import Run
from tests.fakes import RedIsAFrog, RedMask, all_fakes, red, scene
from tests.methods.test_int_on_fakes import build


class Rude(RedIsAFrog):
    """Says a name that is mark-up where the other says crab."""

    NAME = '<img src=x onerror="document.title=1">'

    @classmethod
    def _say(cls, request: Any) -> str:
        return RedIsAFrog._say(request).replace("crab", cls.NAME)


@dataclass
class Plan:
    """What is run."""

    dataset: PairedFolders
    task_prompt: str = "camouflaged animal"
    seed: int = 7
    trials: int = 1
    traced: bool = True
    samples: Sequence[Any] = field(default_factory=tuple)


def write_scenes(folder: Path, names: Sequence[str]) -> None:
    """Scenes with a red square, each a little brighter than the last, and their masks."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for index, name in enumerate(names):
        pixels = np.clip(scene().astype(int) + index, 0, 255).astype(np.uint8)
        mask = red(pixels)
        mask[:, : 12 + index] = False  # truth differs from what is found, more and more
        Image.fromarray(pixels).save(folder / "images" / f"{name}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "masks" / f"{name}.png")


class LeftMask(RedMask):
    """Sees nothing of what lies beyond a third of the image."""

    @staticmethod
    def _mask(request: Any) -> Any:
        answer = RedMask._mask(request)
        answer.logits[:, answer.logits.shape[1] // 3 :] = -8
        return answer


def traced_run(
    command: Any,
    pairs: Path,
    out: str,
    keep: str = "trace",
    segmenter: Any = None,
    **choices: Any,
) -> Path:
    """A scored run of INT over scenes; ``choices`` are those of ``build``."""
    places = [f"dataset.{part}={pairs / part}" for part in ("images", "masks")]
    words = ["dataset=folder", *places, "method=centre_box", "--out", out, "--json"]
    code, said, err = command("run", *words)
    assert code == 0, err
    path = Path(json.loads(said)["run_dir"])
    dataset = PairedFolders("folder", str(pairs / "images"), str(pairs / "masks"))
    plan = Plan(dataset, samples=dataset.samples(), traced=keep == "trace")
    names = file_names(sample.id for sample in plan.samples)
    for line in (path / "records").iterdir():
        line.unlink()
    content = dict(Run(path).manifest.content)
    content = {**content, "name": "int", "label": "int"}
    content["config"] = {**content["config"], "method": {"final": "closest", "iterations": 3}}
    content["config"]["task"] = {**content["config"]["task"], "prompt": "</script><b>it"}
    models = {**all_fakes(), "vlm": Rude(), "segmenter": segmenter or RedMask()}
    with RunFolder(path, content, keep, names) as folder:
        method = build(**{"iterations": 3, **choices})
        execute(plan, [Variant("int", method, folder)], Broker(models, max_batch=64))
    code, _, err = command("eval", path)
    assert code == 0, err
    return path
