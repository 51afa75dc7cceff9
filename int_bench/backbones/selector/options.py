"""SAPNet's choices, one value per open reading; the defaults are the paper's.

``sapnet_released`` takes the value of the authors' code everywhere (see ``released``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from int_bench.backbones.selector.pnpg import Parts
from int_bench.backbones.selector.prm import Normalisation
from int_bench.backbones.selector.psm import Overlap
from int_bench.core.limits import Count, Share, Within

Variant = Literal["paper", "released", "off"]
"""As the paper says, as its authors' code computes, or not at all."""
Positive = Annotated[float, Within(0.0, 1e6)]
Whole = Annotated[int, Within(0, 1000000)]


@dataclass(frozen=True)
class Psm:
    """Proposal selection: Eq. (1) to (3).

    Attributes:
        pdg: point distance guidance.
        exponent: d of Eq. (2); the published one makes a difference of 1 % at most.
        overlap: when a proposal reaches into another object.
        background: one more class, for the background, that no bag carries.
    """

    pdg: Variant = "paper"
    exponent: Positive = 0.015
    overlap: Overlap = "point"
    background: bool = False


@dataclass(frozen=True)
class Pnpg:
    """Positive and negative proposals: Eq. (4), Algorithm 1.

    Attributes:
        ppg: boxes around the selected one.
        npg: which parts are negatives, beside the background; "none" has no negatives at all.
        background: random boxes per picture.
        t_neg: T_neg1 of the background, T_neg2 of parts.
        smallest_side: objects of at most this share of the picture's shorter side, squared, have
            no parts; 64 of 800 pixels.
    """

    ppg: Variant = "paper"
    npg: Literal["random3", "centre_half", "off", "none"] = "random3"
    background: Whole = 500
    t_neg: tuple[float, float] = (0.3, 0.5)
    smallest_side: Share = 0.08

    @property
    def parts(self) -> Parts:
        """Which parts are negatives."""
        return "off" if self.npg == "none" else self.npg


@dataclass(frozen=True)
class Prm:
    """Refinement: Eq. (5) to (8).

    Attributes:
        enabled: whether there is a second stage; without, the PSM's selection is the answer.
        select: what is multiplied with the weights of the proposals when one is selected.
        neg_norm: what the loss of negatives is divided by.
        start_step: our warm-up, not the paper's: before this step the first stage trains alone.
    """

    enabled: bool = True
    select: Literal["sigmoid", "softmax"] = "sigmoid"
    neg_norm: Normalisation = "count"
    start_step: Whole = 0


@dataclass(frozen=True)
class Bms:
    """Box mining: Algorithm 2.

    Attributes:
        after: which stages it follows.
        k: how many proposals are looked at.
        t_min: T_min1 and T_min2.
        order: the best by score, or the first that are stored.
    """

    after: Literal["prm", "both", "off"] = "prm"
    k: Count = 3
    t_min: tuple[float, float] = (0.6, 0.3)
    order: Literal["score", "stored"] = "score"


@dataclass(frozen=True)
class Choices:
    """All choices of the selection."""

    psm: Psm = field(default_factory=Psm)
    pnpg: Pnpg = field(default_factory=Pnpg)
    prm: Prm = field(default_factory=Prm)
    bms: Bms = field(default_factory=Bms)

    def as_json(self) -> dict[str, Any]:
        """What :meth:`of` reads."""
        return asdict(self)

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Choices:
        """The choices that an adapter was trained with.

        Raises:
            TypeError: a name is unknown.
        """
        kinds: dict[str, Any] = {"psm": Psm, "pnpg": Pnpg, "prm": Prm, "bms": Bms}
        return cls(**{name: kinds[name](**_tuples(values)) for name, values in stored.items()})


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}


RELEASED = Choices(
    Psm(pdg="released", background=True),
    Pnpg(ppg="released", npg="centre_half"),
    Prm(select="softmax", neg_norm="objects"),
    Bms(after="both", order="stored"),
)
"""The values of the authors' code."""
