"""Where configuration files lie: in this package, in folders of the user's, in plug-ins.

The user's are named by ``--config-dir`` or ``INT_BENCH_CONF`` (several with a colon between them,
as in ``PATH``); modules beside their YAML files can be imported. A plug-in is a distribution with
an entry point of the group ``int_bench.conf`` whose value is the dotted name of a folder of YAML
files in a package of its own. None is imported to be found.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from int_bench.config.sources import find
from int_bench.core.files import expanded
from int_bench.core.named_folders import named_folders
from int_bench.errors import MissingAsset, UsageError

CONF = Path(__file__).resolve().parents[1] / "conf"
ENVIRONMENT = "INT_BENCH_CONF"
PLUGINS = "int_bench.conf"
"""The group of entry points."""


def folders() -> tuple[Path, ...]:
    """All folders of configuration files, the shipped one first; each once.

    Raises:
        MissingAsset: one that the user has named is not there.
        UsageError: one holds no folder of a group.
    """
    given = os.environ.get(ENVIRONMENT, "")
    own = [*named_folders(), *filter(None, given.split(os.pathsep))]
    checked = tuple(_checked(expanded(folder).absolute()) for folder in own)
    return tuple(dict.fromkeys((CONF, *checked, *(folder for _, folder in _plugins()[0]))))


def faults() -> tuple[str, ...]:
    """What is wrong with the plug-ins that cannot be used, a sentence each."""
    return _plugins()[1]


def groups() -> list[str]:
    """The configuration groups, e.g. ``dataset`` and ``backbone/vlm``."""
    names = {
        path.parent.relative_to(folder).as_posix()
        for folder in folders()
        for path in folder.rglob("*.yaml")
    }
    return sorted(name for name in names if name != "." and name.partition("/")[0] in _kinds())


def options(group: str) -> list[str]:
    """The choices of a group: its YAML files without the suffix, sorted."""
    return sorted({path.stem for folder in folders() for path in (folder / group).glob("*.yaml")})


def file_of(group: str, name: str) -> Path:
    """The file of a choice.

    Raises:
        UsageError: two folders have one of this name.
        MissingAsset: none has.
    """
    files = [path for path in _files(f"{group}/{name}") if path.is_file()]
    if len(files) > 1:
        raise UsageError(f"{files[1]} has the name of {files[0]}; rename it to use it.")
    if not files:
        raise MissingAsset(f"There is no {group}/{name}.yaml in {', '.join(map(str, folders()))}.")
    return files[0]


def _files(path: str) -> Iterator[Path]:
    return (folder / f"{path}.yaml" for folder in folders())


@cache
def _kinds() -> frozenset[str]:
    """The groups at the top: what a folder of configuration files may hold."""
    names = (path.name for path in CONF.iterdir() if path.is_dir())
    return frozenset(name for name in names if not name.startswith("_"))


@cache
def _checked(folder: Path) -> Path:
    if not folder.is_dir():
        raise MissingAsset(f"{folder}: there is no such folder of configuration files.")
    if not any((folder / kind).is_dir() for kind in _kinds()):
        known = ", ".join(sorted(_kinds()))
        raise UsageError(
            f"{folder} holds none of the folders {known}; its files belong into one of them, e.g. "
            f"{folder / 'dataset' / 'pond.yaml'}."
        )
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # behind everything: a module there hides no other
    return folder


@cache
def _plugins() -> tuple[tuple[tuple[str, Path], ...], tuple[str, ...]]:
    """The folders of plug-ins with their names, and what is wrong with the others."""
    usable, wrong = [], []
    for point in sorted(entry_points(group=PLUGINS), key=lambda point: (point.name, point.value)):
        top, *rest = point.value.replace(":", ".").split(".")
        spec = find(top)
        places = list(spec.submodule_search_locations or ()) if spec is not None else []
        candidates = (Path(place, *rest) for place in places)
        folder = next((path for path in candidates if path.is_dir()), None)
        if folder is None:
            of = point.dist.name if point.dist is not None else "a distribution"
            wrong.append(f"Plug-in {point.name} of {of}: there is no folder {point.value}.")
        else:
            usable.append((point.name, folder))
    return tuple(usable), tuple(wrong)
