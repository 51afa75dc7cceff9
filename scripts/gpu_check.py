"""What a machine with a GPU says of the whole pipeline, within minutes: what works and how fast.

    python -m scripts.gpu_check --out OUT --budget 540      # make gpu-check
    python -m scripts.gpu_check --device cpu --out OUT      # the same at reduced sizes

Nothing is downloaded: the models are the shipped ones, and the architectures of the paper with
weights that are made on the device. After every step all that is known is in OUT/gpu_check.json; a
step that the budget cannot hold is skipped by name.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from int_bench.backbones.common.precision import allow_tf32, pick_device
from int_bench.errors import UsageError
from scripts import gpu_orders, gpu_profile, gpu_steps, gpu_training
from scripts.gpu_steps import Bench

PACKAGES = (
    "torch", "torchvision", "transformers", "diffusers", "numpy", "open_clip_torch",
    "segment-anything", "hydra-core", "pysodmetrics",
)  # fmt: skip
FILE = "gpu_check.json"
PER_IMAGE = "s an image at T=4"


@dataclass(frozen=True)
class Step:
    """One step: its name, the seconds that it is expected to take at most on a GPU, its work."""

    name: str
    seconds: float
    work: Callable[[Bench], Mapping[str, Any]]


STEPS = (
    Step("ceilings", 15, gpu_steps.ceilings),
    Step("attention", 10, gpu_steps.attention),
    Step("kernels", 20, gpu_profile.fused),
    Step("verbs", 40, gpu_steps.verbs),
    Step("zoo", 60, gpu_steps.zoo),
    Step("segmenter", 40, gpu_steps.segmenter),
    Step("inpainter", 45, gpu_steps.inpainter),
    Step("detector", 30, gpu_steps.detector),
    Step("aligner", 15, gpu_steps.aligner),
    Step("vlm", 70, gpu_steps.vlm),
    Step("product E1", 110, partial(gpu_orders.product, exactness="E1")),
    Step("product E2", 80, partial(gpu_orders.product, exactness="E2")),
    Step("reference", 80, gpu_orders.reference),
    Step("tuned", 120, gpu_orders.tuned),
    Step("smoke", 120, gpu_training.smoke),
    Step("profile", 110, gpu_profile.verbs),
)


class Report:
    """The results so far, in a file that is whole at any time."""

    def __init__(self, folder: Path, budget: float) -> None:
        self.results: dict[str, Any] = {}
        self._path = folder / FILE
        self._budget = budget
        self._started = time.perf_counter()
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def left(self) -> float:
        """Seconds of the budget."""
        return self._budget - (time.perf_counter() - self._started)

    def run(self, step: Step, bench: Bench) -> None:
        """One step, or the reason why not; either is written at once."""
        if self.left < step.seconds * bench.haste:
            left = f"{max(self.left, 0):.0f} s are left, {step.seconds:.0f} s are wanted"
            self.write(step.name, {"skipped": left})
            return
        started = time.perf_counter()
        try:
            found = dict(step.work(bench))
        except Exception as error:
            where = traceback.format_exc().splitlines()[-8:]
            found = {"error": f"{type(error).__name__}: {str(error)[:400]}", "where": where}
        finally:
            bench.drop()
        found["seconds"] = round(time.perf_counter() - started, 2)
        if bench.cuda:
            found["peak_GB"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
            torch.cuda.reset_peak_memory_stats()
        self.write(step.name, found)

    def write(self, name: str, found: Mapping[str, Any]) -> None:
        """Keep what a step said."""
        self.results[name] = found
        whole = {**self.results, "elapsed_s": round(self._budget - self.left, 1)}
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(whole, indent=1, default=str) + "\n", encoding="utf-8")
        partial.replace(self._path)
        print(name, json.dumps(found, default=str)[:600], flush=True)


def machine(bench: Bench) -> dict[str, Any]:
    """What the numbers were measured with; a package that is not there is said, no error."""
    found: dict[str, Any] = {"python": platform.python_version(), "cores": os.cpu_count()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    if bench.cuda:
        free, total = torch.cuda.mem_get_info()
        found |= {"card": torch.cuda.get_device_name(), "free_GB": free / 1e9, "GB": total / 1e9}
        found["cudnn"] = torch.backends.cudnn.version()
    return found


def leads(results: Mapping[str, Any]) -> dict[str, float]:
    """How many times faster a run is than the other orders, from seconds an image at T=4."""
    seconds = {name: found.get(PER_IMAGE) for name, found in results.items()}
    return {
        f"{run} against {order}": seconds[order] / seconds[run]
        for run in ("product E1", "product E2")
        for order in ("reference", "tuned")
        if seconds.get(run) and seconds.get(order)
    }


def failed(results: Mapping[str, Any]) -> list[str]:
    """The steps with an error or a gate that does not hold."""
    return [
        name
        for name, found in results.items()
        if "error" in found or not all(found.get("gates", {}).values())
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the steps; 1 if one failed or a gate does not hold, 2 for a wrong argument."""
    given, report = _asked(arguments)
    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    full = given.device.startswith("cuda") and not given.reduced
    bench = Bench(given.device, full, given.images)
    allow_tf32(False)  # as a run in E1 tells torch
    report.write("machine", machine(bench))
    for step in STEPS:
        if step.name in given.only:
            report.run(step, bench)
    if lead := leads(report.results):
        report.write("leads", lead)
    missed = failed(report.results)
    if missed:
        print(f"Failed: {', '.join(missed)}; see {given.out / FILE}.")
    return int(bool(missed))


def _asked(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, Report]:
    """What is asked for, ``only`` as a list, and where it is kept; a wrong argument ends it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", type=float, default=540, help="seconds for all steps together")
    parser.add_argument("--images", type=int, default=8, help="in flight in the steps product")
    parser.add_argument("--only", default="", help="names of steps, with commas")
    parser.add_argument("--reduced", action="store_true", help="reduced sizes on a GPU, too")
    given = parser.parse_args(arguments)
    names = [step.name for step in STEPS]
    given.only = [name.strip() for name in given.only.split(",")] if given.only else names
    unknown = sorted(set(given.only) - set(names))
    if unknown:
        parser.error(f"unknown steps {unknown}; choose from {', '.join(names)}")
    if given.images < 1:
        parser.error(f"--images must be at least 1, not {given.images}")
    try:
        pick_device(given.device)
        return given, Report(given.out, given.budget)
    except UsageError as error:
        parser.error(f"--device: {error}")
    except OSError as error:
        parser.error(f"--out: {error}")


if __name__ == "__main__":
    sys.exit(main())
