"""How a run uses the machine: batch sizes, images in flight, overlap. None of it decides a result.

(Within the run's exactness class: see :mod:`int_bench.config.exactness`.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from int_bench.backbones.common.budget import PICTURES
from int_bench.config import binding, exactness
from int_bench.config.run_config import RunConfig
from int_bench.core.protocols import Backbone

_ON_CPU = 4
_ON_CUDA = 12
"""Two halves of six: more fill no batch better."""


@dataclass(frozen=True)
class Schedule:
    """What the broker is told.

    Attributes:
        max_batch: most requests per call, for all roles or by role.
        in_flight: images worked on side by side.
        overlap: whether methods work on some images while a model computes for others.
    """

    max_batch: Mapping[str, int] | int
    in_flight: int
    overlap: bool


def schedule(config: RunConfig, backbones: Mapping[str, Backbone]) -> Schedule:
    """The schedule of a run; on CUDA all models are loaded, to know what memory is left.

    Raises:
        UserError: a model cannot be loaded.
    """
    cuda = exactness.on_cuda(config.backbone)
    limits = {role: _most(node, cuda) for role, node in config.backbone.items()}
    if cuda:
        # The vlm takes its share of what is free once all the others are there.
        for backbone in backbones.values():
            getattr(backbone, "loaded", None)
        for role, backbone in backbones.items():
            rows = getattr(backbone, "rows_at_once", None)
            limits[role] = limits[role] if rows is None else min(limits[role], int(rows()))
    stay = getattr(backbones.get("vlm"), "resident_pictures", None) if cuda else None
    images = usual(config.exactness, cuda, stay and int(stay()))
    in_flight, overlap = config.in_flight, config.overlap
    return Schedule(
        max_batch=1 if config.exactness == "E0" else limits,
        in_flight=in_flight if isinstance(in_flight, int) else images,
        overlap=overlap if isinstance(overlap, bool) else cuda,
    )


def _most(node: Mapping[str, Any], cuda: bool) -> int:
    """Most requests in one call of a model."""
    passes = int(binding.constant(str(node[binding.TARGET]), "PASSES", 1)) if cuda else 1
    return int(node.get("max_batch", 1)) * passes


def usual(kept: str, cuda: bool, pictures: int | None = None) -> int:
    """Images in flight where nothing is said.

    One after the other where a call takes a single request: company gains nothing there, and what
    is interrupted costs one image. On CUDA those of which the vlm keeps what it read of all patches
    from the dialogue to the scores; two at least.

    Args:
        kept: the exactness class.
        cuda: whether a model computes there.
        pictures: that the vlm keeps between calls; None: there is none that says so.
    """
    if kept == "E0":
        return 1
    if not cuda or pictures is None:
        return _ON_CUDA if cuda else _ON_CPU
    return max(2, min(_ON_CUDA, pictures // PICTURES))
