"""From the measures of samples to the numbers of a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from int_bench.metrics.metrics import VARIANTS, Measures
from int_bench.metrics.rules import ScoringProtocol


@dataclass(frozen=True)
class Counts:
    """The denominator: how many samples there are, and what became of them.

    ``n`` is the number of samples of the data set that were asked for. ``scored`` of them had a
    usable prediction, ``failed`` have a reason why they have none, ``missing`` have neither.
    ``policy`` says what the means do about the latter two: leave them out (``error``, ``skip``) or
    count them as empty predictions (``empty``).
    """

    n: int
    scored: int
    failed: int
    missing: int
    policy: str = "error"

    @property
    def complete(self) -> bool:
        """True if every sample was scored."""
        return self.scored == self.n


@dataclass(frozen=True)
class Summary:
    """The numbers of one set of predictions under one protocol.

    ``values`` maps variants to dataset-level numbers and is empty if nothing was scored.
    """

    protocol: ScoringProtocol
    counts: Counts
    values: Mapping[str, float]

    @property
    def printed(self) -> tuple[float | None, float | None, float | None, float | None]:
        """M, F, E and S as the papers' tables print them: MAE, the protocol's F, mean E, S."""
        names = ("MAE", self.protocol.printed_f, "meanE", "S")
        m, f, e, s = (self.values.get(name) for name in names)
        return m, f, e, s


def aggregate(measures: Sequence[Measures]) -> dict[str, float]:
    """Dataset-level values: the mean over samples, for all variants but two.

    ``maxF`` and ``maxE`` are the maximum of the *mean curve* (one threshold for the whole data
    set), as in PySODMetrics and the MATLAB toolbox; a mean of per-sample maxima would be higher.
    Empty for no measures.
    """
    if not measures:
        return {}
    values = {
        name: float(np.mean([measure.values[name] for measure in measures])) for name in VARIANTS
    }
    values["maxF"] = float(np.mean([measure.f_curve for measure in measures], axis=0).max())
    values["maxE"] = float(np.mean([measure.e_curve for measure in measures], axis=0).max())
    return values
