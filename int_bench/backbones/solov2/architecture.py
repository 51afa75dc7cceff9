"""The sizes of a SOLOv2 network: what decides the shapes of its weights and what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from int_bench.core.limits import Within
from int_bench.errors import UsageError

Trunk = Literal["small", "resnet50", "resnet101"]


@dataclass(frozen=True)
class Architecture:
    """A SOLOv2 network (Wang et al., arXiv 2003.10152); each level has a grid and a range.

    Attributes:
        trunk: what makes the features: torchvision's ResNet, or ``small`` for drawn scenes.
        pyramid: channels of the feature pyramid.
        hidden: channels of the branches of kernels and categories.
        convolutions: 3 x 3 convolutions of each branch before its last one.
        mask_hidden: channels of the mask branch.
        kernel: channels of the mask features, so the length of a dynamic 1 x 1 kernel.
        grids: cells a side, by level.
        ranges: square roots of box areas that a level takes, both ends included, in pixels of the
            picture as the network sees it.
        strides: by level; a mask must cover more pixels of the mask features than that.
        short: to so many pixels the shorter side is brought, 0: as it is.
        long: largest longer side.
    """

    trunk: Trunk = "small"
    pyramid: Annotated[int, Within(8, 1024)] = 64
    hidden: Annotated[int, Within(8, 2048)] = 64
    convolutions: Annotated[int, Within(1, 8)] = 2
    mask_hidden: Annotated[int, Within(8, 1024)] = 64
    kernel: Annotated[int, Within(8, 1024)] = 32
    grids: Sequence[Annotated[int, Within(1, 512)]] = (12, 8, 6)
    ranges: Sequence[Sequence[Annotated[float, Within(0, 1e5)]]] = (
        (1.0, 32.0),
        (24.0, 64.0),
        (48.0, 256.0),
    )
    strides: Sequence[Annotated[int, Within(1, 512)]] = (8, 8, 8)
    short: Annotated[int, Within(0, 8192)] = 0
    long: Annotated[int, Within(1, 16384)] = 16384

    def __post_init__(self) -> None:
        """Refuse sizes that do not fit together.

        Raises:
            UsageError: there is not one grid, range and stride for each level.
        """
        levels = 3 if self.trunk == "small" else 5
        sizes = {"grids": self.grids, "ranges": self.ranges, "strides": self.strides}
        for name, values in sizes.items():
            if len(values) != levels:
                raise UsageError(
                    f"SOLOv2 with the trunk {self.trunk} has {levels} levels, but {name} has "
                    f"{len(values)} entries; next step: give one for each level."
                )
        if any(len(pair) != 2 for pair in self.ranges):
            raise UsageError("Each of SOLOv2's ranges is a pair: smallest and largest side.")

    @property
    def groups(self) -> int:
        """Of all group normalisations."""
        return 8 if self.trunk == "small" else 32

    @property
    def multiple(self) -> int:
        """The sides of a picture are padded to a multiple of this."""
        return 16 if self.trunk == "small" else 32

    def as_json(self) -> dict[str, Any]:
        """What :meth:`from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Architecture:
        """The sizes that a file gives.

        Raises:
            UsageError: the file gives none or other ones.
        """
        try:
            return cls(**values)
        except TypeError as error:
            raise UsageError(f"These are no sizes of a SOLOv2 network: {error}.") from error
