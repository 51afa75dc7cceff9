"""What the files of the configuration alone make, and where each of their values stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from int_bench.config.overrides import quoted
from int_bench.config.places import CONF, file_of
from int_bench.errors import UsageError

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from omegaconf import DictConfig
    from yaml import Node

_MOST_VALUES = 100_000


@dataclass(frozen=True)
class Place:
    """Where a value stands: a file and a line, from 1."""

    file: Path
    line: int

    def __str__(self) -> str:
        shipped = self.file.is_relative_to(CONF)
        file = Path("conf") / self.file.relative_to(CONF) if shipped else self.file
        return f"{file}:{self.line}"


@dataclass(frozen=True)
class Files:
    """The tree that files alone make.

    Attributes:
        tree: not resolved and not to be changed.
        choices: which file of each group was chosen.
        parts: the files in the order in which later ones win, each with the dotted key that its
            content lies under; empty at the top.
    """

    tree: DictConfig
    choices: Mapping[str, str]
    parts: tuple[tuple[Path, str], ...]

    def place_of(self, key: str) -> Place | None:
        """Where the value of a dotted key stands; None if no file has it."""
        for file, under in reversed(self.parts):
            rest = key.removeprefix(f"{under}.") if under else key
            line = _lines(file).get(rest) if rest != key or not under else None
            if line is not None:
                return Place(file, line)
        return None


@lru_cache(maxsize=64)
def of_groups(groups: tuple[str, ...], places: tuple[Path, ...]) -> Files:
    """What the files alone make.

    Args:
        groups: the choices, ``GROUP=OPTION``.
        places: the folders of files.

    Raises:
        UsageError: one cannot be read, or asks for what is not there.
    """
    from hydra import compose
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    for folder in places[1:]:
        for file in sorted(folder.rglob("*.yaml")):
            refuse_multiplying(file)
    given = [*groups, *_searched(places[1:])]
    with _loader() as loader:
        config = compose("config", overrides=given, return_hydra_config=True)
        parts = loader.compute_defaults_list("config", given, RunMode.RUN).defaults
    choices = config.hydra.runtime.choices.items()
    return Files(
        OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]),
        {key: str(name) for key, name in choices if name and not key.startswith("hydra")},
        tuple(_files_of(parts, places)),
    )


@contextmanager
def _loader() -> Iterator[ConfigLoader]:
    """Hydra, ready to compose."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    # Its global state is left as it was; other libraries initialise it too.
    state = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            hydra = GlobalHydra.instance().hydra
            assert hydra is not None
            yield hydra.config_loader
    except errors() as error:
        raise UsageError(sentence(error)) from error
    finally:
        GlobalHydra.instance().hydra = state


def _files_of(parts: Sequence[Any], places: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    for part in parts:
        candidates = (folder / f"{part.config_path}.yaml" for folder in places)
        file = next((path for path in candidates if path.is_file()), None)
        if file is not None:
            yield file, part.package or ""


def top_keys() -> list[str]:
    """The keys of the root file."""
    return [key for key in _lines(CONF / "config.yaml") if "." not in key]


@cache
def refuse_multiplying(file: Path) -> None:
    """Refuse a file whose aliases (``*NAME``) stand for more than would fit into it by far.

    Ten lines that each name the one before ten times are as long as a library when written out.

    Raises:
        UsageError: they do; the sentence names the file.
    """
    import yaml

    try:
        content = file.read_bytes()
        root = yaml.compose(content) if b"*" in content else None
        size = 0 if root is None else _written_out(root, {})
    except errors() as error:
        if isinstance(error, RecursionError):
            size = _MOST_VALUES + 1  # an alias within what it names
        else:
            return  # what reads it says what is wrong with it
    if size > _MOST_VALUES:
        raise UsageError(
            f"{file}: its aliases (*NAME) stand for more than {_MOST_VALUES:,} values; write out "
            "what is needed."
        )


def _written_out(node: Node, known: dict[int, int]) -> int:
    """The values that a node stands for, each alias counted as what it names."""
    from yaml import MappingNode, SequenceNode

    if id(node) not in known:
        parts: list[Any] = []
        if isinstance(node, MappingNode):
            parts = [part for pair in node.value for part in pair]
        elif isinstance(node, SequenceNode):
            parts = list(node.value)
        known[id(node)] = 1 + sum(_written_out(part, known) for part in parts)
    return known[id(node)]


@cache
def _lines(file: Path) -> Mapping[str, int]:
    """The line of each dotted key of a file, from 1."""
    import yaml

    return dict(_keys(yaml.compose(file.read_text(encoding="utf-8")), ""))


def _keys(node: Node | None, under: str) -> Iterator[tuple[str, int]]:
    from yaml import MappingNode

    if isinstance(node, MappingNode):
        for key, value in node.value:
            name = f"{under}{key.value}"
            yield name, key.start_mark.line + 1
            yield from _keys(value, f"{name}.")


def _searched(places: Sequence[Path]) -> list[str]:
    """Further folders of configuration files, as Hydra is told of them."""
    if not places:
        return []
    return [f"hydra.searchpath=[{','.join(quoted(f'file://{path}') for path in places)}]"]


def defaults_of_dataset(groups: Sequence[str]) -> list[str]:
    """The task and the models that the data set names, where nothing else has chosen them."""
    chosen = dict(text.split("=", 1) for text in groups)
    root = CONF / "config.yaml"
    file = file_of("dataset", str(chosen.get("dataset") or _said(root, "dataset")))
    return [
        f"{group}={_said(root, group) or _said(file, group) or fallback}"
        for group, fallback in (("task", "cod"), ("models", "tiny"))
        if group not in chosen
    ]


@lru_cache(maxsize=64)
def _read(file: Path) -> Any:
    from omegaconf import DictConfig, OmegaConf

    refuse_multiplying(file)
    try:
        content = OmegaConf.load(file)
    except errors() as error:
        raise UsageError(f"{file}: {sentence(error)}") from error
    if not isinstance(content, DictConfig):
        raise UsageError(f"{file} holds no keys; write KEY: VALUE.")
    return content


def _said(file: Path, key: str, behind: tuple[Path, ...] = ()) -> str | None:
    """What a file or one that it starts from gives a key; in config.yaml, the group's choice."""
    if file in behind:
        raise UsageError(f"The defaults of {file} lead back to itself; take it out of them.")
    content = _read(file)
    values = [content.get(key)]
    for entry in reversed(content.get("defaults", [])):
        if not isinstance(entry, str):
            values.append(entry.get(key))
        elif entry != "_self_":
            values.append(_said(file_of(file.parent.name, entry), key, (*behind, file)))
    return next((str(value) for value in values if value), None)


def errors() -> tuple[type[Exception], ...]:
    """What Hydra and OmegaConf raise; ValueError is a number of more digits than Python reads."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    return HydraException, OmegaConfBaseException, YAMLError, ValueError, OSError, RecursionError


def sentence(error: Exception) -> str:
    """The sentence of a library; Hydra's own tells less than what it was raised from."""
    if isinstance(error, RecursionError):
        return "Configuration: the defaults of a file lead back to itself; take it out of them."
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f"line {mark.line + 1} of {mark.name}: {getattr(error, 'problem', 'no YAML')}."
    told = [str(text) for text in (error.__cause__, error) if text and str(text) != "None"]
    lines = [line.strip() for line in told[0].splitlines()]
    kept = (line for line in lines if line and not line.startswith(("See ", "To append")))
    return f"Configuration: {' '.join(kept)[:300].rstrip('.')}."
