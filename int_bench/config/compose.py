"""Composes conf/ with Hydra and checks it; the only importer of Hydra.

A choice of groups is composed once in a process and leaves plain, frozen objects; whatever is wrong
is one sentence with the key, the value and the next step. Hydra is imported when something is
composed, which takes longer than everything else that a command line needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from int_bench.config import binding, exactness
from int_bench.config.building import build, trust
from int_bench.config.files import Files, defaults_of_dataset, errors, of_groups, sentence, top_keys
from int_bench.config.overrides import Override, parse
from int_bench.config.places import CONF, folders, groups
from int_bench.config.run_config import RunConfig, Task, check_options
from int_bench.core.files import expanded
from int_bench.core.protocols import Method
from int_bench.errors import OptionError, UsageError

if TYPE_CHECKING:
    from omegaconf import DictConfig

TRAIN = "train"
"""The key of a training's options; ``conf/training`` writes there."""


@dataclass(frozen=True)
class Composed:
    """A composed tree that nothing has looked at yet.

    Attributes:
        tree: resolved, as plain values.
        raw: the same with references (``${task.iterations}``) as they are written.
        files: what it was made from.
        given: the overrides of single keys.
    """

    tree: dict[str, Any]
    raw: Mapping[str, Any]
    files: Files
    given: Sequence[Override]

    def source(self, key: str) -> str:
        """Where the value of a dotted key comes from: ``command line``, or a file and line."""
        if any(key == item.key or key.startswith(f"{item.key}.") for item in self.given):
            return "command line"
        return str(self.files.place_of(key) or "")

    @contextmanager
    def named(self) -> Iterator[None]:
        """What is wrong with an option that a file of the user's holds names file and line."""
        try:
            yield
        except OptionError as error:
            given = self.source(error.key) == "command line"
            place = None if given else self.files.place_of(error.key)
            if place is not None and place.file.parent == CONF / "ablation":
                name, method = place.file.stem, self.files.choices.get("method")
                raise UsageError(
                    f"ablation={name} sets {error.key}, which method={method} does not take: "
                    "ablations are of method=int and of methods with its parts."
                ) from error
            if place is None or place.file.is_relative_to(CONF):
                raise
            raise OptionError(f"{place.file}, line {place.line}: {error}", error.key) from error


def load_config(overrides: Sequence[str] = (), every_model: bool = False) -> RunConfig:
    """Compose and check a configuration.

    Args:
        overrides: ``KEY=VALUE`` or ``GROUP=OPTION``, each key once.
        every_model: keep the models that the method cannot ask, too.

    Raises:
        UsageError: anything that is wrong with them, in one sentence.
    """
    return checked(composed(overrides), every_model)


def checked(whole: Composed, every_model: bool = False) -> RunConfig:
    """A composed configuration, checked; see :func:`load_config`."""
    tree, choices = dict(whole.tree), dict(whole.files.choices)
    if TRAIN in tree:
        raise UsageError(
            f"training={choices['training']} is what `int-bench train method="
            f"{choices['training']}` trains; a run takes method=NAME."
        )
    return _made(whole, tree, choices, every_model)


def load_training(overrides: Sequence[str]) -> RunConfig:
    """What ``int-bench train`` is told: a run's configuration whose method is the training.

    Args:
        overrides: as of :func:`load_config`, ``training=NAME`` among them and no method.

    Raises:
        UsageError: anything that is wrong with them, in one sentence.
    """
    whole = composed([*overrides, "method=empty"])
    tree, choices = dict(whole.tree), dict(whole.files.choices)
    with whole.named():
        _check_top(tree)
        trust(tree[TRAIN])
        binding.check(tree[TRAIN], TRAIN)
    tree["method"], choices["method"] = tree.pop(TRAIN), choices.pop("training")
    return _made(whole, tree, choices, every_model=False)


def _made(
    whole: Composed, tree: dict[str, Any], choices: dict[str, str], every_model: bool
) -> RunConfig:
    with whole.named():
        _check_top(tree)
        check_options(tree)
        for key in filter(tree.get, ("dataset", "backbone", "method", "executor", "sink")):
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


def _check_top(tree: Mapping[str, Any]) -> None:
    """Refuse a key at the top that nothing would read."""
    known = {TRAIN, *top_keys(), *(group.partition("/")[0] for group in groups())}
    for key in tree:
        if key not in known:
            raise OptionError(f"Unknown key {key!r}.{binding.closest(key, known)}", key)


def _used(backbone: Mapping[str, Any], method: Method, name: str) -> dict[str, Any]:
    """The models that a method can ask, in the order of the configuration."""
    try:
        roles = method.roles
    except AttributeError as error:
        raise UsageError(f"method={name}: {error}; it says which models it can ask.") from error
    for role in sorted(roles - set(backbone)):
        raise UsageError(f"method={name} needs a {role}; choose one with backbone/{role}=NAME.")
    return {role: node for role, node in backbone.items() if role in roles}


def composed(overrides: Sequence[str] = ()) -> Composed:
    """The whole tree that files and overrides make.

    Raises:
        UsageError: they cannot be read, or name what is not there.
    """
    from omegaconf import OmegaConf

    parsed = parse(overrides)
    # Null is what an optional group is without an override, which Hydra does not take for one.
    chosen = [item.text for item in parsed if item.is_group and not item.text.endswith("=null")]
    files = of_groups((*chosen, *defaults_of_dataset(chosen)), folders())
    config = files.tree
    keys = [item for item in parsed if not item.is_group]
    if keys:
        config = OmegaConf.masked_copy(config, [str(key) for key in config])
        # What is built is said first: it decides which keys there are.
        for item in sorted(keys, key=lambda item: not item.key.endswith(f".{binding.TARGET}")):
            _set(config, item, _plain(config, whole=False))
            if item.key.endswith(f".{binding.TARGET}"):
                _drop_former_options(config, item.key.rpartition(".")[0])
    return Composed(_plain(config), _plain(config, whole=False), files, keys)


def _drop_former_options(config: DictConfig, key: str) -> None:
    """Of a node whose class was replaced, the options that the new one does not take."""
    from omegaconf import OmegaConf

    node = OmegaConf.select(config, key)
    accepted = binding.signature(str(node[binding.TARGET]))
    for name in [str(name) for name in node if name != binding.TARGET]:
        if accepted is not None and name not in accepted:
            del node[name]


def _set(config: DictConfig, item: Override, values: Mapping[str, Any]) -> None:
    """Set one value in the tree, as Hydra's grammar reads it."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    _check_key(item, values)
    try:
        override = OverridesParser.create().parse_override(item.text)
        value = override.value()
    except errors() as error:
        raise UsageError(
            f"The value of {item.given[:80]!r} cannot be read; close its quotes and brackets."
        ) from error
    if override.is_sweep_override():
        raise UsageError(f"{item.given!r}: one value per run; run once for each of them.")
    try:
        OmegaConf.update(config, item.key, value, merge=True, force_add=True)
    except errors() as error:
        raise UsageError(sentence(error)) from error


def _plain(config: DictConfig, whole: bool = True) -> dict[str, Any]:
    """The tree as plain dicts; ``whole``: interpolations resolved, every value given."""
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue

    try:
        plain = OmegaConf.to_container(config, resolve=whole, throw_on_missing=whole)
    except MissingMandatoryValue as error:
        raise UsageError(f"{error.full_key} must be given; add {error.full_key}=VALUE.") from error
    except errors() as error:
        raise UsageError(sentence(error)) from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


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
