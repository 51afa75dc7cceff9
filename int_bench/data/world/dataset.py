"""Scenes of the drawn world as a data set: made on the fly, nothing on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from PIL import Image as PillowImage
from PIL.PngImagePlugin import PngInfo

from int_bench.core.limits import Within
from int_bench.core.types import HardMask, Image
from int_bench.data.dataset import SampleFile
from int_bench.data.world.scenes import ENVIRONMENTS, NAMES, Scenes, draw
from int_bench.errors import UsageError

_MARK, _DRAWN = "Software", "int-bench, drawn scenes"
"""A text in the files of drawn scenes, by its key."""


@dataclass(frozen=True)
class DrawnScenes:
    """One split of the drawn world as images with ground truth.

    A scene depends on its number alone, so a larger ``count`` extends the same set. The defaults
    are those of world 1: folders of runs from before world 2 name no world. ``conf/dataset`` names
    world 2.

    Attributes:
        name: the set's name in tables and run folders.
        task: ``cod`` (animals), ``polyp`` or ``skin``.
        split: ``train``, ``validation``, ``test`` or ``demo``; they share no scene.
        count: how many scenes.
        seed: of the world.
        size: side of the square scenes in pixels.
        animals: ``one``, ``two_same``, ``two_different`` or, in world 2, ``mixed``.
        models: the model preset that the set is run with by default.
        world: 1 or 2; world 2 hides smaller animals among decoys.
        level: ``easy``, ``medium`` or ``hard``: how much a decoy looks like an animal (world 2).
        erased: the same scenes without their animals; decoys stay, and every mask is empty.
        named: what a sample's true name tells: what hides, or what the decoys look like, to see
            how far a wrong name leads (world 2).
    """

    SCENES: ClassVar[tuple[str, ...]] = ("task", "seed", "world")

    name: str = "camoworld"
    task: Literal["cod", "polyp", "skin"] = "cod"
    split: Literal["train", "validation", "test", "demo"] = "test"
    count: Annotated[int, Within(1, 1000000)] = 8
    seed: Annotated[int, Within(0, 9223372036854775807)] = 0
    size: Annotated[int, Within(16, 4096)] = 128
    animals: Literal["one", "two_same", "two_different", "mixed"] = "one"
    models: str = "tiny"
    world: Literal[1, 2] = 1
    level: Literal["easy", "medium", "hard"] = "medium"
    erased: bool = False
    named: Literal["hidden", "decoys"] = "hidden"

    def __post_init__(self) -> None:
        """Refuse settings that cannot be drawn.

        Raises:
            UsageError: an unknown split, task, number of animals, world or level, or a combination
                that there is not.
        """
        self._draw(())

    def samples(self) -> tuple[SampleFile, ...]:
        """All scenes; what each shows, by name. The ids are ``test-00000``, ``test-00001``, ..."""
        return tuple(
            SampleFile(f"{self.split}-{index:05d}", truth_name=_name_of(self, index))
            for index in range(self.count)
        )

    def load_image(self, sample: SampleFile) -> Image:
        """The scene, (size, size, 3) uint8 RGB."""
        scene = self._scene(sample)
        image: Image = scene.clean[0] if self.erased else scene.images[0]
        return image

    def load_mask(self, sample: SampleFile) -> HardMask:
        """All animals of the scene together, (size, size) bool."""
        mask: HardMask = self._scene(sample).masks[0].any(axis=0)
        return mask & (not self.erased)

    def object_masks(self, sample: SampleFile) -> tuple[HardMask, ...]:
        """Each animal of the scene alone, (size, size) bool; none where they are erased."""
        masks = self._scene(sample).masks[0]
        return () if self.erased else tuple(mask for mask in masks if mask.any())

    def environment(self, sample: SampleFile) -> str:
        """What the animal hides in, e.g. ``leaves``."""
        return ENVIRONMENTS[int(self._scene(sample).environments[0])]

    def manifest(self) -> str:
        """Hash (hex sha256) of what decides the scenes; their number does not count."""
        parts: tuple[object, ...] = (self.task, self.split, self.seed, self.size, self.animals)
        if self.world > 1:  # the folders of world 1 keep their names
            parts = (*parts, f"world {self.world}", self.level, self.erased)
        if self.named != "hidden":
            parts = (*parts, f"named {self.named}")
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def _draw(self, indices: tuple[int, ...]) -> Scenes:
        return draw(
            self.split,
            indices,
            task=self.task,
            animals=self.animals,
            seed=self.seed,
            size=self.size,
            world=self.world,
            level=self.level,
        )

    def _scene(self, sample: SampleFile) -> Scenes:
        return _cached(self, int(sample.id.rpartition("-")[2]))


# A scene's image and truth are asked for by all that is in flight; one of 1,024 pixels is 11 MB.
@lru_cache(maxsize=16)
def _cached(scenes: DrawnScenes, index: int) -> Scenes:
    return scenes._draw((index,))


@lru_cache(maxsize=4096)
def _name_of(scenes: DrawnScenes, index: int) -> str | None:
    """The name, "frog and owl" for two kinds, None where what it tells is not there.

    Names are drawn first, so the smallest scene of this number tells them.
    """
    if scenes.named == "decoys":  # which find room depends on what is drawn before them
        first = _cached(scenes, index).decoy_names[0, 0]
        return NAMES[first] if first >= 0 else None
    if scenes.erased:
        return None
    small = replace(scenes, size=16)._draw((index,))
    return " and ".join(dict.fromkeys(NAMES[name] for name in small.names[0] if name >= 0))


def is_drawn(sample: SampleFile) -> bool:
    """Whether a sample is a drawn scene: made on the fly, or a file that :func:`write` wrote."""
    if sample.image_path is None:
        return True
    try:
        with PillowImage.open(sample.image_path) as image:
            return image.info.get(_MARK) == _DRAWN
    except Exception:  # whatever Pillow raises on what is damaged or no image
        return False


def write(
    scenes: DrawnScenes, folder: Path, on_written: Callable[[int], None] = lambda _: None
) -> None:
    """Write scenes as paired folders, ``images/ID.png`` and ``masks/ID.png`` (0 and 255).

    The images say in a text of theirs that they are drawn.

    Args:
        scenes: what to draw.
        folder: made if it is not there; files of the same name are replaced.
        on_written: called with the number of scenes written so far.

    Raises:
        UsageError: the folder cannot be written.
    """
    mark = PngInfo()
    mark.add_text(_MARK, _DRAWN)
    try:
        for part in ("images", "masks"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        for written, sample in enumerate(scenes.samples(), start=1):
            image = PillowImage.fromarray(scenes.load_image(sample))
            image.save(folder / "images" / f"{sample.id}.png", pnginfo=mark)
            mask = scenes.load_mask(sample).astype(np.uint8) * 255
            PillowImage.fromarray(mask).save(folder / "masks" / f"{sample.id}.png")
            on_written(written)
    except OSError as error:
        raise UsageError(f"Cannot write to {folder}: {error.strerror or error}.") from error
