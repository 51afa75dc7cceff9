"""Whether the models of a configuration fit into a device, and what a run will do with the rest.

Computed by what a run shares memory out with (:mod:`int_bench.backbones.common.budget`) and by what
calls were counted to need (:mod:`int_bench.config.needs.peaks`), before anything is loaded. What
calls in graphs need stays theirs and is added; of the others the largest counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from int_bench.backbones.common import budget
from int_bench.config.needs.memory import Demand
from int_bench.config.needs.peaks import Peak, peaks_of
from int_bench.core.text import in_bytes

_GRAPHED = ("inpaint", "detect")
"""Verbs whose passes are CUDA graphs."""


@dataclass(frozen=True)
class Call:
    """The largest call of a model.

    Attributes:
        role: of the model.
        verb: what it is asked.
        rows: requests at once.
        peak: what it takes beyond weights and what is kept.
    """

    role: str
    verb: str
    rows: int
    peak: Peak

    @property
    def bytes(self) -> int:
        """That it takes."""
        return self.peak.of(self.rows)

    def resized(self, rows: int) -> Call:
        """The call of other rows."""
        return replace(self, rows=rows)


@dataclass(frozen=True)
class Plan:
    """One device with the models on it.

    Attributes:
        total: bytes of the device.
        weights: bytes of all models.
        prefixes: bytes for keys and values that stay between calls.
        pictures: whose keys and values that is; None without a language model that is known.
        batch: bytes of the keys and values that one call computes with; they keep their place.
        rows: requests that such a call takes.
        calls: the largest of each model, as far as it is known, in rows that fit together.
        lacks: why the models cannot work there; empty if they can.
    """

    total: int
    weights: int
    prefixes: int = 0
    pictures: int | None = None
    batch: int = 0
    rows: int | None = None
    calls: tuple[Call, ...] = ()
    lacks: str = ""

    @property
    def room(self) -> int:
        """Bytes that the device has for all models together."""
        return self.total - budget.RESERVED

    @property
    def needed(self) -> int:
        """Bytes of all of it together."""
        kept = self.prefixes + self.batch
        return budget.RESERVED + self.weights + kept + _together(self.calls)


def plan(needs: Sequence[Demand], total: int) -> Plan:
    """What a run does in ``total`` bytes of a device that all these models share."""
    weights = sum(need.weights for need in needs)
    bare = Plan(total, weights)
    free = bare.room - weights
    if free <= 0:
        return replace(bare, lacks="the weights do not fit")
    shared = _with_prefixes(bare, needs, free)
    calls = [call for need in needs for call in _largest(need)]
    for call in calls:
        least = call.resized(1).bytes
        if least > free:
            what = f"{call.role}.{call.verb} needs {in_bytes(least)} for one request"
            return replace(bare, lacks=f"{what}, and the weights leave {in_bytes(free)}")
    return replace(shared, calls=_fitting(calls, free - shared.prefixes - shared.batch))


def _with_prefixes(bare: Plan, needs: Sequence[Demand], free: int) -> Plan:
    """The plan with the keys and values of the language model, where it is known."""
    for need in needs:
        if need.token_bytes:
            shares = budget.shared_out(free, need.max_batch)
            of = (need.token_bytes, need.tokens - budget.QUESTION)
            return replace(
                bare,
                prefixes=shares.prefixes,
                pictures=shares.pictures(*of),
                batch=shares.batch_bytes(*of),
                rows=min(need.max_batch, shares.rows_in_memory(*of)),
            )
    return bare


def _largest(need: Demand) -> list[Call]:
    """The largest call of a model; none where nothing is known of it."""
    calls = [
        Call(need.role, verb, need.max_batch, peak)
        for verb, peak in peaks_of(need.name, need.dtype).items()
    ]
    return sorted(calls, key=lambda call: call.bytes)[-1:]


def _fitting(calls: Sequence[Call], room: int) -> tuple[Call, ...]:
    """The calls, the largest of them halved until all fit together or each is of one row."""
    fitting = list(calls)
    while _together(fitting) > room:
        divisible = [call for call in fitting if call.rows > 1]
        if not divisible:
            break
        call = max(divisible, key=lambda call: call.bytes)
        fitting[fitting.index(call)] = call.resized(call.rows // 2)
    return tuple(fitting)


def _together(calls: Sequence[Call]) -> int:
    """Bytes that all calls take when each has been made."""
    graphed = sum(call.bytes for call in calls if call.verb in _GRAPHED)
    return graphed + max((call.bytes for call in calls if call.verb not in _GRAPHED), default=0)
