"""The training loop that all models of the zoo share: resumable, with a schedule by step.

A run stopped at any moment goes on from its last checkpoint (at most a minute old) and does the
same steps as a run that was never stopped: each step's randomness is keyed by (seed, step), so a
checkpoint needs no generator state beyond the step's number.
"""

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Loss = Callable[[np.random.Generator], tuple[Tensor, Mapping[str, float | Tensor]]]
"""Draws a batch with the step's generator; returns the loss (scalar) and figures to report."""
Validation = Callable[[], Mapping[str, float]]
Say = Callable[[str], None]
PRINT: Say = partial(print, flush=True)


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
    say: Say = PRINT,
) -> nn.Module:
    """Train the model's parameters that require gradients, resuming where a checkpoint lies.

    Args:
        model: already on its device; left in evaluation mode.
        recipe: the run.
        loss: draws a batch and returns the loss; called in training mode.
        validate: figures for the report line; called in evaluation mode without gradients.
        say: told each line of the report: how far the run is, and its figures.
    """
    optimizers = _optimizers(model, recipe)
    path = recipe.cache / f"{recipe.name}.ckpt"
    first = _resume(path, model, optimizers)
    saved, started, means = time.monotonic(), time.monotonic(), dict[str, float]()
    model.train()
    for step in range(first, recipe.steps):
        figures = _step(model, optimizers, recipe, loss, step)
        for name, value in figures.items():
            means[name] = 0.95 * means.get(name, float(value)) + 0.05 * float(value)
        last = step + 1 == recipe.steps
        if last or (step + 1) % recipe.report_every == 0:
            seconds = time.monotonic() - started
            left = seconds / (step + 1 - first) * (recipe.steps - step - 1)
            head = f"{recipe.name} {step + 1}/{recipe.steps} {seconds:.0f}s, {left:.0f}s left"
            say(_line(head, means))
            if validate is not None:
                say(_line("    validation", _validated(model, recipe, validate)))
        if last or time.monotonic() - saved > recipe.save_every:
            _save(path, model, optimizers, step + 1)
            saved = time.monotonic()
    return model.eval()


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
    with torch.autocast(kind, torch.bfloat16, enabled=recipe.autocast):
        value, figures = loss(np.random.default_rng([recipe.seed, step]))
    value.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_([p for p in model.parameters() if p.grad is not None], recipe.clip)
    for optimizer in optimizers:
        optimizer.step()
    return {"loss": value.detach(), **figures}


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


def _resume(path: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> int:
    """Load a checkpoint if there is one; returns the number of steps already done."""
    if not path.exists():
        return 0
    state = torch.load(path, map_location=next(model.parameters()).device, weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return int(state["step"])


def _save(path: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer], step: int) -> None:
    """Write aside, then rename: a stop while writing leaves the old checkpoint."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    states = [optimizer.state_dict() for optimizer in optimizers]
    torch.save({"model": model.state_dict(), "optimizers": states, "step": step}, aside)
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
