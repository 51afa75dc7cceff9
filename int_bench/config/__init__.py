"""Configuration: composes conf/ with Hydra, checks it, and builds what it names.

The only importer of Hydra. Composing happens once per command and leaves a plain, frozen object;
whatever is wrong is one sentence with the key, the value and the next step.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from int_bench.config import binding, exactness
from int_bench.config.building import build, trust
from int_bench.config.overrides import CONF, Override, options, parse
from int_bench.core.paths import expanded
from int_bench.core.protocols import Backbone, Method
from int_bench.errors import UsageError
from int_bench.metrics.metrics import BACKENDS

ROLES = ("vlm", "inpainter", "detector", "segmenter", "aligner")
DEFAULT_READING = "text"
KEEP = ("final", "iterations", "soft")
_SPEED_ONLY = (
    "device",
    "max_batch",
    "cache_dir",
    "key_variable",
    "requests_per_minute",
    "retries",
    "timeout_s",
)


@dataclass(frozen=True)
class Task:
    """A task-generic prompt ("camouflaged animal") and how many masks are made for it."""

    name: str
    prompt: str
    iterations: int


@dataclass(frozen=True)
class RunConfig:
    """A checked, fully resolved configuration.

    Attributes:
        dataset: constructor arguments of the data set, with ``_target_``.
        task: the task-generic prompt and the number of iterations.
        backbone: constructor arguments by role.
        method: constructor arguments of the method.
        choices: which file of each group was chosen, e.g. ``{"dataset": "camo", ...}``.
        seed: the run seed.
        trials: repetitions, each with its own seeds.
        limit: the first N samples only; None for all.
        out: root of the run folders.
        exactness: ``E0``, ``E1`` or ``E2`` (see :mod:`int_bench.config.exactness`).
        keep: which masks are stored: ``final``, ``iterations`` or ``soft``.
        device: ``auto`` or a device's name.
        in_flight: samples worked on side by side, or ``auto``.
        overlap: whether methods work while models compute, or ``auto``.
        memo_mb: budget of remembered answers in MiB.
        cpu_threads: threads of one model call on a CPU; None for as many as there are cores.
        models_dir: folder of checkpoints that are single files.
        metrics: ``backend``: what computes the measures, ``histogram`` or ``reference``.
    """

    dataset: Mapping[str, Any]
    task: Task
    backbone: Mapping[str, Mapping[str, Any]]
    method: Mapping[str, Any]
    choices: Mapping[str, str]
    seed: int
    trials: int
    limit: int | None
    out: Path
    exactness: str
    keep: str
    device: str
    in_flight: int | str
    overlap: bool | str
    memo_mb: int
    cpu_threads: int | None
    models_dir: str
    metrics: Mapping[str, str]

    @property
    def dataset_name(self) -> str:
        """The name of the data set in run folders and tables."""
        return str(self.dataset.get("name") or self.choices["dataset"])

    @property
    def method_name(self) -> str:
        """The method in run folders and tables, e.g. ``int``, ``int-no_pnm`` or ``int-printed``."""
        parts = [self.choices.get("ablation"), self.choices.get("reading")]
        kept = [part for part in parts if part and part != DEFAULT_READING]
        return "-".join([self.choices["method"], *kept])


def load(overrides: Sequence[str] = ()) -> RunConfig:
    """Compose and check a configuration.

    Args:
        overrides: ``KEY=VALUE`` or ``GROUP=OPTION``, each key once.

    Raises:
        UsageError: Anything that is wrong with them, in one sentence.
    """
    parsed = parse(overrides)
    # Null is what an optional group is without an override, which Hydra does not take for one.
    groups = [item.text for item in parsed if item.is_group and not item.text.endswith("=null")]
    groups += _defaults_of_dataset(groups)
    config = _compose(groups)
    given = [item for item in parsed if not item.is_group]
    if given:
        known = _plain(config, whole=False)
        config = _compose(groups + [_value_override(item, known) for item in given])
    choices = config.hydra.runtime.choices
    tree = _plain(config)
    _check_scalars(tree)
    for key in ("dataset", "method", "backbone"):
        trust(tree[key])
        binding.check(tree[key], key)
    kept, tree["backbone"] = exactness.resolve(tree["exactness"], tree["backbone"])
    tree["exactness"] = kept
    chosen = {k: str(v) for k, v in choices.items() if v is not None and not k.startswith("hydra")}
    return RunConfig(
        task=Task(**tree.pop("task")),
        choices=chosen,
        out=expanded(tree.pop("out")),
        **{key: tree[key] for key in RunConfig.__dataclass_fields__ if key in tree},
    )


def _defaults_of_dataset(groups: Sequence[str]) -> list[str]:
    """The task and the models that the data set names, where nothing else has chosen them."""
    config = _compose([text for text in groups if not text.startswith("backbone/")])
    choices = config.hydra.runtime.choices
    return [
        f"{group}={config.dataset.get(group) or fallback}"
        for group, fallback in (("task", "cod"), ("models", "tiny"))
        if choices.get(group) is None
    ]


def _compose(overrides: list[str]) -> DictConfig:
    """Compose and leave Hydra's global state as it was (other libraries initialise it too)."""
    state = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return hydra_compose("config", overrides=overrides, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise UsageError(_one_line(error)) from error
    finally:
        GlobalHydra.instance().hydra = state


def _plain(config: DictConfig, whole: bool = True) -> dict[str, Any]:
    """The composed tree without Hydra's own part as plain dicts; ``whole``: every value given."""
    tree = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    try:
        plain = OmegaConf.to_container(tree, resolve=whole, throw_on_missing=whole)
    except MissingMandatoryValue as error:
        raise UsageError(f"{error.full_key} must be given; add {error.full_key}=VALUE.") from error
    except OmegaConfBaseException as error:
        raise UsageError(_one_line(error)) from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _one_line(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error, HydraException) and error.__cause__ else error
    lines = [line.strip() for line in str(cause).splitlines() if not line.startswith("See ")]
    where = f"{error.override!r}: " if isinstance(error, OverrideParseException) else ""
    return f"Configuration: {where}{' '.join(filter(None, lines))[:300]}."


def _value_override(item: Override, tree: Mapping[str, Any]) -> str:
    """The override in Hydra's grammar; one that only the constructor knows is added with ``++``."""
    parent, node = "", dict(tree)
    for part in item.key.split("."):
        accepted = _accepted(node)
        if part not in node and part not in accepted:
            names = [f"{parent}{name}" for name in (*node, *accepted) if not name.startswith("_")]
            near = binding.closest(f"{parent}{part}", names or _paths(tree))
            near = near or binding.closest(item.key, _paths(tree))
            raise UsageError(f"Unknown key {item.key!r} in {item.given!r}.{near}")
        following = node.get(part)
        node = following if isinstance(following, dict) else {}
        parent += f"{part}."
    if node and not item.text.partition("=")[2].startswith("{"):
        raise UsageError(
            f"{item.given!r}: {item.key} has parts; set e.g. {parent}{next(iter(node))}."
        )
    return f"++{item.text}"


def _accepted(node: Mapping[str, Any]) -> list[str]:
    target = node.get(binding.TARGET)
    return list(binding.signature(target) or {}) if isinstance(target, str) else []


def _paths(tree: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key, value in tree.items():
        found.append(prefix + str(key))
        if isinstance(value, dict):
            found += _paths(value, f"{prefix}{key}.")
    return found


def _check_schedule(tree: Mapping[str, Any]) -> None:
    _whole(tree, "memo_mb", 0)
    _one_of(tree, "overlap", ("auto", True, False))
    if tree["in_flight"] != "auto":
        _whole(tree, "in_flight", 1)


def _check_scalars(tree: Mapping[str, Any]) -> None:
    _check_schedule(tree)
    _whole(tree, "seed", 0)
    _whole(tree, "trials", 1)
    if tree["cpu_threads"] is not None:
        _whole(tree, "cpu_threads", 1)
    if tree["limit"] is not None:
        _whole(tree, "limit", 1)
    _one_of(tree, "exactness", exactness.CHOICES)
    _one_of(tree, "keep", KEEP)
    for key in ("out", "device", "models_dir"):
        if not isinstance(tree[key], str) or not tree[key]:
            raise UsageError(f"{key} must be a text, not {tree[key]!r}.")
    task = tree["task"]
    if not isinstance(task, dict) or set(task) != {"name", "prompt", "iterations"}:
        raise UsageError(f"task must hold name, prompt and iterations, not {task!r}.")
    _whole(task, "iterations", 1, "task.")
    _one_of(tree["metrics"], "backend", BACKENDS, "metrics.")
    for key in ("dataset", "method", "backbone"):
        if not isinstance(tree.get(key), dict):
            raise UsageError(f"{key} must be one of {', '.join(options(key))}.")


def _whole(tree: Mapping[str, Any], key: str, least: int, prefix: str = "") -> None:
    value = tree[key]
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(
            f"{prefix}{key} must be a whole number of at least {least}, not {value!r}."
        )


def _one_of(
    tree: Mapping[str, Any], key: str, allowed: tuple[str | bool, ...], prefix: str = ""
) -> None:
    if tree[key] not in allowed:
        names = [str(each).lower() if isinstance(each, bool) else each for each in allowed]
        raise UsageError(
            f"{prefix}{key} must be one of {', '.join(names)}, not {tree[key]!r}."
            + binding.closest(str(tree[key]), names)
        )


def identity(config: RunConfig, dataset: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a run's results: no path, device, batch size, limit or number of trials.

    Args:
        config: the run's configuration.
        dataset: what identifies the data set's images (see ``int_bench.runner.samples``).
    """
    backbone = {
        role: {
            key: _without_folder(value, config.models_dir)
            for key, value in part.items()
            if key not in _SPEED_ONLY and not key.endswith("cache_mb")
        }
        for role, part in config.backbone.items()
    }
    return {
        "dataset": dict(dataset),
        "task": vars(config.task),
        "method": config.method,
        "backbone": backbone,
        "seed": config.seed,
        "exactness": config.exactness,
    }


def _without_folder(value: Any, folder: str) -> Any:
    return value.removeprefix(f"{folder}/") if isinstance(value, str) else value


def digest(identity_of_run: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that stand for an identity; key order does not matter."""
    text = json.dumps(identity_of_run, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def build_method(config: RunConfig) -> Method:
    """The configured method."""
    method: Method = build(config.method, "method")
    return method


def build_backbones(config: RunConfig) -> dict[str, Backbone]:
    """The configured models by role; none of them loads weights yet.

    ``cpu_threads`` is handed to the numerical libraries through the environment, which they read
    when they are first imported; a value that the user has set stays.
    """
    if config.cpu_threads is not None:
        os.environ.setdefault("OMP_NUM_THREADS", str(config.cpu_threads))
    if exactness.on_cuda(config.backbone):
        loading = import_module("int_bench.backbones.common.loading")
        loading.allow_tf32(config.exactness == "E2")
    return {role: build(node, f"backbone.{role}") for role, node in config.backbone.items()}
