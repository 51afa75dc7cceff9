"""What decides a run's results, by name: the run folder is named after it.

Classes are named and not located, so that a module may move; options stand by name and value with
their defaults, so that saying one aloud changes nothing. No path, device, batch size, limit or
number of trials is in it.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import packages_distributions
from typing import Any

from int_bench.config import binding, sources
from int_bench.config.annotations import TARGET
from int_bench.config.contents import adapter_of, content_of
from int_bench.config.run_config import RunConfig

_PACKAGE = __name__.partition(".")[0]
_WEIGHTS = ("checkpoint", "pretrained")
"""Options that name weights."""
_ADAPTERS = ("adapter", "decoder")
"""Options that name folders of weights trained by `int-bench train`; none of them may be said."""


def identity(config: RunConfig, dataset: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a run's results.

    Args:
        config: the run's configuration; its models are those that the method can ask.
        dataset: what identifies the data set's images, its hash above all.
    """
    return {
        "dataset": dict(dataset),
        "task": config.task.prompt,
        "method": _without_speed(config.method),
        "models": {role: _model(node) for role, node in config.backbone.items()},
        "seed": config.seed,
        "exactness": config.exactness,
    }


def digest(identity_of_run: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that stand for an identity; key order does not matter."""
    text = json.dumps(identity_of_run, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def named(node: Any) -> Any:
    """A configuration with each ``_target_`` as ``class``, by name, and its defaults filled in."""
    if isinstance(node, list | tuple):
        return [named(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    values = {key: named(value) for key, value in node.items() if key != TARGET}
    if TARGET not in node:
        return values
    target = str(node[TARGET])
    defaults = {
        key: _value(parameter.default, parameter.module)
        for key, parameter in (binding.signature(target) or {}).items()
        if parameter.default is not None
    }
    return {"class": class_name(target), **defaults, **values}


@cache
def class_name(target: str) -> str:
    """A class or function by name: bare in this package, ``distribution:module.name`` elsewhere.

    >>> class_name("int_bench.backbones.sam.Sam")
    'Sam'
    >>> class_name("numpy.ma.core.MaskedArray")
    'numpy:numpy.ma.core.MaskedArray'
    """
    module, statement = sources.definition(target)
    name = getattr(statement, "name", target.rpartition(".")[2])
    top = module.partition(".")[0]
    if top == _PACKAGE:
        return str(name)
    distributions = sorted(set(packages_distributions().get(top, ["local"])))
    return f"{'+'.join(distributions)}:{module}.{name}"


def _model(node: Mapping[str, Any]) -> dict[str, Any]:
    """A model without what decides its speed alone; weights of known content by their hash."""
    values = _without_speed(node)
    weights = {key: content_of(values[key]) for key in _WEIGHTS if isinstance(values.get(key), str)}
    # A model without adapters keeps the name that it had.
    named_here = {key: values.pop(key, None) for key in _ADAPTERS}
    adapters = {k: adapter_of(str(v)) for k, v in named_here.items() if v is not None}
    return values | weights | adapters


def _without_speed(node: Mapping[str, Any]) -> dict[str, Any]:
    """By name and with defaults, without what changes no result."""
    speed = (TARGET, *binding.constant(str(node[TARGET]), "RUNTIME", ()))
    return {key: value for key, value in named(node).items() if key not in speed}


def _value(default: ast.expr, module: str) -> Any:
    """A default as a value; one that is computed stands as it is written."""
    if isinstance(default, ast.Name):
        statement = sources.names(module).get(default.id)
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            return _value(statement.value, module)
    try:
        value = ast.literal_eval(default)
    except ValueError:
        return ast.unparse(default)
    return list(value) if isinstance(value, tuple) else value
