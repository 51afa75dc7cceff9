"""Some samples of a data set, as a data set."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from int_bench.core.instances import Instance
from int_bench.core.types import HardMask, Image
from int_bench.data.dataset import Dataset, InstanceDataset, SampleFile, objects_of
from int_bench.errors import MissingAsset

Asked = int | frozenset[str] | None
"""Which samples are asked for: the first so many, those of these ids, or all."""


def chosen(samples: Sequence[SampleFile], asked: Asked) -> Sequence[SampleFile]:
    """The samples that are asked for, in their order."""
    if isinstance(asked, frozenset):
        return [sample for sample in samples if sample.id in asked]
    return samples[:asked]


def asked_for(
    samples: Sequence[SampleFile], skip: int, limit: int | None, ids: Collection[str] | None
) -> Asked:
    """What a configuration asks for.

    Args:
        samples: of the whole data set, in order.
        skip: the first so many are left out.
        limit: those after the first so many are left out; None for none.
        ids: all but these are left out; None for none.

    Raises:
        MissingAsset: none is left.
    """
    if skip == 0 and ids is None:
        return limit
    kept = [s.id for s in samples[skip:limit] if ids is None or s.id in ids]
    if not kept:
        raise MissingAsset(f"No sample is left of {len(samples)}: look at limit, skip and ids.")
    return frozenset(kept)


@dataclass(frozen=True)
class Part:
    """Those samples of ``whole`` that are asked for."""

    whole: Dataset
    asked: Asked = None

    @property
    def name(self) -> str:
        """The name of the whole set."""
        return self.whole.name

    def samples(self) -> Sequence[SampleFile]:
        """The samples in the set's own order."""
        return chosen(self.whole.samples(), self.asked)

    def load_image(self, sample: SampleFile) -> Image:
        """The picture, (H, W, 3) uint8 RGB."""
        return self.whole.load_image(sample)

    def load_mask(self, sample: SampleFile) -> HardMask:
        """The ground truth, (H, W) bool."""
        return self.whole.load_mask(sample)

    @property
    def categories(self) -> tuple[str, ...]:
        """The classes of the whole set's objects; none where it knows no objects."""
        return self.whole.categories if isinstance(self.whole, InstanceDataset) else ()

    def objects(self, sample: SampleFile) -> tuple[Instance, ...]:
        """The annotated objects of the sample's image; see :class:`InstanceDataset`."""
        return objects_of(self.whole, sample)

    def manifest(self) -> str:
        """The hash of the WHOLE set: a part does not make another data set."""
        return self.whole.manifest()
