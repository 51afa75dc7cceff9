"""The step ``smoke`` of ``scripts.gpu_check``: what is trained on a device is read by a CPU.

Four trainings of 20 steps by ``int-bench train``, each a process of its own, on 12 scenes with the
shipped models. What each has learnt then answers on the device and on the CPU.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from int_bench.backbones.sam import Sam, SamPlm
from int_bench.backbones.selector import Selector
from int_bench.backbones.solov2.model import SoloV2
from int_bench.backbones.solov2.pixels import normalised
from int_bench.core.requests import Point, Segment, SelectProposal
from int_bench.core.types import Picture
from int_bench.data.world.crowd_dataset import CrowdScenes
from int_bench.methods.sapnet.proposing import Proposing, bag_of
from scripts.gpu_steps import EQUAL_PIXELS, Bench, Found

_GRANULAR = "zoo:sam_granular"
_WORDS = (
    "dataset=camoworld_crowd", "dataset.count=12", "backbone/segmenter=zoo_sam_granular",
    "train.steps=20", "train.batch=2", "train.report_every=10",
)  # fmt: skip
_CHOSEN = ("backbone/selector=sapnet", "backbone.selector.checkpoint={sapnet_select}")
TRAININGS: Mapping[str, Sequence[str]] = {
    "sam_decoder": (),
    "plm": (),
    "sapnet_select": ("train.prm.start_step=5",),
    "sapnet": _CHOSEN,
}
"""By method, words of its own; ``{sapnet_select}`` is the adapter of that training."""
_CLOSE = 1e-3
"""How far scores and outputs may be apart in float32."""


def smoke(bench: Bench) -> Found:
    """Losses are finite, and adapters answer on the CPU as on the device.

    A process of its own knows no phantom: there the CPU trains, and the phantom answers.
    """
    device = "cpu" if bench.cuda and not bench.full else bench.device
    told: dict[str, Any] = {}
    gates: dict[str, bool] = {}
    finals: dict[str, Path] = {}
    with tempfile.TemporaryDirectory() as folder:
        for method, words in TRAININGS.items():
            asked = [word.format(**finals) for word in (f"method={method}", *_WORDS, *words)]
            done = _int_bench("train", *asked, f"device={device}", "--out", folder)
            if done.returncode:
                return {**told, "said": done.stderr[-600:], "gates": {**gates, method: False}}
            finals[method] = Path(done.stdout.split()[-1])
            losses = _losses(finals[method].parent / "train.jsonl")
            told[f"{method}: loss"] = losses
            gates[f"{method} is finite"] = len(losses) == 2 and all(map(math.isfinite, losses))
        masks = {
            method: _masks(kind, finals[method], bench.device)
            for method, kind in (("sam_decoder", Sam), ("plm", SamPlm))
        }
        gaps = {
            "sapnet_select": _scores_apart(finals["sapnet_select"], bench.device),
            "sapnet": _outputs_apart(finals["sapnet"], bench.device),
        }
    gates |= {f"{name} on a CPU": share >= EQUAL_PIXELS for name, share in masks.items()}
    gates |= {f"{name} on a CPU": gap <= _CLOSE for name, gap in gaps.items()}
    told |= {f"{name}: pixels as on the CPU": share for name, share in masks.items()}
    told |= {f"{name}: apart from the CPU": gap for name, gap in gaps.items()}
    return {**told, "gates": gates}


def _int_bench(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "int_bench", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def _losses(log: Path) -> list[float]:
    """Of each report; what is not finite is null there."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return [math.nan if line["loss"] is None else float(line["loss"]) for line in lines]


def _scenes() -> CrowdScenes:
    return CrowdScenes(split="test", count=4, unit="image")


def _masks(kind: type[Sam], final: Path, device: str) -> float:
    """The share of pixels of masks by a point that are the same on both devices."""
    data, answers = _scenes(), []
    asked = [
        Segment(Picture(data.load_image(sample)), points=(Point(*known.point, positive=True),))
        for sample in data.samples()
        for known in data.objects(sample)
    ]
    for place in (device, "cpu"):
        sam = kind(_GRANULAR, adapter=str(final), device=place)
        answers.append([answer.logits > 0 for answer in sam.segment(asked)])
    return float(np.mean([np.mean(ours == theirs) for ours, theirs in zip(*answers, strict=True)]))


def _scores_apart(final: Path, device: str) -> float:
    """How far the scores of all proposals are apart at most."""
    data, sam, asked, answers = _scenes(), Sam(_GRANULAR, device="cpu"), [], []
    for sample in data.samples():
        picture, bags = Picture(data.load_image(sample)), []
        for known in data.objects(sample):
            proposed = sam.proposals(Proposing().requests(picture, known))
            bags.append(bag_of(known, [mask for masks in proposed for mask in masks]))
        asked.append(SelectProposal(picture, tuple(bags)))
    for place in (device, "cpu"):
        selected = Selector(str(final), device=place).select(asked)
        answers.append(np.array([part.scores for image in selected for part in image]))
    return float(np.abs(answers[0] - answers[1]).max())


def _outputs_apart(final: Path, device: str) -> float:
    """How far the network's outputs, of kernels, categories and masks, are apart at most."""
    data, answers = _scenes(), list[list[Tensor]]()
    for place in (device, "cpu"):
        known = SoloV2(adapter=str(final), device=place)
        images = [normalised(data.load_image(s), known.loaded.architecture) for s in data.samples()]
        with known.computing():
            outputs = known.loaded.net(torch.stack(images).to(known.place))
        answers.append([*outputs.kernels, *outputs.categories, outputs.features])
    pairs = zip(*answers, strict=True)
    return max(float((ours.cpu() - theirs).abs().max()) for ours, theirs in pairs)
