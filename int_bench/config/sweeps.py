"""Several values of a key in one command, by Hydra's grammar: ``seed=1,2,3``, ``seed=range(1,4)``.

A list (``[1,2]``), a text in quotes (``'a,b'``), the path of a file or folder that is there, and
what the grammar cannot read are one value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from int_bench.config.files import errors
from int_bench.config.places import options
from int_bench.errors import UsageError

_FUNCTION = re.compile(r"(choice|range|sort|shuffle|glob|interval)\(")
_MOST = 256
_ONLY_BY_NAME = frozenset(
    {"sam3", "vlm_api_sam"}  # need an endpoint, or a model that no preset holds
    | {"sam_point", "plm_point", "sam_top1_point", "oracle_of_bag"}  # ask for objects
    | {"mil_single", "sapnet_select", "sapnet"}  # ask for what was trained
)
"""Left out by ``method=all``."""


def combinations(overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of each run, the first key with several values varying slowest.

    Raises:
        UsageError: too many, or a part of the grammar that has no meaning here.
    """
    axes = [values_of(text) for text in overrides]
    count = 1
    for values in axes:
        count *= len(values)
    if count > _MOST:
        raise UsageError(f"These are {count} runs; one command makes up to {_MOST}.")
    return [list(values) for values in product(*axes)]


def values_of(text: str) -> list[str]:
    """``KEY=A,B`` as ``KEY=A`` and ``KEY=B``; anything else as it is.

    Raises:
        UsageError: a sweep without values that could be listed.
    """
    key, _, value = text.partition("=")
    if text == "method=all":
        names = [name for name in options("method") if name not in _ONLY_BY_NAME]
        return [f"method={name}" for name in sorted(names, key=lambda name: (name != "int", name))]
    if not ("," in value or _FUNCTION.match(value)) or _is_path(value):
        return [text]
    from hydra.core.override_parser.overrides_parser import OverridesParser

    try:
        override = OverridesParser.create().parse_override(text)
    except errors():
        return [text]
    if not override.is_sweep_override():
        return [text]
    if not (override.is_choice_sweep() or override.is_range_sweep()):
        raise UsageError(f"{text!r}: several values are A,B,C or range(FIRST,AFTER_LAST).")
    values = dict.fromkeys(str(item) for item in override.sweep_string_iterator())
    if not values:
        raise UsageError(f"{text!r} has no values; write range(FIRST,AFTER_LAST).")
    return [f"{key}={item}" for item in values]


def _is_path(value: str) -> bool:
    try:
        return Path(value).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False
