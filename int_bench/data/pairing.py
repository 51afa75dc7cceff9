"""Pairing of files by id: the index of one folder, and what is wrong between two of them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from int_bench.data.dataset import SampleFile
from int_bench.errors import MissingAsset

Severity = Literal["error", "warning", "note"]
_SUFFIX = re.compile(r"(?i)_segmentation$")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or odd about a data set.

    ``kind`` is one of a fixed list (see :mod:`int_bench.data.doctor`), ``subject`` the file or id,
    ``message`` one sentence. An ``error`` keeps a set from being used.
    """

    kind: str
    subject: str
    message: str
    severity: Severity


@dataclass(frozen=True)
class Selection:
    """Which ids of a folder belong to the data set: a glob and a list, each optional."""

    include: str | None = None
    listed: frozenset[str] | None = None

    def __contains__(self, sample_id: object) -> bool:
        """True if the id is selected by both."""
        text = str(sample_id)
        if self.include is not None and not fnmatchcase(text, self.include):
            return False
        return self.listed is None or text in self.listed


@dataclass(frozen=True)
class FolderIndex:
    """The files of one folder by id; two files of one id, and files that are no images, apart."""

    folder: Path
    by_id: Mapping[str, Path]
    duplicates: Mapping[str, tuple[Path, ...]]
    junk: tuple[Path, ...]


def sample_id(path: Path) -> str:
    """The id of a file: its stem without a trailing ``_segmentation``.

    >>> sample_id(Path("ISIC_0012169_Segmentation.png"))
    'ISIC_0012169'
    """
    return _SUFFIX.sub("", path.stem)


def natural_key(text: str) -> tuple[list[tuple[int, int, str]], str]:
    """A sort key that puts ``animal-2`` before ``animal-10``.

    >>> sorted(["animal-10", "animal-2"], key=natural_key)
    ['animal-2', 'animal-10']
    """
    parts = [part for part in re.split(r"([0-9]+)", text) if part]
    key = [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
    return key, text


def index_folder(
    folder: Path, extensions: Collection[str], selection: Selection | None = None
) -> FolderIndex:
    """Index the selected files of a folder (not its sub-folders) by id, in natural order.

    Raises:
        MissingAsset: the folder is missing, cannot be listed, or holds no file with these
            extensions.
    """
    try:
        entries = sorted(folder.iterdir(), key=lambda path: natural_key(path.name))
    except OSError as error:
        raise MissingAsset(f"folder {folder} cannot be listed: {error.strerror}.") from error
    usable = [path for path in entries if _is_usable(path, extensions)]
    if not usable:
        wanted = ", ".join(sorted(extensions))
        raise MissingAsset(f"folder {folder} holds no image ({wanted}).")
    groups: dict[str, list[Path]] = {}
    for path in usable:
        if selection is None or sample_id(path) in selection:
            groups.setdefault(sample_id(path), []).append(path)
    by_id = {key: groups[key][0] for key in sorted(groups, key=natural_key)}
    duplicates = {key: tuple(paths) for key, paths in groups.items() if len(paths) > 1}
    usable_set = set(usable)
    junk = tuple(path for path in entries if path.is_file() and path not in usable_set)
    return FolderIndex(folder, by_id, duplicates, junk)


def pair(
    images: FolderIndex | None, masks: FolderIndex | None, selection: Selection
) -> tuple[list[SampleFile], list[Finding]]:
    """Pair two folders by id; either may be absent. Unpaired files are findings, never samples."""
    present = [index for index in (images, masks) if index is not None]
    findings = [finding for index in present for finding in index_findings(index)]
    common = set(present[0].by_id).intersection(*(index.by_id for index in present))
    if images is not None and masks is not None:
        findings += _unpaired("missing_mask", images, masks)
        findings += _unpaired("extra_mask", masks, images)
    findings += _unlisted(selection, [key for index in present for key in index.by_id])
    if not common and not findings:
        findings.append(_nothing_selected(present[0], selection))
    samples = [
        SampleFile(
            key,
            None if images is None else images.by_id[key],
            None if masks is None else masks.by_id[key],
        )
        for key in sorted(common, key=natural_key)
    ]
    return samples, findings


def closest(name: str, others: Iterable[str]) -> str | None:
    """The most similar of the other names, what a misnamed file meant; None if none is near."""
    folded = {other.casefold(): other for other in others}
    found = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.8)
    return folded[found[0]] if found else None


def _is_usable(path: Path, extensions: Collection[str]) -> bool:
    hidden = path.name.startswith(".")
    return not hidden and path.suffix.lower() in extensions and path.is_file()


def index_findings(index: FolderIndex) -> list[Finding]:
    """Two files of one id, and files that are no images."""
    findings = [
        Finding(
            "duplicate_stem",
            key,
            f"{' and '.join(path.name for path in paths)} in {index.folder} have the same id {key};"
            " keep one of them",
            "error",
        )
        for key, paths in index.duplicates.items()
    ]
    findings += [
        Finding("junk_file", str(path), f"{path} is not an image and is ignored", "note")
        for path in index.junk
    ]
    return findings


def _unpaired(kind: str, index: FolderIndex, other: FolderIndex) -> list[Finding]:
    what, lacks = ("image", "mask") if kind == "missing_mask" else ("mask", "image")
    lonely = [key for key in index.by_id if key not in other.by_id]
    candidates = [key for key in other.by_id if key not in index.by_id]
    findings = []
    for position, key in enumerate(lonely):
        # Looking for a similar name costs a scan of the others: worth it for the first few only.
        meant = closest(key, candidates) if position < 5 else None
        hint = f" (is it {other.by_id[meant].name}?)" if meant else ""
        message = f"{what} {index.by_id[key]} has no {lacks} {key}.* in {other.folder}{hint}"
        findings.append(Finding(kind, key, message, "error"))
    return findings


def _unlisted(selection: Selection, present: Sequence[str]) -> list[Finding]:
    if selection.listed is None:
        return []
    absent = sorted(selection.listed - set(present), key=natural_key)
    return [
        Finding("listed_but_absent", key, f"listed sample {key} has no file", "error")
        for key in absent
    ]


def _nothing_selected(index: FolderIndex, selection: Selection) -> Finding:
    message = f"no file in {index.folder} matches dataset.include={selection.include}"
    return Finding("nothing_selected", str(index.folder), message, "error")
