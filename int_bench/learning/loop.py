"""The training loop that all models of the zoo share: resumable, with a schedule by step.

A run stopped at any moment goes on from its last checkpoint (at most a minute old) and does the
same steps as a run that was never stopped: each step's randomness is keyed by (seed, step), so a
checkpoint needs no generator state beyond the step's number. Ctrl-C and SIGTERM wait for the end
of the step and leave a checkpoint.
"""

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from int_bench.backbones.common.loading import memory_guard

Loss = Callable[[np.random.Generator], tuple[Tensor, Mapping[str, float | Tensor]]]
"""Draws a batch with the step's generator; returns the loss (scalar) and figures to report."""
Validation = Callable[[], Mapping[str, float]]


@dataclass(frozen=True)
class Report:
    """What is told of a training every so many steps.

    Attributes:
        name: the recipe's.
        step: steps done.
        steps: steps in all.
        seconds: since this process began with it.
        left: seconds to the end at this pace.
        figures: running means of what the loss tells, the loss among them.
        validation: figures of the validation; empty where there is none.
    """

    name: str
    step: int
    steps: int
    seconds: float
    left: float
    figures: Mapping[str, float]
    validation: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        head = f"{self.name} {self.step}/{self.steps} {self.seconds:.0f}s, {self.left:.0f}s left"
        lines = [_line(head, self.figures)]
        lines += [_line("    validation", self.validation)] if self.validation else []
        return "\n".join(lines)


class Listener:
    """Who is told how far a training is; this one prints."""

    def begun(self, step: int) -> None:
        """It goes on from this step, 0 if there was no checkpoint."""

    def stepped(self, report: Report) -> None:
        """A step is done and no report is due; figures of the run so far."""

    def reported(self, report: Report) -> None:
        """A report is due."""
        print(report, flush=True)


@dataclass(frozen=True)
class Recipe:
    """One training run.

    Attributes:
        name: checkpoint name; the file is ``<cache>/<name>.ckpt``.
        steps: optimizer steps; the learning rate falls with a cosine to 2 % at the last one.
        learning_rate: peak learning rate of AdamW and Muon.
        warm_up: steps of linear warm-up.
        weight_decay: decoupled weight decay.
        betas: of AdamW.
        clip: largest gradient norm.
        muon: train hidden matrices (2-D, both sides >= 16, no embedding or output head) with Muon.
        factors: factor on the learning rate for parameters whose name starts with a prefix.
        autocast: run the loss in bfloat16 autocast.
        parts: a step adds up the gradients of so many batches, drawn one after the other: where
            memory is short, parts of a batch.
        report_every: steps between validation reports.
        save_every: seconds between checkpoints.
        seed: seed of the run.
        cache: folder of the checkpoints.
    """

    name: str
    steps: int
    learning_rate: float = 2e-3
    warm_up: int = 50
    weight_decay: float = 0.02
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    muon: bool = False
    factors: Mapping[str, float] = field(default_factory=dict)
    autocast: bool = True
    parts: int = 1
    report_every: int = 200
    save_every: float = 60.0
    seed: int = 0
    cache: Path = Path(".cache/zoo")


def device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fit(
    model: nn.Module,
    recipe: Recipe,
    loss: Loss,
    validate: Validation | None = None,
    listener: Listener | None = None,
) -> nn.Module:
    """Train the model's parameters that require gradients, resuming where a checkpoint lies.

    Args:
        model: already on its device; left in evaluation mode.
        recipe: the run.
        loss: draws a batch and returns the loss; called in training mode.
        validate: figures for the report; called in evaluation mode without gradients.
        listener: is told how far the run is; without one it is printed.

    Raises:
        OutOfMemory: a step does not fit; the checkpoint before it stays.
        KeyboardInterrupt: Ctrl-C, after the checkpoint was written.
    """
    told, optimizers = listener or Listener(), _optimizers(model, recipe)
    path = recipe.cache / f"{recipe.name}.ckpt"
    first, means = _resume(path, model, optimizers)
    told.begun(first)
    saved = started = time.monotonic()
    model.train()
    with _patient() as asked_to_stop:
        for step in range(first, recipe.steps):
            with memory_guard():
                figures = _step(model, optimizers, recipe, loss, step)
            for name, value in figures.items():
                means[name] = 0.95 * means.get(name, float(value)) + 0.05 * float(value)
            last, seconds = step + 1 == recipe.steps, time.monotonic() - started
            left = seconds / (step + 1 - first) * (recipe.steps - step - 1)
            report = Report(recipe.name, step + 1, recipe.steps, seconds, left, dict(means))
            if last or (step + 1) % recipe.report_every == 0:
                checked = _validated(model, recipe, validate) if validate is not None else {}
                told.reported(replace(report, validation=checked))
            else:
                told.stepped(report)
            stopping = asked_to_stop.is_set()
            if last or stopping or time.monotonic() - saved > recipe.save_every:
                _save(path, model, optimizers, step + 1, means)
                saved = time.monotonic()
            if stopping and not last:
                raise KeyboardInterrupt
    return model.eval()


@contextmanager
def _patient() -> Iterator[threading.Event]:
    """Within it the first Ctrl-C or SIGTERM sets the event alone; the second one interrupts.

    A step that is cut short would leave weights that no step has made.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def stop(number: int, frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def pace(recipe: Recipe, step: int) -> float:
    """Factor on the learning rate at a step: linear warm-up times a cosine from 1 to 0.02."""
    warm = min(1.0, (step + 1) / max(recipe.warm_up, 1))
    return warm * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * step / recipe.steps)))


def _step(
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    recipe: Recipe,
    loss: Loss,
    step: int,
) -> Mapping[str, float | Tensor]:
    torch.manual_seed(recipe.seed * 1_000_003 + step)
    rate = recipe.learning_rate * pace(recipe, step)
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["factor"]
    kind = next(model.parameters()).device.type
    told: dict[str, Tensor | float] = {}
    for part in range(recipe.parts):
        key = [recipe.seed, step] if recipe.parts == 1 else [recipe.seed, step, part]
        with torch.autocast(kind, torch.bfloat16, enabled=recipe.autocast):
            value, figures = loss(np.random.default_rng(key))
            value = value / recipe.parts if recipe.parts > 1 else value
        value.backward()  # type: ignore[no-untyped-call]
        told["loss"] = told.get("loss", 0.0) + value.detach()
        for name, figure in figures.items():
            told[name] = told.get(name, 0.0) + figure / recipe.parts
    nn.utils.clip_grad_norm_([p for p in model.parameters() if p.grad is not None], recipe.clip)
    for optimizer in optimizers:
        optimizer.step()
    return told


def _optimizers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        hidden = recipe.muon and parameter.ndim == 2 and min(parameter.shape) >= 16
        hidden = hidden and not any(word in name for word in ("embed", "lm_head"))
        factor = next((f for p, f in recipe.factors.items() if name.startswith(p)), 1.0)
        groups.setdefault((hidden, factor), []).append(parameter)

    def of(kind: bool) -> list[dict[str, Any]]:
        return [{"params": p, "factor": f} for (hidden, f), p in groups.items() if hidden == kind]

    decay, optimizers = recipe.weight_decay, list[torch.optim.Optimizer]()
    if of(False):
        adam = torch.optim.AdamW(of(False), lr=1.0, betas=recipe.betas, weight_decay=decay)
        optimizers.append(adam)
    if of(True):
        muon = torch.optim.Muon(
            of(True), lr=1.0, weight_decay=decay, adjust_lr_fn="match_rms_adamw"
        )
        optimizers.append(muon)
    return optimizers


def _resume(
    path: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer]
) -> tuple[int, dict[str, float]]:
    """Load a checkpoint if there is one; returns the steps already done and the running means."""
    if not path.exists():
        return 0, {}
    state = torch.load(path, map_location=next(model.parameters()).device, weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return int(state["step"]), dict(state.get("means", {}))


def _save(
    path: Path,
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    step: int,
    means: Mapping[str, float],
) -> None:
    """Write aside, then rename: a stop while writing leaves the old checkpoint."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    state = {
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "step": step,
        "means": dict(means),
    }
    torch.save(state, aside)
    aside.replace(path)


def _line(head: str, figures: Mapping[str, float]) -> str:
    return " ".join([head, *(f"{name} {value:.4g}" for name, value in figures.items())])


def _validated(model: nn.Module, recipe: Recipe, validate: Validation) -> Mapping[str, float]:
    model.eval()
    kind = next(model.parameters()).device.type
    with torch.no_grad(), torch.autocast(kind, torch.bfloat16, enabled=recipe.autocast):
        figures = validate()
    model.train()
    return figures
