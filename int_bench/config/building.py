"""Builds what a configuration names, and only what the configuration on this machine names.

A run folder is data that anybody may have written: a name in its ``run.json`` must never decide
what is imported. Therefore nothing is built here by any other way, every ``_target_`` of a node is
looked at before the first one is imported, and no text in a node is evaluated.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from int_bench.config import binding, exactness
from int_bench.config.binding import TARGET
from int_bench.config.needs.hardware import count_as_the_driver
from int_bench.config.places import folders
from int_bench.core.protocols import Backbone, Method
from int_bench.data.dataset import Dataset
from int_bench.errors import MissingAsset, UsageError, UserError

if TYPE_CHECKING:
    from int_bench.config.run_config import RunConfig

_NAMED = re.compile(rf"""^[^#\n]*?{TARGET}["']?\s*:\s*["']?([\w.]+)""", re.MULTILINE)
# A class that a data set's YAML has ever named and that moves gets an entry, from where it was to
# where it is, for good: run folders keep the name, and are scored and compared by it.
_FORMER = {"int_bench.data.drawn.DrawnScenes": "int_bench.data.world.dataset.DrawnScenes"}
"""Data sets that older run folders name by the module that they were in."""
_typed: set[str] = set()
_models: dict[str, Backbone | None] = {}
"""What later runs of the command need as well, where it is built already."""


def trust(tree: Any) -> None:
    """Allow the targets of a configuration that was composed here: the user typed or wrote them."""
    named = _named()
    _typed.update(str(target) for target in _targets(tree) if target not in named)


def build(node: Any, where: str, file: Path | None = None) -> Any:
    """Construct what a node names with ``_target_``, and its parts.

    Args:
        node: plain dicts, lists and scalars.
        where: the dotted key of ``node``, for messages.
        file: where the node was stored; the group ``where`` must then name its targets. None for a
            node of a configuration that :func:`trust` has seen.

    Raises:
        UserError: as the constructor raised it.
        MissingAsset: a target that the configuration on this machine does not name (nothing was
            imported), or a stored node that its class refuses.
        UsageError: the node names no class, or the constructor refused its arguments.
    """
    named = _named(where if file else "")
    place = f"{file}: {where}" if file else where
    for target in _targets(node):
        if not isinstance(target, str) or (target not in named and target not in _typed):
            raise MissingAsset(
                f"{place} names {str(target)[:80]!r}, which no file of "
                f"{', '.join(map(str, folders()))} names, and nothing of it was loaded; name it "
                "there if it is yours, or its folder with --config-dir, else do not trust this one."
            )
    if file:
        _check_stored(node, where, file)
    if isinstance(node, Mapping) and TARGET not in node:
        raise UsageError(
            f"{place} names no class; say {TARGET} in its file, or a file among its"
            " defaults that does."
        )
    try:
        return _made(node)
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # whatever somebody's module or constructor raises
        kind = MissingAsset if file else UsageError
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        name = node.get(TARGET) if isinstance(node, Mapping) else node
        raise kind(f"{place}: {name} refused: {reason}") from error


def _check_stored(node: Any, where: str, file: Path) -> None:
    """What was composed here has been checked; what a file holds has not."""
    try:
        binding.check(node, where)
    except UsageError as error:
        raise MissingAsset(f"{file}: {error}") from error


def build_stored_dataset(manifest: Mapping[str, Any], file: Path) -> Dataset:
    """The data set of a stored run.

    Args:
        manifest: what ``file`` holds.
        file: the ``run.json`` of the run.

    Raises:
        MissingAsset: it names no data set, or one that this machine's configuration does not name.
    """
    config = manifest.get("config")
    node = config.get("dataset") if isinstance(config, Mapping) else None
    if not isinstance(node, Mapping) or TARGET not in node:
        raise MissingAsset(f"{file} is not a run's description: it names no data set.")
    target = str(node[TARGET])
    dataset: Dataset = build({**node, TARGET: _FORMER.get(target, target)}, "dataset", file)
    return dataset


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
    count_as_the_driver()
    if exactness.on_cuda(config.backbone):
        # Imports torch, which only a run on CUDA needs here.
        from int_bench.backbones.common.precision import allow_tf32

        allow_tf32(config.exactness == "E2")
    return {role: _model(role, node) for role, node in config.backbone.items()}


def keep_models(configs: Sequence[RunConfig]) -> None:
    """From now on a model that any of these configurations needs is built once, and let go after.

    Args:
        configs: the runs that are left to be computed; none lets go of all models.
    """
    wanted = {_name_of(role, node) for config in configs for role, node in config.backbone.items()}
    kept = {name: model for name, model in _models.items() if name in wanted}
    _models.clear()
    _models.update(dict.fromkeys(wanted) | kept)


def _model(role: str, node: Mapping[str, Any]) -> Backbone:
    name = _name_of(role, node)
    model = _models.get(name)
    if model is None:
        model = build(node, f"backbone.{role}")
    elif isinstance(model.counters, dict):
        model.counters.clear()  # they are of one broker
    if name in _models:
        _models[name] = model
    return model


def _name_of(role: str, node: Mapping[str, Any]) -> str:
    return json.dumps([role, node], sort_keys=True, default=str)


def _named(group: str = "") -> frozenset[str]:
    """Every target that the configuration on this machine names, in one group or in all."""
    return frozenset().union(*(_named_under(folder / group) for folder in folders()))


@cache
def _named_under(folder: Path) -> frozenset[str]:
    """Every target in the YAML files of a folder."""
    texts = (path.read_text(encoding="utf-8") for path in folder.rglob("*.yaml"))
    return frozenset(name for text in texts for name in _NAMED.findall(text))


def _targets(node: Any) -> Iterator[Any]:
    """Every target in a node, at any depth."""
    waiting = [node]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            if TARGET in part:
                yield part[TARGET]
            waiting += part.values()
        elif isinstance(part, list | tuple):
            waiting += part


def _made(node: Any) -> Any:
    if isinstance(node, list | tuple):
        return [_made(part) for part in node]
    if not isinstance(node, Mapping):
        return node
    parts = {key: _made(value) for key, value in node.items() if key != TARGET}
    if TARGET not in node:
        return parts
    module, _, name = node[TARGET].rpartition(".")
    return getattr(import_module(module), name)(**parts)
