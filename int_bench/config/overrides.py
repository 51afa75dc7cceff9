"""Overrides on the command line, ``KEY=VALUE`` and ``GROUP=OPTION``, checked before Hydra acts.

Hydra's own grammar also adds (``+x=1``) and deletes (``~x``) keys, sweeps over commas and changes
Hydra itself; under a single composition these are silent traps, so each is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from int_bench.config.binding import closest
from int_bench.config.places import file_of, groups, options
from int_bench.errors import UsageError

_OPTIONAL = ("ablation", "reading", "sink", "training")
_PLAIN = re.compile(r"[\w./:@%+-]*", re.ASCII)
_KEY = re.compile(r"[A-Za-z_][\w./]*")


@dataclass(frozen=True)
class Override:
    """One checked override.

    Attributes:
        given: as typed.
        key: left of the equals sign.
        text: in Hydra's grammar.
        is_group: whether it chooses a file of a configuration group.
    """

    given: str
    key: str
    text: str
    is_group: bool


def parse(overrides: Sequence[str]) -> list[Override]:
    """Check overrides one by one and against each other.

    Raises:
        UsageError: not KEY=VALUE, an unknown option of a group, a key given twice, a sweep, or
            a part of Hydra's grammar that has no meaning here.
    """
    parsed = [_parse(item) for item in overrides]
    keys: set[str] = set()
    for item in parsed:
        if item.key in keys:
            raise UsageError(f"{item.key!r} is given more than once; keep one of them.")
        keys.add(item.key)
    return parsed


def _parse(text: str) -> Override:
    _refuse_grammar(text)
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(
            f"{text!r} is not KEY=VALUE.{closest(text, groups())} See `int-bench run --help`."
        )
    if not _KEY.fullmatch(key):
        raise UsageError(f"{key!r} in {text!r} is not a key; write e.g. seed=1.")
    known_groups = groups()
    if "/" in key and key not in known_groups:
        raise UsageError(f"Unknown group {key!r} in {text!r}.{closest(key, known_groups)}")
    if key in known_groups:
        return Override(text, key, f"{key}={_option(key, value)}", is_group=True)
    return Override(text, key, f"{key}={_quoted(text, value)}", is_group=False)


def _refuse_grammar(text: str) -> None:
    if text.startswith("+"):
        raise UsageError(f"{text!r}: keys cannot be added; write {text.lstrip('+')!r}.")
    if text.startswith("~"):
        raise UsageError(f"{text!r}: keys cannot be removed; write KEY=null where null is allowed.")
    if text.startswith("hydra") and text[5:6] in {".", "/", "="}:
        raise UsageError(f"{text!r}: Hydra's own settings have no effect here; leave it out.")


def _option(group: str, value: str) -> str:
    choices = options(group)
    if value in choices:
        file_of(group, value)  # refuses a name that two files have
    if value in choices or (value == "null" and group in _OPTIONAL):
        return value
    if "," in value:
        raise UsageError(f"'{group}={value}': one value per run; run once for each of them.")
    own = f" A prompt of your own: task=custom task.prompt='a {value}'." * (group == "task")
    raise UsageError(
        f"Unknown {group} {value!r}.{closest(value, choices)} Choose one of {', '.join(choices)}."
        + own
    )


def _quoted(text: str, value: str) -> str:
    """The value for Hydra's grammar: structures as they are, odd texts (paths) in quotes."""
    if value[:1] in {"[", "{", "'", '"', "$"} or _PLAIN.fullmatch(value):
        return value
    if "," in value and "/" not in value:
        raise UsageError(f"{text!r}: one value per run; run once for each of them.")
    return quoted(value)


def quoted(text: str) -> str:
    """A text in quotes, as Hydra's grammar reads it."""
    # In them a backslash is itself unless it stands before a quote.
    escaped = re.sub(r"(\\*)('|$)", lambda run: run[1] * 2 + ("\\'" if run[2] else ""), text)
    return f"'{escaped}'"
