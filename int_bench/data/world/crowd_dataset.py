"""Crowds of the drawn world as a data set of instances: made on the fly, nothing on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from int_bench.core.instances import Instance
from int_bench.core.limits import Within
from int_bench.core.types import HardMask, Image
from int_bench.data.dataset import SampleFile
from int_bench.data.instances.granularity import Granularity, granular
from int_bench.data.instances.samples import (
    AnnotatedImage,
    Decoded,
    Objects,
    Points,
    Unit,
    without_caches,
)
from int_bench.data.pairing import Finding
from int_bench.data.world.crowd import CATEGORIES, crowd, paint_crowd
from int_bench.errors import UsageError

_Whole = Annotated[int, Within(0, 9223372036854775807)]


@dataclass(frozen=True)
class CrowdScenes:
    """One split of the crowds, object by object or scene by scene.

    A scene depends on its number alone, so a larger ``count`` extends the same set.

    Attributes:
        name: the set's name in tables and run folders.
        task: the task that the set is run with by default.
        split: ``train``, ``val``, ``test`` or ``demo``; they share no scene.
        count: how many scenes.
        seed: of the world.
        size: side of the square scenes in pixels.
        unit: ``object`` or ``image``: what a sample is.
        truth: what is right of an object: the ``whole`` animal, the ``group`` that it is in, or the
            ``part`` at its point; see :func:`int_bench.data.instances.granularity.granular`.
        points: ``qc``, ``uniform`` or ``centroid``: how objects come by their points.
        points_seed: of the points.
        models: the model preset that the set is run with by default.
    """

    SCENES: ClassVar[tuple[str, ...]] = ("seed",)

    name: str = "camoworld_crowd"
    task: str = "cod"
    split: Literal["train", "val", "test", "demo"] = "demo"
    count: Annotated[int, Within(1, 1000000)] = 8
    seed: _Whole = 0
    size: Annotated[int, Within(32, 4096)] = 128
    unit: Unit = "object"
    truth: Granularity = "whole"
    points: Literal["qc", "uniform", "centroid"] = "qc"
    points_seed: _Whole = 0
    models: str = "tiny"

    def __post_init__(self) -> None:
        """Refuse what there is not.

        Raises:
            UsageError: another truth than all animals, of whole scenes.
        """
        if self.unit == "image" and self.truth != "whole":
            raise UsageError(
                f"dataset.truth={self.truth} is of objects; set dataset.unit=object as well."
            )

    @property
    def categories(self) -> tuple[str, ...]:
        """The ordered pairs of two different patterns, front and rear."""
        return CATEGORIES

    def samples(self) -> Sequence[SampleFile]:
        """Scenes ``test-00000``, ... or their objects ``test-00000-0``, ...; no pixel is drawn."""
        return self.objects_of_images.samples

    def load_image(self, sample: SampleFile) -> Image:
        """The scene, (size, size, 3) uint8 RGB; the same for all of its objects."""
        return _painted(self.split, _number(sample.topic), self.seed, self.size)[0]

    def load_mask(self, sample: SampleFile) -> HardMask:
        """What is visible of the object, its group or its part, or of all, (size, size) bool."""
        if self.truth == "whole":
            return self.objects_of_images.mask(sample)
        return granular(self.truth, self.objects(sample))

    def objects(self, sample: SampleFile) -> tuple[Instance, ...]:
        """All animals of the scene; the sample's own first, where it is one."""
        return self.objects_of_images.objects(sample)

    def manifest(self) -> str:
        """Hash (hex sha256) of what decides scenes and points; their number does not count."""
        of_truth = () if self.truth == "whole" else (self.truth,)
        decided = (self.split, self.seed, self.size, *of_truth)
        return self.objects_of_images.describe("crowd 2", *decided)

    def __getstate__(self) -> dict[str, Any]:
        """What travels to another process."""
        return without_caches(self)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Nothing can be wrong with files that there are not."""
        return ()

    @property
    def crowd_count(self) -> int:
        """Every animal is annotated by itself."""
        return 0

    @cached_property
    def objects_of_images(self) -> Objects:
        """The animals of all scenes."""
        scenes = [self._scene(index) for index in range(self.count)]
        points = Points(self.points, self.points_seed)
        return Objects(self.name, scenes, self._masks, self.unit, points)

    def _scene(self, index: int) -> AnnotatedImage:
        scene_id = f"{self.split}-{index:05d}"
        animals = enumerate(crowd(self.split, index, self.seed).animals)
        objects = [(f"{scene_id}-{slot}", CATEGORIES[a.category]) for slot, a in animals]
        return AnnotatedImage(scene_id, None, tuple(objects))

    def _masks(self, scene: AnnotatedImage) -> Decoded:
        masks = _painted(self.split, _number(scene.id), self.seed, self.size)[1]
        return Decoded((self.size, self.size), list(masks))


def _number(scene_id: str) -> int:
    return int(scene_id.rpartition("-")[2])


@lru_cache(maxsize=16)
def _painted(
    split: str, index: int, seed: int, size: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    return paint_crowd(crowd(split, index, seed), size)
