"""A configuration as YAML, each value with where it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from int_bench.config.compose import Composed, checked, composed
from int_bench.core.text import shown

_COLUMN = 48


def printed(overrides: Sequence[str]) -> Iterator[str]:
    """The resolved configuration, a line of YAML each, as the run would have it.

    A comment behind each value says where it comes from: ``command line``, or file and line, with
    the reference that it was written as.

    Raises:
        UsageError: see :func:`int_bench.config.load_config`.
    """
    whole = composed(overrides)
    config = asdict(checked(whole))
    choices = " ".join(f"{group}={name}" for group, name in config["choices"].items())
    yield f"# {shown(choices)}"
    # In the order of the files; what the checks have decided (precision, the models in use) holds.
    tree = {key: config.get(key, value) for key, value in whole.tree.items()}
    yield from _lines({**tree, "out": str(tree["out"])}, "", whole)


def _lines(node: Mapping[str, Any], under: str, whole: Composed) -> Iterator[str]:
    indent = "  " * under.count(".")
    for name, value in node.items():
        key = f"{under}{name}"
        if isinstance(value, Mapping) and value:
            yield f"{indent}{name}:"
            yield from _lines(value, f"{key}.", whole)
        else:
            text = f"{indent}{name}: {json.dumps(value, ensure_ascii=False)}"
            comment = _origin(key, value, whole)
            yield f"{text:<{_COLUMN}} # {shown(comment)}" if comment else text


def _origin(key: str, value: Any, whole: Composed) -> str:
    """Where a value comes from, and how it stands there if that is another text."""
    written: Any = whole.raw
    for part in key.split("."):
        written = written.get(part, value) if isinstance(written, Mapping) else value
    source = whole.source(key)
    return f"{source}: {written}" if written != value and source else source
