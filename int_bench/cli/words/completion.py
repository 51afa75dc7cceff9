"""What a shell completes: groups and their options, keys of the configuration and their values.

Groups and options come from file names, at once; keys and values need the configuration that the
words before them choose, which takes half a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_ABLATE = {"patches": ("original", "halves", "quarters", "original+halves", "all")}
_LISTED = ("method", "dataset", "seed", "module", "patches", "iterations", "reading")
"""Keys that take several values with commas between them."""


def override(verb: str, before: Sequence[str], incomplete: str) -> list[str]:
    """Completions of an override.

    Args:
        verb: the command.
        before: the words before it.
        incomplete: the word so far, ``KEY`` or ``KEY=VAL``.
    """
    key, equals, start = incomplete.partition("=")
    if equals:
        first, comma, last = start.rpartition(",")
        first = first + comma if key in _LISTED else ""
        last = last if key in _LISTED else start
        candidates = values(verb, before, key)
        return [f"{key}={first}{value}" for value in candidates if value.startswith(last)]
    candidates = [*_axes(verb), *_groups()]
    matching = [f"{name}=" for name in candidates if name.startswith(key)]
    if len(matching) == 1 or not key:
        return matching
    keys = (name for name, _ in _leaves(_tree(before)) if name.startswith(key))
    return [*matching, *(f"{name}=" for name in keys)]


def values(verb: str, before: Sequence[str], key: str) -> list[str]:
    """What a key may be set to, as far as that can be listed."""
    from int_bench.config.places import groups, options

    if verb == "ablate" and key in _axes(verb):
        return list(_axes(verb)[key])
    if (verb, key) == ("train", "method"):
        return options("training")
    if key in groups():
        more = ["all"] if key == "method" and verb == "run" else []
        return [*options(key), *more]
    node: Any = _tree(before)
    *path, name = key.split(".")
    for part in path:
        node = node.get(part) if isinstance(node, Mapping) else None
    return list(_choices(node, name, top=not path))


def _axes(verb: str) -> dict[str, Sequence[str]]:
    if verb != "ablate":
        return {}
    from int_bench.config.places import options
    from int_bench.runs.training.parts import PARTS
    from int_bench.runs.variants import modules

    return {
        "module": (*modules(), *PARTS, "all"),
        **_ABLATE,
        "reading": (*options("reading"), "all"),
        "iterations": ("1..6",),
    }


def _groups() -> list[str]:
    from int_bench.config.places import groups

    return groups()


def _choices(node: Any, name: str, top: bool) -> Iterator[str]:
    """The choices of a constructor's argument, read from its source."""
    from int_bench.config import binding

    target = "int_bench.config.run_config.RunConfig" if top else None
    if not top and isinstance(node, Mapping):
        target = node.get(binding.TARGET)
    parameter = (binding.signature(str(target)) or {}).get(name) if target else None
    if parameter is not None:
        yield from _of_kind(parameter.kind)


def _of_kind(kind: Any) -> Iterator[str]:
    from int_bench.config.annotations import Choice, Scalar

    if isinstance(kind, Choice):
        yield from (str(value) for value in kind.values)
    elif isinstance(kind, Scalar):
        yield from {"bool": ("true", "false"), "None": ("null",)}.get(kind.name, ())
    for part in getattr(kind, "kinds", ()):
        yield from _of_kind(part)


def _tree(before: Sequence[str]) -> Mapping[str, Any]:
    """The configuration that the groups among the words choose; empty where they are wrong."""
    from int_bench.config.compose import composed
    from int_bench.errors import UserError

    known = _groups()
    chosen = [word for word in before if word.partition("=")[0] in known and "," not in word]
    try:
        return composed(chosen).raw
    except UserError:
        return {}


def _leaves(tree: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, Any]]:
    from int_bench.config import binding

    target = tree.get(binding.TARGET)
    more = dict.fromkeys(binding.signature(target) or {}) if isinstance(target, str) else {}
    for key, value in {**more, **tree}.items():
        if str(key).startswith("_"):
            continue
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{under}{key}.")
        else:
            yield f"{under}{key}", value


def metric(incomplete: str) -> list[str]:
    """Completions of ``--metric``."""
    from int_bench.scoring.results import metric_names

    return [name for name in metric_names() if name.startswith(incomplete)]


def columns(incomplete: str) -> list[str]:
    """Completions of ``--columns``, of its last name."""
    from int_bench.report.columns import every_column

    before, comma, last = incomplete.rpartition(",")
    names = [*every_column(), *([] if comma else ["all"])]
    return [f"{before}{comma}{name}" for name in names if name.startswith(last)]


def table(incomplete: str) -> list[str]:
    """Completions of a table's name."""
    names = ("1", "2", "3a", "3b", "3c", "plm", *(f"sapnet:{number}" for number in range(1, 10)))
    return [name for name in names if name.startswith(incomplete)]
