"""The doctor: looks at every file of a paired folder and names what is wrong or odd.

Nothing is changed and nothing raises: a set that cannot be used at all is a finding too. Kinds of
findings, by severity (``error`` keeps a set or a sample from being used):

error    missing_folder, count, missing_mask, extra_mask, mask_name (one rule pairs them),
         duplicate_stem, listed_but_absent, nothing_selected, unreadable (truncated, empty, LFS
         pointer, no image, too large, NaN, colours unlike alpha), mask_dim (0/1-encoded and the
         like: the threshold would empty it), transposed
warning  size_mismatch, exif_mismatch, maybe_inverted, mask_instances (flat levels, some below the
         threshold), mask_in_alpha, pages (of a mask)
note     junk_file, left_out, mask_not_binary, mask_colour, mask_deep, mask_empty, mask_full,
         image_alpha, pages (of an image), exif_orientation, exact_duplicate, near_duplicate
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from int_bench.core.types import Image
from int_bench.data.dataset import SampleFile
from int_bench.data.folders import PairedFolders
from int_bench.data.images import (
    Header,
    Levels,
    instances_text,
    is_dim,
    is_transposed,
    read_header,
    read_image,
    read_levels,
    share_below,
)
from int_bench.data.pairing import Finding, Severity
from int_bench.data.remarks import heard
from int_bench.errors import SampleError, UserError

_HASH_SIDE = 16
_NEAR_BITS = 10
"""Of 256: re-encoded, rescaled or recompressed copies of a photograph differ in fewer."""
_FEWEST = 3
"""Masks from which on their median says something about how they are encoded."""
_ORDER: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Group:
    """All findings of one kind; ``messages`` are in the order of the samples."""

    kind: str
    severity: Severity
    subjects: tuple[str, ...]
    messages: tuple[str, ...]


def check(dataset: PairedFolders, near_duplicates: bool = True) -> tuple[Finding, ...]:
    """Examine names, pairing, count, and every file of a data set.

    Args:
        dataset: the set; its settings (``include``, ``expected``, ``gt_threshold``) apply.
        near_duplicates: compare all pictures with each other by a perceptual hash, too.
    """
    try:
        samples, findings = dataset.paired(), list(dataset.findings())
    except UserError as error:
        return (Finding("missing_folder", dataset.name, str(error), "error"),)
    shares: list[float] = []
    prints: list[tuple[str, str, NDArray[np.bool_]]] = []
    for sample in samples:
        findings += _check_frames(sample)
        if sample.mask_path is not None:
            findings += _check_mask(dataset, sample.mask_path, shares)
        if sample.image_path is not None:
            findings += _check_image(dataset, sample, prints)
    findings += _check_polarity(dataset.name, shares)
    findings += _exact_duplicates(prints)
    findings += _near_duplicates(prints) if near_duplicates else []
    return tuple(sorted(findings, key=lambda finding: _ORDER.index(finding.severity)))


def group(findings: Iterable[Finding]) -> tuple[Group, ...]:
    """Findings by kind, errors first: what a report prints, with a count and a few examples."""
    kinds: dict[str, list[Finding]] = {}
    for finding in findings:
        kinds.setdefault(finding.kind, []).append(finding)
    groups = (
        Group(
            kind,
            alike[0].severity,
            tuple(finding.subject for finding in alike),
            tuple(finding.message for finding in alike),
        )
        for kind, alike in kinds.items()
    )
    return tuple(sorted(groups, key=lambda kind: _ORDER.index(kind.severity)))


def _check_frames(sample: SampleFile) -> Iterator[Finding]:
    """Sizes and orientations of a pair; files without a readable header are reported elsewhere."""
    if sample.image_path is None or sample.mask_path is None:
        return
    try:
        image, mask = read_header(sample.image_path), read_header(sample.mask_path)
    except SampleError:
        return
    name = sample.image_path.name
    if image.orientation != mask.orientation:
        message = f"{name} has EXIF orientation {image.orientation}, its mask {mask.orientation}"
        yield Finding("exif_mismatch", sample.id, message, "warning")
    elif image.orientation != 1:
        message = f"{name} and its mask have EXIF orientation {image.orientation}; it is applied"
        yield Finding("exif_orientation", sample.id, message, "note")
    if is_transposed(mask.displayed_size, image.displayed_size) and mask.size != image.size:
        sizes = f"{name} is {_text(image)} and its mask {_text(mask)}"
        yield Finding("transposed", sample.id, f"{sizes}: one of them is transposed", "error")
    elif mask.displayed_size not in (image.displayed_size, image.size):
        sizes = f"{name} is {_text(image)} and its mask {_text(mask)}"
        message = f"{sizes}; predictions are resized to the mask"
        yield Finding("size_mismatch", sample.id, message, "warning")


def _check_mask(dataset: PairedFolders, path: Path, shares: list[float]) -> Iterator[Finding]:
    """Readability and encoding of a mask; appends its foreground share to ``shares``."""
    threshold = dataset.gt_threshold
    try:
        with heard() as remarks:
            levels = read_levels(path, dataset.mask_depth, dataset.max_pixels)
        header = read_header(path, dataset.max_pixels)
    except SampleError as error:
        yield Finding("unreadable", path.name, str(error), "error")
        return
    for said in remarks:
        if said.kind != "range":  # goes with the note about more than 8 bits
            yield Finding(said.kind, path.name, said.text, "warning")
    if threshold > 0 and is_dim(levels, threshold):
        message = (
            f"mask {path} has no level above {levels.max():g} and the threshold is {threshold};"
            " re-encode it as 0/255 or set dataset.gt_threshold=0"
        )
        yield Finding("mask_dim", path.name, message, "error")
        return
    share = float((levels > threshold).mean())
    shares.append(share)
    if share in (0.0, 1.0):
        kind, region = ("mask_full", "everything") if share else ("mask_empty", "nothing")
        yield Finding(kind, path.name, f"mask {path.name} marks {region}", "note")
    in_alpha = any(said.kind == "mask_in_alpha" for said in remarks)
    for finding in _check_encoding(path, header, levels, dataset):
        if not (in_alpha and finding.kind == "mask_colour"):
            yield finding


def _check_encoding(
    path: Path, header: Header, levels: Levels, dataset: PairedFolders
) -> Iterator[Finding]:
    threshold = dataset.gt_threshold
    distinct = np.unique(levels)
    if share_below(levels, threshold):
        text = instances_text(path, levels, threshold)
        yield Finding("mask_instances", path.name, text, "warning")
    elif not set(distinct.tolist()) <= {0, 255}:
        message = (
            f"mask {path.name} ({header.format}) has {distinct.size} levels, not 0 and 255 alone"
        )
        yield Finding("mask_not_binary", path.name, message, "note")
    if header.deep:
        message = f"mask {path.name} has more than 8 bits; {dataset.mask_depth.text}"
        yield Finding("mask_deep", path.name, message, "note")
    elif header.mode not in ("1", "L", "P"):
        message = f"mask {path.name} has mode {header.mode}, read as luminance"
        yield Finding("mask_colour", path.name, message, "note")


def _check_image(
    dataset: PairedFolders,
    sample: SampleFile,
    prints: list[tuple[str, str, NDArray[np.bool_]]],
) -> Iterator[Finding]:
    """Readability of an image; appends its exact and its perceptual hash to ``prints``."""
    assert sample.image_path is not None
    try:
        with heard() as remarks:
            image = read_image(sample.image_path, None, dataset.image_depth, dataset.max_pixels)
    except SampleError as error:
        yield Finding("unreadable", sample.image_path.name, str(error), "error")
        return
    for said in remarks:
        if said.kind != "range":
            yield Finding(said.kind, sample.image_path.name, said.text, "note")
    exact = hashlib.sha256(image.tobytes() + repr(image.shape).encode()).hexdigest()
    prints.append((sample.id, exact, perceptual_hash(image)))


def _check_polarity(name: str, shares: Sequence[float]) -> Iterator[Finding]:
    if len(shares) >= _FEWEST and float(np.median(shares)) > 0.5:
        message = (
            f"the median mask of {name} marks {np.median(shares):.0%} of its image;"
            " foreground may be encoded as 0"
        )
        yield Finding("maybe_inverted", name, message, "warning")


def perceptual_hash(image: Image) -> NDArray[np.bool_]:
    """256 bits, (256,) bool: whether brightness rises to the right between cells of a 16 x 17 grid.

    Scaling, recompression and brightness change few of them.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_HASH_SIDE + 1, _HASH_SIDE), interpolation=cv2.INTER_AREA)
    bits: NDArray[np.bool_] = np.diff(small.astype(np.int16), axis=1).reshape(-1) > 0
    return bits


def _exact_duplicates(
    prints: Sequence[tuple[str, str, NDArray[np.bool_]]],
) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for sample_id, exact, _ in prints:
        if exact in first:
            message = f"images {first[exact]} and {sample_id} hold the same pixels"
            yield Finding("exact_duplicate", sample_id, message, "note")
        first.setdefault(exact, sample_id)


def _near_duplicates(
    prints: Sequence[tuple[str, str, NDArray[np.bool_]]],
) -> Iterator[Finding]:
    # A picture without structure has an empty hash, which says nothing.
    structured = [fingerprint for fingerprint in prints if fingerprint[2].any()]
    if not structured:
        return
    bits = np.stack([fingerprint[2] for fingerprint in structured]).astype(np.float32)
    weights = bits.sum(axis=1)
    for index in range(1, len(structured)):
        distance = weights[:index] + weights[index] - 2 * (bits[:index] @ bits[index])
        for earlier in np.flatnonzero(distance <= _NEAR_BITS):
            first_id, first_exact, _ = structured[int(earlier)]
            second_id, second_exact, _ = structured[index]
            if first_exact != second_exact:
                bits_apart = int(distance[earlier])
                message = (
                    f"images {first_id} and {second_id} look alike"
                    f" ({bits_apart} of 256 bits differ)"
                )
                yield Finding("near_duplicate", second_id, message, "note")


def _text(header: Header) -> str:
    height, width = header.displayed_size
    return f"{width}x{height}"
