"""What the products of a run's models would take at the rate of large ones on its device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from int_bench.core.protocols import Backbone


class AtCeiling:
    """Counts from the moment at which it is made.

    Args:
        backbones: all that compute.
        kind: ``cuda`` or ``cpu``: what a run's time is counted of.
        name: of the kind of device and its driver, which all share.
    """

    def __init__(self, backbones: Iterable[Backbone], kind: str, name: str) -> None:
        self._backbones = list(backbones)
        self._rates = [_rate(backbone, kind, name) for backbone in self._backbones]
        self._before = [_total(backbone) for backbone in self._backbones]

    def seconds(self) -> float | None:
        """Until now; None where a model has computed elsewhere, or does not count what."""
        sum_of_all = 0.0
        for backbone, rate, before in zip(self._backbones, self._rates, self._before, strict=True):
            total = _total(backbone)
            if not total and any(backbone.counters.values()):
                return None
            if total > before:
                if rate is None:
                    return None
                sum_of_all += (total - before) / rate
        return sum_of_all


def _total(backbone: Any) -> int:
    flops = getattr(backbone, "flops", None)
    return 0 if flops is None else int(flops.total)


def _rate(backbone: Any, kind: str, name: str) -> float | None:
    """Operations a second in the precision of a model."""
    place = getattr(backbone, "place", None)
    if place is None or place.type != kind:
        return None
    rate: float | None = backbone.ceiling(name)
    return rate
