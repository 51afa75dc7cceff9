"""Pictures of one's own: files from anywhere, without ground truth."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from int_bench.core.files import expanded
from int_bench.core.limits import Count
from int_bench.core.types import HardMask, Image
from int_bench.data.dataset import SampleFile
from int_bench.data.depth import Depth, depth_of
from int_bench.data.images import EXTENSIONS, MAX_PIXELS, read_image
from int_bench.data.pairing import natural_key
from int_bench.errors import MissingAsset, SampleError


@dataclass(frozen=True)
class Pictures:
    """A data set of picture files that lie anywhere.

    Attributes:
        files: the pictures, each once.
        name: in tables and run folders.
        max_pixels: files of more pixels are refused, by name, before they are decoded.
    """

    files: Sequence[str]
    name: str = "pictures"
    max_pixels: Count = MAX_PIXELS

    @cached_property
    def _samples(self) -> tuple[SampleFile, ...]:
        paths = [expanded(file) for file in self.files]
        names = distinct_names(paths)
        return tuple(SampleFile(*item) for item in zip(names, paths, strict=True))

    @cached_property
    def depth(self) -> Depth:
        """White of the pictures of more than 8 bits, decided over all of them."""
        return depth_of([s.image_path for s in self._samples if s.image_path], self.max_pixels)

    def samples(self) -> Sequence[SampleFile]:
        """All pictures in the order given; the id is the file's name without its ending.

        Raises:
            MissingAsset: there are none, or one is not there.
        """
        for sample in self._samples:
            if sample.image_path is None or not sample.image_path.is_file():
                raise MissingAsset(f"{sample.image_path}: there is no such picture.")
        if not self._samples:
            raise MissingAsset("There are no pictures; set dataset.files=[FILE,...].")
        return self._samples

    def load_image(self, sample: SampleFile) -> Image:
        """The picture, (H, W, 3) uint8 RGB.

        Raises:
            SampleError: it cannot be decoded.
        """
        if sample.image_path is None:
            raise SampleError(f"Picture {sample.id} has no file.")
        return read_image(sample.image_path, None, self.depth, self.max_pixels)

    def load_mask(self, sample: SampleFile) -> HardMask:
        """Never there.

        Raises:
            SampleError: always.
        """
        raise SampleError(f"Picture {sample.id} has no ground truth.")

    def manifest(self) -> str:
        """Hash (hex sha256) of all ids, file names and sizes."""
        lines = [
            [sample.id, sample.image_path.name, sample.image_path.stat().st_size]
            for sample in self.samples()
            if sample.image_path is not None
        ]
        return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """A name for each file: its stem; with its folder, then its ending, where stems are alike.

    >>> distinct_names([Path("a/x.png"), Path("b/x.png"), Path("b/y.png")])
    ['a_x', 'b_x', 'y']
    >>> distinct_names([Path("x.png"), Path("x.jpg")])
    ['x_png', 'x_jpg']
    """
    forms = [_forms(path, number) for number, path in enumerate(paths, start=1)]
    chosen = [0] * len(paths)
    while True:
        names = [form[place] for form, place in zip(forms, chosen, strict=True)]
        times = Counter(name.casefold() for name in names)
        alike = [index for index, name in enumerate(names) if times[name.casefold()] > 1]
        if not alike:
            return names
        for index in alike:
            chosen[index] = min(chosen[index] + 1, len(forms[index]) - 1)


def _forms(path: Path, number: int) -> tuple[str, ...]:
    """Ever longer names of a file; the last is given to no other."""
    folder = f"{path.parent.name}_" if path.parent.name else ""
    ending = path.suffix.removeprefix(".")
    full = f"{folder}{path.stem}_{ending}"
    return path.stem, f"{folder}{path.stem}", f"{path.stem}_{ending}", full, f"{full}_{number}"


def pictures_in(folder: Path) -> list[Path]:
    """The picture files of a folder, not of folders in it, in natural order (2 before 10).

    Raises:
        MissingAsset: it cannot be read.
    """
    try:
        files = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise MissingAsset(f"{folder} cannot be read: {error.strerror}.") from error
    pictures = [path for path in files if path.suffix.lower() in EXTENSIONS and path.is_file()]
    return sorted(pictures, key=lambda path: natural_key(path.name))
