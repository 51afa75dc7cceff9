"""What a data set offers to a run and to an evaluation, whether it lies on disk or is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from int_bench.core.instances import Instance
from int_bench.core.types import HardMask, Image


@dataclass(frozen=True)
class SampleFile:
    """One sample of a data set, before anything of it is decoded.

    ``id`` is unique in its data set and safe as a file name. The paths are None where there is no
    such file; ``truth_name`` is what the picture shows, where that is known. Samples of one
    ``image_id`` are objects of one image; None where the sample is the image.
    """

    id: str
    image_path: Path | None = None
    mask_path: Path | None = None
    truth_name: str | None = None
    image_id: str | None = None

    @property
    def topic(self) -> str:
        """The id of the image: what is computed about it is asked for by all of its objects."""
        return self.image_id or self.id

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


@runtime_checkable
class InstanceDataset(Dataset, Protocol):
    """Images whose objects are annotated one by one.

    A sample is an object, or with ``unit=image`` an image; see ``objects`` of
    :class:`int_bench.core.types.Sample`.
    """

    @property
    def categories(self) -> tuple[str, ...]:
        """The classes of the objects, by name, in the order of their numbers."""
        ...

    def objects(self, sample: SampleFile) -> tuple[Instance, ...]:
        """The objects of the sample's image; the sample's own first, where it is one object.

        Raises:
            SampleError: an annotation cannot be decoded.
        """
        ...


def objects_of(dataset: Dataset, sample: SampleFile) -> tuple[Instance, ...]:
    """The annotated objects of a sample; none from a data set that knows no objects.

    Raises:
        SampleError: an annotation cannot be decoded.
    """
    return dataset.objects(sample) if isinstance(dataset, InstanceDataset) else ()
