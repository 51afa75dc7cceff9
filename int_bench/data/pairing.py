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
from int_bench.data.decoding import EXTENSIONS
from int_bench.errors import MissingAsset

Severity = Literal["error", "warning", "note"]
_OTHER_IMAGES = re.compile(
    r"(?i)\.(avif|hei[cf]|jp2|jxl|dds|tga|p[gbpn]m|exr|hdr|psd|svg|np[yz]|mat)$"
)
_SUFFIX = re.compile(
    r"(?i)(?<=.)(?:[_-](?:segmentation|seg|masks?|gt|ground_?truth|lesion|labels?))+$"
)
"""Endings of the names of mask files in releases; they are no part of an id."""
_LEFT_OUT = re.compile(r"(?i)_superpixels$")
"""ISIC 2017 keeps the superpixels of its second task beside the images of the first."""


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
    """The files of one folder by id; two files of one id, and files that are no images, apart.

    ``left_out`` are images of another task that a release keeps in the same folder.
    """

    folder: Path
    by_id: Mapping[str, Path]
    duplicates: Mapping[str, tuple[Path, ...]]
    junk: tuple[Path, ...]
    left_out: tuple[Path, ...] = ()


def sample_id(path: Path, pattern: str = "*") -> str:
    """The id of a file: what ``*`` stands for in its stem, without a common ending of masks.

    >>> sample_id(Path("ISIC_0012169_Segmentation.png")), sample_id(Path("IMD003-lesion.bmp"))
    ('ISIC_0012169', 'IMD003')
    >>> sample_id(Path("drawn_7_by_ann.png"), "drawn_*_by_ann")
    '7'
    """
    before, _, after = pattern.partition("*")
    stem = path.stem
    if pattern != "*" and len(stem) > len(before + after) and fnmatchcase(stem, pattern):
        return stem[len(before) : len(stem) - len(after)]
    return _SUFFIX.sub("", stem)


def common_pattern(ids: Sequence[str], stems: Iterable[str]) -> str | None:
    """How others are named after ids: one pattern for all of them, ``*`` for the id; or None.

    One id alone makes no rule.

    >>> common_pattern(["1", "2"], ["2_by_ann", "1_by_ann", "3_by_ann"])
    '*_by_ann'
    """
    names = set(stems)
    if len(ids) < 2:
        return None
    for name in sorted(names):
        pattern = name.replace(ids[0], "*", 1)
        differs = name != ids[0] and pattern != name and pattern.count("*") == 1
        if differs and all(pattern.replace("*", key) in names for key in ids):
            return pattern
    return None


def natural_key(text: str) -> tuple[list[tuple[int, int, str]], str]:
    """A sort key that puts ``animal-2`` before ``animal-10``.

    >>> sorted(["animal-10", "animal-2"], key=natural_key)
    ['animal-2', 'animal-10']
    """
    parts = [part for part in re.split(r"([0-9]+)", text) if part]
    key = [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
    return key, text


def index_folder(
    folder: Path,
    extensions: Collection[str],
    selection: Selection | None = None,
    pattern: str = "*",
) -> FolderIndex:
    """Index the selected files of a folder (not its sub-folders) by id, in natural order.

    Args:
        folder: where they are.
        extensions: which files count, lower case with the dot.
        selection: which ids count; all if None.
        pattern: how a file is named after its id, see :func:`sample_id`.

    Raises:
        MissingAsset: the folder is missing, cannot be listed, or holds no file with these
            extensions.
    """
    try:
        entries = sorted(folder.iterdir(), key=lambda path: natural_key(path.name))
    except OSError as error:
        raise MissingAsset(f"Folder {folder} cannot be listed: {error.strerror}.") from error
    images = [path for path in entries if _is_usable(path, extensions)]
    left_out = tuple(path for path in images if _LEFT_OUT.search(path.stem))
    usable = [path for path in images if path not in left_out]
    if not usable:
        wanted = ", ".join(sorted(extensions))
        raise MissingAsset(f"Folder {folder} holds no image ({wanted}).")
    groups: dict[str, list[Path]] = {}
    for path in usable:
        key = sample_id(path, pattern)
        if selection is None or key in selection:
            groups.setdefault(key, []).append(path)
    by_id = {key: groups[key][0] for key in sorted(groups, key=natural_key)}
    duplicates = {key: tuple(paths) for key, paths in groups.items() if len(paths) > 1}
    usable_set = set(images)
    junk = tuple(path for path in entries if path.is_file() and path not in usable_set)
    return FolderIndex(folder, by_id, duplicates, junk, left_out)


def pair(
    images: FolderIndex | None, masks: FolderIndex | None, selection: Selection
) -> tuple[list[SampleFile], list[Finding]]:
    """Pair two folders by id; either may be absent. Unpaired files are findings, never samples."""
    present = [index for index in (images, masks) if index is not None]
    findings = [finding for index in present for finding in index_findings(index)]
    common = set(present[0].by_id).intersection(*(index.by_id for index in present))
    if images is not None and masks is not None:
        findings += _misnamed(images, masks)
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


def nearest_id(name: str, candidates: Iterable[str]) -> str | None:
    """The most similar of the other names, what a misnamed file meant; None if none is near."""
    folded = {candidate.casefold(): candidate for candidate in candidates}
    matches = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.8)
    return folded[matches[0]] if matches else None


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
        Finding(
            "junk_file", str(path), f"{path} is not an image and is ignored{_read(path)}", "note"
        )
        for path in index.junk
    ]
    if index.left_out:
        count = len(index.left_out)
        message = f"{count} *_superpixels files of another task in {index.folder} are left out"
        findings.append(Finding("left_out", str(index.folder), message, "note"))
    return findings


def _read(path: Path) -> str:
    """What is accepted, for a file that some other program takes for an image."""
    accepted = ", ".join(sorted(EXTENSIONS))
    return f" (accepted: {accepted})" if _OTHER_IMAGES.search(path.name) else ""


def misnamed(ids: Sequence[str], stems: Sequence[str]) -> str | None:
    """What to do if others are all named after the ids by one rule; None if they are not."""
    pattern = common_pattern(ids, stems)
    return f"are named {pattern} after their ground truth: rename them" if pattern else None


def _misnamed(images: FolderIndex, masks: FolderIndex) -> list[Finding]:
    """The one rule by which the masks of all images without a mask seem to be named."""
    lonely = [key for key in images.by_id if key not in masks.by_id]
    stems = {path.stem: path for key, path in masks.by_id.items() if key not in images.by_id}
    pattern = common_pattern(lonely, stems)
    if pattern is None:
        return []
    message = (
        f"masks in {masks.folder} are named {pattern} after their images"
        f" ({stems[pattern.replace('*', lonely[0])].name} of {lonely[0]}): set"
        f" dataset.mask_name='{pattern}'"
    )
    return [Finding("mask_name", str(masks.folder), message, "error")]


def _unpaired(kind: str, index: FolderIndex, partners: FolderIndex) -> list[Finding]:
    part, lacks = ("image", "mask") if kind == "missing_mask" else ("mask", "image")
    lonely = [key for key in index.by_id if key not in partners.by_id]
    candidates = [key for key in partners.by_id if key not in index.by_id]
    findings = []
    for position, key in enumerate(lonely):
        # Looking for a similar name costs a scan of the others: worth it for the first few only.
        meant = nearest_id(key, candidates) if position < 5 else None
        hint = f" (is it {partners.by_id[meant].name}?)" if meant else ""
        message = f"{part} {index.by_id[key]} has no {lacks} {key}.* in {partners.folder}{hint}"
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
