"""Composes conf/ with Hydra and checks it; the only importer of Hydra.

A choice of groups is composed once in a process and leaves plain, frozen objects; whatever is wrong
is one sentence with the key, the value and the next step. Hydra is imported when something is
composed, which takes longer than everything else that a command line needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from int_bench.config import binding, exactness
from int_bench.config.building import build, trust
from int_bench.config.overrides import CONF, Override, parse
from int_bench.config.run_config import RunConfig, Task, check_options
from int_bench.core.paths import expanded
from int_bench.core.protocols import Method
from int_bench.errors import UsageError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def load_config(overrides: Sequence[str] = (), every_model: bool = False) -> RunConfig:
    """Compose and check a configuration.

    Args:
        overrides: ``KEY=VALUE`` or ``GROUP=OPTION``, each key once.
        every_model: keep the models that the method cannot ask, too.

    Raises:
        UsageError: anything that is wrong with them, in one sentence.
    """
    tree, choices = _composed(parse(overrides))
    check_options(tree)
    for key in ("dataset", "backbone", "method", "executor"):
        trust(tree[key])
        binding.check(tree[key], key)
    method: Method = build(tree["method"], "method")
    if not every_model:
        tree["backbone"] = _used(tree["backbone"], method, choices["method"])
    tree["exactness"], tree["backbone"] = exactness.resolve(tree["exactness"], tree["backbone"])
    return RunConfig(
        task=Task(**tree.pop("task")),
        choices=choices,
        out=expanded(tree.pop("out")),
        **{key: tree[key] for key in RunConfig.__dataclass_fields__ if key in tree},
    )


def _used(backbone: Mapping[str, Any], method: Method, name: str) -> dict[str, Any]:
    """The models that a method can ask, in the order of the configuration."""
    try:
        roles = method.roles
    except AttributeError as error:
        raise UsageError(f"method={name}: {error}; it says which models it can ask.") from error
    for role in sorted(roles - set(backbone)):
        raise UsageError(f"method={name} needs a {role}; choose one with backbone/{role}=NAME.")
    return {role: node for role, node in backbone.items() if role in roles}


def _composed(parsed: Sequence[Override]) -> tuple[dict[str, Any], dict[str, str]]:
    """The whole tree as plain values, and which file of each group was chosen."""
    from omegaconf import OmegaConf

    # Null is what an optional group is without an override, which Hydra does not take for one.
    groups = [item.text for item in parsed if item.is_group and not item.text.endswith("=null")]
    config, chosen = _of_groups((*groups, *_defaults_of_dataset(groups)))
    keys = [item for item in parsed if not item.is_group]
    if keys:
        config = OmegaConf.masked_copy(config, [str(key) for key in config])
        values = _plain(config, whole=False)
        for item in keys:
            _set(config, item, values)
    return _plain(config), dict(chosen)


@lru_cache(maxsize=64)
def _of_groups(groups: tuple[str, ...]) -> tuple[DictConfig, Mapping[str, str]]:
    """The tree that files alone make, not resolved and not to be changed, and their choices."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    # Hydra's global state is left as it was; other libraries initialise it too.
    state = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("config", overrides=list(groups), return_hydra_config=True)
    except _errors() as error:
        raise UsageError(_one_line(error)) from error
    finally:
        GlobalHydra.instance().hydra = state
    choices = config.hydra.runtime.choices.items()
    chosen = {key: str(name) for key, name in choices if name and not key.startswith("hydra")}
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]), chosen


def _defaults_of_dataset(groups: Sequence[str]) -> list[str]:
    """The task and the models that the data set names, where nothing else has chosen them."""
    chosen = dict(text.split("=", 1) for text in groups)
    root = CONF / "config.yaml"
    file = CONF / "dataset" / f"{chosen.get('dataset') or _said(root, 'dataset')}.yaml"
    return [
        f"{group}={_said(root, group) or _said(file, group) or fallback}"
        for group, fallback in (("task", "cod"), ("models", "tiny"))
        if group not in chosen
    ]


@lru_cache(maxsize=64)
def _read(file: Path) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.load(file)


def _said(file: Path, key: str) -> str | None:
    """What a file or one that it starts from gives a key; in config.yaml, the group's choice."""
    content = _read(file)
    values = [content.get(key)]
    for entry in reversed(content.get("defaults", [])):
        if not isinstance(entry, str):
            values.append(entry.get(key))
        elif entry != "_self_":
            values.append(_said(file.with_name(f"{entry}.yaml"), key))
    return next((str(value) for value in values if value), None)


def _set(config: DictConfig, item: Override, values: Mapping[str, Any]) -> None:
    """Set one value in the tree, as Hydra's grammar reads it."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    _check_key(item, values)
    try:
        override = OverridesParser.create().parse_override(item.text)
        value = override.value()
    except _errors() as error:
        raise UsageError(
            f"The value of {item.given[:80]!r} cannot be read; close its quotes and brackets."
        ) from error
    if override.is_sweep_override():
        raise UsageError(f"{item.given!r}: one value per run; run once for each of them.")
    try:
        OmegaConf.update(config, item.key, value, merge=True, force_add=True)
    except _errors() as error:
        raise UsageError(_one_line(error)) from error


def _plain(config: DictConfig, whole: bool = True) -> dict[str, Any]:
    """The tree as plain dicts; ``whole``: interpolations resolved, every value given."""
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue

    try:
        plain = OmegaConf.to_container(config, resolve=whole, throw_on_missing=whole)
    except MissingMandatoryValue as error:
        raise UsageError(f"{error.full_key} must be given; add {error.full_key}=VALUE.") from error
    except _errors() as error:
        raise UsageError(_one_line(error)) from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _errors() -> tuple[type[Exception], ...]:
    """What Hydra and OmegaConf raise; ValueError is a number of more digits than Python reads."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    return HydraException, OmegaConfBaseException, ValueError


def _one_line(error: Exception) -> str:
    """The sentence of a library; Hydra's own tells less than what it was raised from."""
    told = [str(text) for text in (error.__cause__, error) if text and str(text) != "None"]
    lines = [line.strip() for line in told[0].splitlines()]
    kept = (line for line in lines if line and not line.startswith(("See ", "To append")))
    return f"Configuration: {' '.join(kept)[:300].rstrip('.')}."


def _check_key(item: Override, tree: Mapping[str, Any]) -> None:
    """Refuse a key that neither the tree nor the constructor of its node knows."""
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


def _accepted(node: Mapping[str, Any]) -> list[str]:
    target = node.get(binding.TARGET)
    return list(binding.signature(target) or {}) if isinstance(target, str) else []


def _paths(tree: Mapping[str, Any], prefix: str = "") -> list[str]:
    paths = []
    for key, value in tree.items():
        paths.append(prefix + str(key))
        if isinstance(value, dict):
            paths += _paths(value, f"{prefix}{key}.")
    return paths
