"""What one run is told, as checked values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from int_bench.config import binding
from int_bench.config.annotations import TARGET, Choice, Scalar, complaint
from int_bench.config.places import options
from int_bench.core.limits import AtLeast, Count, Device, Matches, NotEmpty, Text, Within
from int_bench.errors import OptionError, UsageError
from int_bench.metrics.metrics import BACKENDS

DEFAULT_READING = "text"
_LONGEST_NAME = 100  # bytes; file systems take 255, and other parts of a file's name go with it


@dataclass(frozen=True)
class Task:
    """A task-generic prompt ("camouflaged animal") and how many masks are made for it."""

    name: Text
    prompt: Text
    iterations: Annotated[int, Within(1, 100)]


@dataclass(frozen=True)
class RunConfig:
    """A checked, fully resolved configuration.

    Attributes:
        dataset: constructor arguments of the data set, with ``_target_``.
        task: the task-generic prompt and the number of iterations.
        backbone: constructor arguments by role, of the roles that the method can ask.
        method: constructor arguments of the method.
        choices: which file of each group was chosen, e.g. ``{"dataset": "camo", ...}``.
        seed: the run seed.
        trials: repetitions, each with its own seeds.
        limit: the first N samples only; None for all.
        skip: the first N samples are left out.
        ids: these samples only; None for all.
        out: root of the run folders.
        exactness: ``E0``, ``E1`` or ``E2`` (see :mod:`int_bench.config.exactness`).
        keep: what is stored of each sample: the ``final`` mask; those of all ``iterations``; the
            ``soft`` ones, too; or the whole ``trace``.
        refill: whether finished samples are computed again of which less is stored.
        device: ``auto`` or a device's name.
        in_flight: samples worked on side by side, or ``auto``.
        overlap: whether methods work, and what models will need is prepared, while models compute;
            or ``auto``.
        memo_mb: budget of remembered answers in MiB.
        cpu_threads: threads of one model call on a CPU; None for as many as there are cores.
        models_dir: folder of checkpoints that are single files.
        label: what tables call the run; None: the method's name.
        metrics: ``backend``: what computes the measures, ``histogram`` or ``reference``.
        allow_train: whether samples that a model was trained on are computed, too.
        executor: constructor arguments of what computes (see :mod:`int_bench.runs.executors`).
        sink: constructor arguments of the tracker that is told (see :mod:`int_bench.runs.sinks`).
    """

    dataset: Mapping[str, Any]
    task: Task
    backbone: Mapping[str, Mapping[str, Any]]
    method: Mapping[str, Any]
    choices: Mapping[str, str]
    seed: Annotated[int, Within(0, 9223372036854775807)]
    trials: Annotated[int, Within(1, 1000)]
    limit: Count | None
    skip: Annotated[int, AtLeast(0)]
    ids: Sequence[Text] | None
    out: Path
    exactness: Literal["auto", "E0", "E1", "E2"]
    keep: Literal["final", "iterations", "soft", "trace"]
    refill: bool
    device: Device
    in_flight: Annotated[int, Within(1, 4096)] | Literal["auto"]
    overlap: bool | Literal["auto"]
    memo_mb: Annotated[int, AtLeast(0)]
    cpu_threads: Annotated[int, Within(1, 1024)] | None
    models_dir: Text
    metrics: Mapping[str, str]
    executor: Mapping[str, Any]
    label: Annotated[str, NotEmpty(), Matches("(?s).{1,100}", "up to 100 characters")] | None = None
    sink: Mapping[str, Any] | None = None
    allow_train: bool = False

    @property
    def dataset_name(self) -> str:
        """The name of the data set in run folders and tables."""
        return str(self.dataset.get("name") or self.choices["dataset"])

    @property
    def reading(self) -> str:
        """How the paper is read where it disagrees with itself: a preset of ``conf/reading``."""
        return self.choices.get("reading") or DEFAULT_READING

    @property
    def method_name(self) -> str:
        """The method in run folders and tables, e.g. ``int``, ``int-no_pnm`` or ``int-printed``."""
        reading = self.reading if self.reading != DEFAULT_READING else None
        parts = (self.choices["method"], self.choices.get("ablation"), reading)
        return "-".join(filter(None, parts))


def check_options(tree: Mapping[str, Any]) -> None:
    """Check everything of a composed tree but the arguments of data set, method and models.

    Raises:
        UsageError: a value of another type, not among its choices or out of its range.
    """
    for key in ("dataset", "method", "backbone", "executor", "sink"):
        if not isinstance({"sink": {}, **tree}.get(key), dict):  # that one may be left out
            raise UsageError(f"{key} must be one of {', '.join(options(key))}.")
    task = tree["task"]
    if not isinstance(task, dict):
        raise UsageError(f"task must be one of {', '.join(options('task'))}, not {task!r}.")
    binding.check({**task, TARGET: f"{__name__}.Task"}, "task")
    for name, parameter in (binding.signature(f"{__name__}.RunConfig") or {}).items():
        wrong = complaint(parameter.kind, tree[name]) if name in tree and name != "task" else ""
        if wrong:
            raise OptionError(f"{name} {wrong}", name)
    for key, kind, value in (
        ("out", Scalar("str", (NotEmpty(),)), tree["out"]),
        ("metrics.backend", Choice(BACKENDS), tree["metrics"]["backend"]),
    ):
        wrong = complaint(kind, value)
        if wrong:
            raise OptionError(f"{key} {wrong}", key)
    _check_name(tree["dataset"].get("name"))


def _check_name(name: Any) -> None:
    """A name becomes a folder: it must be one part of a path, on every file system."""
    if name is None:
        return
    odd = re.search(r'[/\\:*?"<>|\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]', str(name))
    if odd or str(name).strip(" .") != str(name) or not str(name):
        raise UsageError(
            f"dataset.name becomes a folder of --out; {str(name)[:80]!r} cannot be one. Leave out "
            "slashes, colons and other signs of paths, and dots or blanks at its ends."
        )
    if len(str(name).encode()) > _LONGEST_NAME:
        raise UsageError(f"dataset.name is longer than {_LONGEST_NAME} bytes; shorten it.")
