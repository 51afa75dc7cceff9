"""The doctor for predictions: what is wrong or odd about a folder of maps, file by file.

Kinds of findings, by severity (``error``: the sample cannot be scored as it is):

error    missing_folder, missing_map, duplicate_stem, unreadable
warning  extra_map (no ground truth of this name), size_mismatch (it will be resized)
note     junk_file, zero_one (0/1-encoded, read as a hard mask), constant, part_range (its levels
         do not span 0..255, it will be stretched), colour (read as luminance), deep (16 bits)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from int_bench.data.dataset import SampleFile, Truths
from int_bench.data.images import MAP_EXTENSIONS, Map, read_header, read_map
from int_bench.data.pairing import Finding, FolderIndex, closest, index_findings, index_folder
from int_bench.errors import MissingAsset, SampleError


def check_maps(truths: Truths, folder: Path) -> tuple[Finding, ...]:
    """Examine a folder of predictions (images of any depth, or ``.npy``) against a data set.

    Raises:
        MissingAsset: the data set itself cannot be used.
    """
    samples = truths.samples()
    try:
        index = index_folder(folder, MAP_EXTENSIONS)
    except MissingAsset as error:
        return (Finding("missing_folder", str(folder), str(error), "error"),)
    findings = [*index_findings(index), *_check_names(samples, index)]
    for sample in samples:
        path = index.by_id.get(sample.id)
        if path is not None:
            findings += _check_map(truths, sample, path)
    return tuple(findings)


def _check_names(samples: Sequence[SampleFile], index: FolderIndex) -> Iterator[Finding]:
    wanted = {sample.id for sample in samples}
    extra = [key for key in index.by_id if key not in wanted]
    for sample in samples:
        if sample.id not in index.by_id:
            meant = closest(sample.id, extra)
            hint = f"; is it {index.by_id[meant].name}?" if meant else ""
            message = f"there is no prediction {sample.id}.* in {index.folder}{hint}"
            yield Finding("missing_map", sample.id, message, "error")
    for key in extra:
        message = f"prediction {index.by_id[key]} has no ground truth"
        yield Finding("extra_map", key, message, "warning")


def _check_map(truths: Truths, sample: SampleFile, path: Path) -> Iterator[Finding]:
    try:
        prediction = read_map(path)
        truth = truths.load_mask(sample)
    except SampleError as error:
        yield Finding("unreadable", path.name, str(error), "error")
        return
    if prediction.shape != truth.shape:
        sizes = [f"{shape[1]}x{shape[0]}" for shape in (prediction.shape, truth.shape)]
        message = f"{path.name} is {sizes[0]}, its ground truth {sizes[1]}; it will be resized"
        yield Finding("size_mismatch", path.name, message, "warning")
    yield from _check_levels(path, prediction)
    if path.suffix.lower() != ".npy":
        yield from _check_mode(path)


def _check_levels(path: Path, prediction: Map) -> Iterator[Finding]:
    if prediction.dtype == np.bool_ and path.suffix.lower() != ".npy":
        message = f"{path.name} is encoded 0/1; it is read as a hard mask"
        yield Finding("zero_one", path.name, message, "note")
    low, high = prediction.min(), prediction.max()
    if low == high:
        yield Finding("constant", path.name, f"{path.name} is {low:g} everywhere", "note")
    elif prediction.dtype != np.bool_:
        full = 255 if prediction.dtype == np.uint8 else 1
        if low > 0 or high < full:
            message = f"{path.name} has levels {low:g} to {high:g} of {full}; it will be stretched"
            yield Finding("part_range", path.name, message, "note")


def _check_mode(path: Path) -> Iterator[Finding]:
    mode = read_header(path).mode
    if mode.startswith(("I", "F")):
        yield Finding("deep", path.name, f"{path.name} has mode {mode}, more than 8 bits", "note")
    elif mode not in ("1", "L", "P"):
        message = f"{path.name} has mode {mode}, read as luminance"
        yield Finding("colour", path.name, message, "note")
