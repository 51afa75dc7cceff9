"""A training step at full size, with random weights: processor seconds, operations, bytes.

    OMP_NUM_THREADS=1 python -m scripts.bench.untrained.full_size              # two minutes, 5 GB
    python -m scripts.bench.untrained.full_size --only plm --reduced

Steps are those of ``int-bench train``, of one example each (a picture, or an object), on noise: a
step's cost is its batch times as much. Hours on a GPU are an estimate: operations by
torch.utils.flop_counter over a rate that is stated, no data loading, no waiting.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from int_bench.config import build
from int_bench.core.geometry import encode_runs
from int_bench.core.requests import Point, Proposals
from int_bench.core.types import Picture
from int_bench.learning.training import Fitting
from int_bench.runs.training.request import TrainRequest
from scripts.bench.report import ROOT, Row, finish
from scripts.bench.timing import one_thread, peak_resident_bytes, timed
from scripts.bench.untrained.noise import Chooser, DecoderAlone, Noise, Proposer

_BOTH = ("backbone/selector=sapnet", "backbone.selector.checkpoint=none")
_SHARE = 0.5
"""Reading: of the rate that SAM's encoder keeps up in float32, what a training is trusted with."""
COCO = (480, 800)
"""A picture that fills 1333 x 800; most of COCO's are 640 x 480 and fill 1067 x 800."""
OBJECTS = 7
"""Of a picture of COCO: 860,001 of 118,287."""
PICTURES = 118_287


@dataclass(frozen=True)
class Case:
    """A training at full size.

    Attributes:
        words: behind `int-bench train`, on COCO.
        batch: examples of a step.
        steps: of the training.
        reduced: words of the same training on a few pixels.
    """

    words: tuple[str, ...]
    batch: int
    steps: int
    reduced: tuple[str, ...]


CASES = {
    "sapnet_select": Case(
        (
            "method=sapnet_select", "train.width=1024", "train.pnpg.background=500",
            "train.prm.start_step=0",
        ),
        8, 12 * PICTURES // 8, ("method=sapnet_select",),
    ),
    "sapnet_r50": Case(("method=sapnet_r50", *_BOTH), 16, 88_000, ("method=sapnet", *_BOTH)),
    "plm": Case(
        ("method=plm", "train.pmm.points=128", "train.learning_rate=1e-4"),
        24, 10_000, ("method=plm",),
    ),
    "sam_decoder": Case(("method=sam_decoder",), 16, 10_000, ("method=sam_decoder",)),
}  # fmt: skip


def fitting_of(case: Case, full: bool, scratch: Path, device: str = "cpu") -> Fitting:
    """The training, at its beginning.

    Args:
        case: which.
        full: at the paper's sizes, else reduced.
        scratch: an empty folder.
        device: where it trains.
    """
    words = case.words if full else case.reduced
    request = TrainRequest.of([*words, "dataset=camoworld_crowd", "train.batch=1"])
    training: Any = build(request.config.method, "method")
    by_object = words[0] in ("method=plm", "method=sam_decoder")
    data = Noise(COCO if full else (64, 64), 1 if by_object else OBJECTS)
    segmenter: Any = DecoderAlone(full, device) if by_object else Proposer()
    backbones: dict[str, Any] = {"segmenter": segmenter, "selector": Chooser()}
    fitting: Fitting = training.begin(data, Noise(data.size, data.objects_each, 80, 1), backbones,
                                      scratch)  # fmt: skip
    return fitting


def measured(fitting: Fitting) -> dict[str, float]:
    """One example: operations, bytes that wait for the backward pass, processor seconds."""
    model = fitting.model.train()
    known = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4)
    held: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    def step(number: int) -> None:
        total, _ = fitting.loss(np.random.default_rng(number))
        total.backward()  # type: ignore[no-untyped-call]

    with (
        FlopCounterMode(display=False) as counter,
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
    ):
        step(0)

    def again() -> None:
        step(1)
        optimizer.step()

    seconds, _ = timed(again)
    return {
        "TFLOP": counter.get_total_flops() / 1e12,
        "CPU s": seconds,
        "activations GB": sum(held.values()) / 1e9,
        "trained M": sum(p.numel() for p in trained) / 1e6,
        # Weights, and of what is trained gradients and the two means of AdamW; float32.
        "weights and optimizer GB": 4e-9
        * (sum(p.numel() for p in model.parameters()) + 3 * sum(p.numel() for p in trained)),
    }


def at_full_size(case: Case, example: Mapping[str, float], rate: float) -> dict[str, float]:
    """What the training takes with its batch: GB on a GPU, and hours at a rate of TFLOP/s."""
    return {
        "GB": case.batch * example["activations GB"] + example["weights and optimizer GB"],
        "s a step": case.batch * example["TFLOP"] / rate,
        "hours": case.steps * case.batch * example["TFLOP"] / rate / 3600,
    }


def proposing(full: bool) -> dict[str, float]:
    """Of an object: two prompts of SAM's decoder, and six masks as they are stored."""
    size = (480, 640) if full else (64, 64)
    data = Noise(size, 1)
    picture = Picture(data.load_image(data.samples()[0]))
    (known,) = data.objects(data.samples()[0])
    points = (Point(*known.point, positive=True),)
    prompts = [Proposals(picture, points), Proposals(picture, points, known.box)]
    sam = DecoderAlone(full, "cpu")
    with FlopCounterMode(display=False) as counter:
        sam.proposals(prompts)
    decoding, _ = timed(lambda: sam.proposals(prompts))
    storing, runs = timed(lambda: [encode_runs(known.mask) for _ in range(6)])
    return {
        "TFLOP": counter.get_total_flops() / 1e12,
        "CPU s": decoding,
        "storing, CPU s": storing,
        "stored kB": len(json.dumps(runs, separators=(",", ":"))) / 1e3,
    }


def sustained(file: Path = ROOT / "results/bench/gpu_check.json") -> float:
    """TFLOP/s that a training in float32 is trusted with on the GPU that was measured."""
    known: Any = json.loads(file.read_text(encoding="utf-8"))
    return _SHARE * float(known["segmenter"]["float32, 9: TFLOPs"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and keep ``results/bench/full_size.json``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default=f"propose,{','.join(CASES)}", help="names, with commas")
    parser.add_argument("--reduced", action="store_true", help="small sizes; no file is written")
    given = parser.parse_args(arguments)
    names = given.only.split(",")
    if unknown := sorted(set(names) - {"propose", *CASES}):
        parser.error(f"unknown {', '.join(unknown)}; choose from propose, {', '.join(CASES)}")
    one_thread()
    full, rate, rows = not given.reduced, sustained(), list[Row]()
    sizes: dict[str, Any] = {"TFLOP/s": rate, "picture": COCO, "objects a picture": OBJECTS}
    for name in names:
        if name in CASES:
            with tempfile.TemporaryDirectory() as folder:
                example = measured(fitting_of(CASES[name], full, Path(folder)))
            sizes[name] = {"batch": CASES[name].batch, "steps": CASES[name].steps}
            figures = {**example, **at_full_size(CASES[name], example, rate)}
        else:
            figures = proposing(full)
        rows += [Row(f"{name}: {what}", value) for what, value in figures.items()]
        print(name, {what: float(f"{value:.4g}") for what, value in figures.items()}, flush=True)
    rows.append(Row("peak of this process, GB", peak_resident_bytes() / 1e9))
    note = "GB, s a step and hours are of the batch; hours are an estimate, at the rate of `sizes`."
    return finish(
        "untrained.full_size", rows, sizes, None if given.reduced else ROOT / "results/bench", note
    )


if __name__ == "__main__":
    sys.exit(main())
