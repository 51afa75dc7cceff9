"""What `int-bench train` trains: the protocol, and what a training hands to the one loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from int_bench.core.protocols import Backbone
from int_bench.data.dataset import Dataset
from int_bench.learning.loop import Loss, Recipe, Validation

_OF_RECIPE = ("steps", "learning_rate", "warm_up", "weight_decay", "clip", "report_every",
              "save_every", "seed")  # fmt: skip


@dataclass(frozen=True)
class Fitting:
    """What :func:`int_bench.learning.loop.fit` is given, and what is made of its end.

    Attributes:
        model: on its device; its parameters that require gradients are trained, and its state dict
            is what a checkpoint holds: frozen models are kept outside of it.
        recipe: the run; its name and cache are the run folder's.
        loss: draws a batch of the training's ``batch`` with the step's generator.
        validate: figures for the report, or None.
        export: writes the adapter into a folder that is there and empty, with
            :func:`int_bench.backbones.common.adapter.write`.
    """

    model: nn.Module
    recipe: Recipe
    loss: Loss
    validate: Validation | None
    export: Callable[[Path], None]


class Counting(nn.Module):
    """A model that counts how many losses of it were asked for, which a checkpoint keeps."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def next_step(self) -> int:
        """Counts; the number before."""
        self.calls += 1
        return int(self.calls) - 1


class Training(Protocol):
    """A frozen dataclass of options, built from ``conf/training/NAME.yaml``.

    The file begins with ``# @package train``; its fields are the keys ``train.KEY``. Fields that
    change no result (how often is reported) are named in ``RUNTIME``, as models do.
    """

    @property
    def roles(self) -> frozenset[str]:
        """The roles of the frozen models that it asks; no others are built."""
        ...

    @property
    def batch(self) -> int:
        """Examples of a step; a field, which the loop halves where memory is short."""
        ...

    def begin(
        self,
        data: Dataset,
        validation: Dataset,
        backbones: Mapping[str, Backbone],
        scratch: Path,
    ) -> Fitting:
        """Look at the data, compute what the frozen models know of it, and build what is trained.

        Args:
            data: the training split.
            validation: the validation split; shares no sample with it.
            backbones: by role; no weights are loaded yet.
            scratch: a folder of its own for what is computed once, such as frozen features; what
                lies there from an earlier sitting is whole or not there, and is used again.

        Raises:
            UserError: the data cannot be trained on, in one sentence.
        """
        ...


def recipe_of(training: object, name: str) -> Recipe:
    """The recipe that a training's options of the same names say, in float32."""
    options: dict[str, Any] = {option: getattr(training, option) for option in _OF_RECIPE}
    return Recipe(name=name, autocast=False, **options)
