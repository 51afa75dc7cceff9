"""Paired folders: any data set that is a folder of images beside a folder of masks.

Files are paired by stem, never by position; common endings of masks (``_mask``, ``_gt``,
``_segmentation``, any case) do not count, another rule of names is ``mask_name``.
Only image extensions are looked at, so that ``Thumbs.db`` or ``LICENSE.txt`` cannot shift a pair.
All that is wrong with the pairing is named, and refused before any model is loaded: a benchmark
number over a silently smaller set is worse than no number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from int_bench.core.files import expanded
from int_bench.core.limits import Count, Within
from int_bench.core.types import HardMask, Image
from int_bench.data.dataset import SampleFile
from int_bench.data.depth import Depth, depth_of
from int_bench.data.images import EXTENSIONS, MAX_PIXELS, read_image, read_mask
from int_bench.data.pairing import (
    Finding,
    FolderIndex,
    Selection,
    index_folder,
    pair,
    sample_id,
)
from int_bench.errors import MissingAsset, SampleError, UsageError


@dataclass(frozen=True)
class PairedFolders:
    """A data set in two folders.

    ``images`` and ``masks`` are candidate sub-folders of ``root`` (or absolute paths); the first
    that exists is taken, so that one configuration covers the layouts in which a set is passed
    around. Without ``masks`` there is no ground truth; without ``images`` there is only ground
    truth, which is what scoring somebody's maps needs.

    Attributes:
        name: the set's name in tables and run folders.
        images: candidate image folders, best known layout first.
        masks: candidate mask folders, in the same order.
        root: where the candidates are looked for.
        expected: the published number of pairs; another number is refused. None accepts any.
        include: a glob over ids, e.g. ``COD10K-CAM-*``; everything else is left out.
        list_file: a text file with one id (or file name) a line; everything else is left out.
        extra_masks: masks without an image are normal (CAMO keeps the masks of both splits
            together).
        gt_threshold: a mask pixel is foreground above this level (0..255).
        mask_name: how mask files are named after their ids, ``*`` for the id; endings that are
            common in releases (``_segmentation``, ``_mask``, ``_gt``, ``_lesion``, ...) need none.
        max_pixels: files of more pixels are refused, by name, before they are decoded.
        task, models: the task and the model preset that the set is run with by default.
        licence, source, fetch: terms, where it comes from, and how to get it, for the user to read.
        archives: what its owners offer for direct download (see :mod:`int_bench.data.fetching`).
    """

    name: str
    images: str | Sequence[str] | None
    masks: str | Sequence[str] | None = None
    root: str = "."
    expected: Count | None = None
    include: str | None = None
    list_file: str | None = None
    extra_masks: bool = False
    gt_threshold: Annotated[int, Within(0, 254)] = 128
    mask_name: str = "*"
    max_pixels: Count = MAX_PIXELS
    task: str = ""
    models: str = ""
    licence: str = ""
    source: str = ""
    fetch: str = ""
    archives: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        """Refuse settings that cannot work.

        Raises:
            UsageError: no folder is named, or the masks' names hold no id.
        """
        if not self.images and not self.masks:
            raise UsageError(f"Dataset {self.name} names no folder: set dataset.images=DIR.")
        if self.mask_name.count("*") != 1 or set(self.mask_name) & set("?[]/"):
            raise UsageError(
                f"dataset.mask_name is {self.mask_name!r}; it must hold one * for the id, such as"
                " '*_annotation'."
            )

    @cached_property
    def image_folder(self) -> Path | None:
        """The folder of images that was found, or None if the set has none.

        Raises:
            MissingAsset: none of the candidates exists.
        """
        return self._find("images", self.images) if self.images else None

    @cached_property
    def mask_folder(self) -> Path | None:
        """The folder of masks that was found, or None if the set has none.

        Raises:
            MissingAsset: none of the candidates exists.
        """
        return self._find("masks", self.masks) if self.masks else None

    @cached_property
    def _scan(self) -> tuple[tuple[SampleFile, ...], tuple[Finding, ...]]:
        selection = Selection(self.include, self._listed())
        images = self._index(self.image_folder, selection, "*")
        masks = self._index(self.mask_folder, selection, self.mask_name)
        samples, findings = pair(images, masks, selection)
        if self.extra_masks:
            findings = [finding for finding in findings if finding.kind != "extra_mask"]
        return tuple(samples), tuple(findings) + self._count_findings(len(samples))

    @cached_property
    def image_depth(self) -> Depth:
        """White of the images of more than 8 bits, decided over all of them."""
        return depth_of([s.image_path for s in self._scan[0] if s.image_path], self.max_pixels)

    @cached_property
    def mask_depth(self) -> Depth:
        """White of the masks of more than 8 bits, decided over all of them."""
        return depth_of([s.mask_path for s in self._scan[0] if s.mask_path], self.max_pixels)

    def __getstate__(self) -> dict[str, Any]:
        """What travels to another process: the masks have been looked at once for all of them."""
        if "_scan" in vars(self):
            _ = self.mask_depth
        return dict(vars(self))

    def findings(self) -> tuple[Finding, ...]:
        """What is wrong or odd about names, pairing and count; no pixel is read.

        Raises:
            MissingAsset: a folder is missing.
        """
        return self._scan[1]

    def paired(self) -> tuple[SampleFile, ...]:
        """All pairs there are, in natural order, whatever else is wrong.

        Raises:
            MissingAsset: a folder is missing or empty.
        """
        return self._scan[0]

    def samples(self) -> tuple[SampleFile, ...]:
        """All pairs in natural order of their ids (2 before 10).

        Raises:
            MissingAsset: a folder is missing or empty, files cannot be paired one to one, or their
                number is not the published one.
        """
        samples, findings = self._scan
        errors = [finding for finding in findings if finding.severity == "error"]
        if errors:
            further = f" (and {len(errors) - 1} more; `int-bench data check` lists all)"
            more = further if len(errors) > 1 else ""
            raise MissingAsset(f"Dataset {self.name}: {errors[0].message}{more}.")
        return samples

    def load_image(self, sample: SampleFile) -> Image:
        """The picture, (H, W, 3) uint8 RGB, in the frame of its mask.

        Raises:
            SampleError: the file cannot be decoded.
        """
        if sample.image_path is None:
            raise SampleError(f"Sample {sample.id} of dataset {self.name} has no image.")
        return read_image(sample.image_path, sample.mask_path, self.image_depth, self.max_pixels)

    def load_mask(self, sample: SampleFile) -> HardMask:
        """The ground truth, (H, W) bool; its size may differ from the image's.

        Raises:
            SampleError: there is no mask, or it cannot be decoded.
        """
        if sample.mask_path is None:
            raise SampleError(f"Sample {sample.id} of dataset {self.name} has no ground truth.")
        return read_mask(sample.mask_path, self.gt_threshold, self.mask_depth, self.max_pixels)

    def manifest(self, contents: bool = False) -> str:
        """Hash (hex sha256) of all ids, file names and sizes; of the files' bytes too on request.

        Raises:
            MissingAsset: see :meth:`samples`.
        """
        lines = [
            [sample.id, *(_fingerprint(path, contents) for path in sample.paths)]
            for sample in self.samples()
        ]
        text = json.dumps(lines)
        return hashlib.sha256(text.encode()).hexdigest()

    def _find(self, part: str, candidates: str | Sequence[str]) -> Path:
        names = [candidates] if isinstance(candidates, str) else list(candidates)
        root = expanded(self.root)
        for name in names:
            folder = root / expanded(name)
            if folder.is_dir():
                return folder
        tried = ", ".join(names) if len(names) > 1 else str(root / names[0])
        where = f" under {root.absolute()}" if len(names) > 1 else ""
        hint = self.fetch or f"set dataset.{part}=DIR"
        message = f"Dataset {self.name}: no folder of {part}{where}: {tried} not found; {hint}."
        raise MissingAsset(message)

    def _index(self, folder: Path | None, selection: Selection, pattern: str) -> FolderIndex | None:
        return None if folder is None else index_folder(folder, EXTENSIONS, selection, pattern)

    def _listed(self) -> frozenset[str] | None:
        if self.list_file is None:
            return None
        path = expanded(self.list_file)
        if not path.is_file():
            raise MissingAsset(f"Dataset {self.name}: list file {path} not found.")
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8").split("\n")]
        except UnicodeDecodeError as error:
            raise MissingAsset(f"Dataset {self.name}: list file {path} is not text.") from error
        listed = frozenset(_listed_id(line) for line in lines if line and not line.startswith("#"))
        if not listed:
            raise MissingAsset(f"Dataset {self.name}: list file {path} names no sample.")
        return listed

    def _count_findings(self, count: int) -> tuple[Finding, ...]:
        if self.expected is None or count == self.expected:
            return ()
        message = (
            f"{count} samples in {self.image_folder or self.mask_folder}, {self.expected} expected;"
            " complete the set, or set dataset.expected=null to use it as it is"
        )
        return (Finding("count", self.name, message, "error"),)


def _listed_id(line: str) -> str:
    from_name = Path(line)
    is_image = from_name.suffix.lower() in EXTENSIONS
    # The ending of an id such as v1.5 is no extension.
    return sample_id(from_name if is_image else Path(f"{line}.png"))


def _fingerprint(path: Path | None, contents: bool) -> tuple[str, int, str] | None:
    if path is None:
        return None
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if contents else ""
    return path.name, path.stat().st_size, digest
