"""The first samples of a data set, as a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from int_bench.core.types import HardMask, Image
from int_bench.data.dataset import Dataset, SampleFile


@dataclass(frozen=True)
class First:
    """The first ``limit`` samples of ``whole``; all of them if ``limit`` is None."""

    whole: Dataset
    limit: int | None = None

    @property
    def name(self) -> str:
        """The name of the whole set."""
        return self.whole.name

    def samples(self) -> Sequence[SampleFile]:
        """The first samples in the set's own order."""
        return self.whole.samples()[: self.limit]

    def load_image(self, sample: SampleFile) -> Image:
        """The picture, (H, W, 3) uint8 RGB."""
        return self.whole.load_image(sample)

    def load_mask(self, sample: SampleFile) -> HardMask:
        """The ground truth, (H, W) bool."""
        return self.whole.load_mask(sample)

    def manifest(self) -> str:
        """The hash of the WHOLE set: a limit does not make another data set."""
        return self.whole.manifest()
