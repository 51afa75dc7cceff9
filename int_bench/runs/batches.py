"""Runs of one command that can share a broker: the same data, and no two models for one role."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from int_bench.config import RunConfig
from int_bench.runs.variants import RunRequest

_OWN = frozenset({"task", "method", "backbone", "choices", "seed", "label"})
"""What runs over one broker may have each for themselves."""
_INLINE = "int_bench.runs.executors.inline.Inline"


def batches(requests: Sequence[RunRequest]) -> list[list[RunRequest]]:
    """The requests in groups, in their order, each for one broker.

    Seeds and prompts share a broker where this process computes; other executors are told one of
    each.
    """
    groups: list[tuple[str, dict[str, Mapping[str, Any]], list[RunRequest]]] = []
    for request in requests:
        kind, models = _kind(request.config), request.config.backbone
        for group, serving, members in groups:
            if group == kind and all(
                serving.get(role, node) == node for role, node in models.items()
            ):
                serving.update(models)
                members.append(request)
                break
        else:
            groups.append((kind, dict(models), [request]))
    return [members for _, _, members in groups]


def _kind(config: RunConfig) -> str:
    """What all runs of a group have in common, as a text."""
    values = {key: value for key, value in asdict(config).items() if key not in _OWN}
    if config.executor.get("_target_") != _INLINE:
        values |= {"seed": config.seed, "prompt": config.task.prompt}
    return json.dumps(values, sort_keys=True, default=str)
