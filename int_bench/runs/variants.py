"""What one command asks for: several values of some keys, or the full method beside its variants.

Variants of ``ablate`` lack a part (``module=``), see fewer patches (``patches=``), read Eq. 12
otherwise (``reading=``) or stop earlier (``iterations=``); those that stop earlier are taken from
the longest run, at no model call.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from int_bench.config import RunConfig, load_config
from int_bench.config.binding import closest
from int_bench.config.places import options
from int_bench.config.run_config import DEFAULT_READING
from int_bench.config.sweeps import combinations
from int_bench.errors import UsageError
from int_bench.runs.labels import Labelled, distinct, of_datasets

_READING_BY_NAME = "sampled"
"""Left out by ``reading=all``: no reading of the paper, but a substitute for probabilities."""
_AXES = ("module", "patches", "reading", "iterations")
_MODULE, _PATCHES = "no_", "patches_"
_FULL = "original+halves+quarters"
_SETS = {"o": "original", "h": "halves", "q": "quarters", "oh": "original+halves", "ohq": _FULL}
"""The choices of patches by their short names, in the paper's order; the last is all of them."""
_MOST = 100  # iterations; more is a slip
_OWN = frozenset({"task", "method", "backbone", "choices", "seed", "label", "sink"})
"""What runs over one broker may have each for themselves."""
_INLINE = "int_bench.runs.executors.inline.Inline"


def modules() -> list[str]:
    """The parts that can be left out, as the paper abbreviates them: HCG, PNM, ..."""
    names = [name for name in options("ablation") if name.startswith(_MODULE)]
    return [name.removeprefix(_MODULE).upper() for name in names]


@dataclass(frozen=True)
class RunRequest:
    """One configuration that a command asks for.

    Attributes:
        config: the configuration.
        label: its name in what the command prints; the method's if empty.
        longer: the run of more iterations that it is the beginning of; None if it is run itself.
    """

    config: RunConfig
    label: str = ""
    longer: RunConfig | None = None


def sweep(overrides: Sequence[str]) -> list[RunRequest]:
    """A configuration for each combination of the values that keys are given.

    ``method=all`` is every method, INT first. What differs is in the labels.

    Raises:
        UsageError: several executors or trackers, or see :func:`int_bench.config.load_config`.
    """
    configs = [load_config(combination) for combination in combinations(overrides)]
    if len(configs) == 1:
        return [RunRequest(configs[0])]
    for group in ("executor", "sink"):  # of runs that differ in them alone the first would be made
        if len({config.choices.get(group) for config in configs}) > 1:
            raise UsageError(f"{group}= takes one value a command: it tells no runs apart.")
    labels = distinct(of_datasets([labelled(config, config.out) for config in configs]))
    return [RunRequest(*item) for item in zip(configs, labels, strict=True)]


def labelled(config: RunConfig, folder: Path) -> Labelled:
    """A configuration as tables tell it from others."""
    name = config.label or config.method_name
    return Labelled(name, config.dataset_name, asdict(config), folder)


def ablations(overrides: Sequence[str]) -> list[RunRequest]:
    """The full method and its variants along the axes among the overrides.

    Raises:
        UsageError: no variants, unknown ones, or a choice by hand of what ``ablate`` chooses.
    """
    axes = _axes(overrides)
    shared = [text for text in overrides if _key(text) not in _AXES]
    _refuse_choices(shared, axes)
    requests = _ablations(shared, axes)
    if "iterations" in axes:
        requests += _prefixes(shared, _numbers(axes["iterations"]))
    return requests


def batches(requests: Sequence[RunRequest]) -> list[list[RunRequest]]:
    """The requests in groups, in their order, each for one broker.

    A group has one data set and no two models for a role. Seeds and prompts share a broker where
    this process computes; other executors are told one of each.
    """
    groups: list[tuple[str, dict[str, Mapping[str, Any]], list[RunRequest]]] = []
    for request in requests:
        kind, models = _kind(request.config), request.config.backbone
        for group, serving, members in groups:
            if group == kind and all(
                serving.get(role, node) == node for role, node in models.items()
            ):
                serving.update(models)
                members.append(request)
                break
        else:
            groups.append((kind, dict(models), [request]))
    return [members for _, _, members in groups]


def _kind(config: RunConfig) -> str:
    """What all runs of a group have in common, as a text."""
    values = {key: value for key, value in asdict(config).items() if key not in _OWN}
    if config.executor.get("_target_") != _INLINE:
        values |= {"seed": config.seed, "prompt": config.task.prompt}
    return json.dumps(values, sort_keys=True, default=str)


def _key(text: str) -> str:
    return text.partition("=")[0]


def _axes(overrides: Sequence[str]) -> dict[str, str]:
    """What is to be varied, and how."""
    axis_texts = [text.partition("=") for text in overrides if _key(text) in _AXES]
    axes = {key: value for key, _, value in axis_texts}
    if not axes or len(axes) < len(axis_texts):
        raise UsageError(
            f"Say what to vary, each once: module={'|'.join(modules())}|all, "
            f"patches={'|'.join(_SETS.values())}|all, reading={'|'.join(options('reading'))}|all, "
            "iterations=1..6."
        )
    return axes


def _refuse_choices(shared: Sequence[str], axes: Mapping[str, str]) -> None:
    """What is varied cannot be fixed beside it."""
    chosen = {
        "module": lambda key: key == "ablation",
        "patches": lambda key: key == "ablation" or key.endswith("grid.sets"),
        "reading": lambda key: key == "reading",
        "iterations": lambda key: key == "method.iterations",
    }
    for axis in axes:
        for key in filter(chosen[axis], map(_key, shared)):
            raise UsageError(f"ablate {axis}= chooses {key} itself; leave {key}= out.")


def _ablations(shared: Sequence[str], axes: Mapping[str, str]) -> list[RunRequest]:
    """The full method and its variants of modules, patches and readings; none if none varies."""
    names = [f"{_MODULE}{name.lower()}" for name in _of_modules(axes.get("module"))]
    names += [_PATCHES + name.replace("+", "_") for name in _of_patches(axes.get("patches"))]
    if not {"module", "patches", "reading"} & set(axes):
        return []
    readings = [[f"reading={name}"] for name in _of_readings(axes.get("reading"))]
    variants = [[], *([f"ablation={name}"] for name in names), *readings]
    return [RunRequest(load_config([*shared, *variant])) for variant in variants]


def _of_modules(text: str | None) -> list[str]:
    choices = modules()
    if text is None or text.lower() == "all":
        return [] if text is None else choices
    return [_one_of(name, choices, "module") for name in text.upper().split(",")]


def _of_patches(text: str | None) -> list[str]:
    """The patch sets that are not the full method's."""
    choices = list(_SETS.values())
    if text is None or text.lower() == "all":
        return [] if text is None else choices[:-1]
    names = [_SETS.get(name, name) for name in text.lower().split(",")]
    return [name for name in names if _one_of(name, choices, "patches") != _FULL]


def _of_readings(text: str | None) -> list[str]:
    """The readings that are not the default's."""
    choices = options("reading")
    if text is None:
        return []
    every = [name for name in choices if name != _READING_BY_NAME]
    names = every if text.lower() == "all" else text.lower().split(",")
    return [n for n in names if _one_of(n, choices, "reading") != DEFAULT_READING]


def _one_of(name: str, choices: list[str], axis: str) -> str:
    if name not in choices:
        raise UsageError(
            f"Unknown {axis} {name!r}; choose {', '.join(choices)} or all." + closest(name, choices)
        )
    return name


def _numbers(text: str) -> list[int]:
    """``1..6``, ``1,3,5`` or ``4``, each once, rising."""
    counts: set[int] = set()
    for part in text.split(","):
        first, dots, last = part.partition("..")
        ends = (first, last if dots else first)
        if not all(end.isdecimal() and 1 <= int(end) <= _MOST for end in ends):
            raise UsageError(
                f"iterations={text} must be whole numbers from 1 to {_MOST}; "
                "write e.g. iterations=1..6 or iterations=1,3,5."
            )
        counts.update(range(int(ends[0]), int(ends[1]) + 1))
    if not counts:
        raise UsageError(f"iterations={text} is empty; write the smaller number first.")
    return sorted(counts)


def _prefixes(shared: Sequence[str], numbers: Sequence[int]) -> list[RunRequest]:
    """The longest run, and the shorter ones as its beginnings."""
    config = load_config(shared)
    if "iterations" not in config.method:
        raise UsageError(
            f"{config.method_name} does not iterate; give iterations= a method that does, "
            "e.g. method=int."
        )
    if config.keep == "final" and len(numbers) > 1:
        raise UsageError(
            "keep=final stores no masks of the iterations, from which the shorter runs are taken; "
            "use keep=iterations or keep=soft."
        )
    configs = {n: load_config([*shared, f"method.iterations={n}"]) for n in numbers}
    longest = configs[numbers[-1]]
    return [
        RunRequest(prefix, _label(prefix.method_name, n), None if prefix is longest else longest)
        for n, prefix in configs.items()
    ]


def _label(method: str, iterations: int) -> str:
    return f"{method}, {iterations} iteration{'s' if iterations > 1 else ''}"
