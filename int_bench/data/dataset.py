"""What a data set offers to a run and to an evaluation, whether it lies on disk or is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from int_bench.core.types import HardMask, Image


@dataclass(frozen=True)
class SampleFile:
    """One sample of a data set, before anything of it is decoded.

    ``id`` is unique in its data set and safe as a file name. The paths are None where there is no
    such file; ``truth_name`` is what the picture shows, where that is known.
    """

    id: str
    image_path: Path | None = None
    mask_path: Path | None = None
    truth_name: str | None = None

    @property
    def paths(self) -> tuple[Path | None, Path | None]:
        """The image's and the mask's path."""
        return self.image_path, self.mask_path


class Truths(Protocol):
    """The ground-truth half of a data set: all that an evaluation needs."""

    @property
    def name(self) -> str:
        """The name of the data set, as tables print it."""
        ...

    def samples(self) -> Sequence[SampleFile]:
        """All samples in a fixed order, with unique ids.

        Raises:
            MissingAsset: a folder is missing, or what it holds cannot be paired.
        """
        ...

    def load_mask(self, sample: SampleFile) -> HardMask:
        """The ground truth, (H, W) bool.

        Raises:
            SampleError: this sample's mask is missing or cannot be decoded.
        """
        ...


class Dataset(Truths, Protocol):
    """Images with ground truth."""

    def load_image(self, sample: SampleFile) -> Image:
        """The picture, (H, W, 3) uint8 RGB.

        Raises:
            SampleError: this sample's image cannot be decoded.
        """
        ...

    def manifest(self) -> str:
        """A hash (hex sha256) that changes when the set of samples does."""
        ...
