"""The doctor for predictions: what is wrong or odd about a folder of maps, file by file.

Kinds of findings, by severity (``error``: the sample cannot be scored as it is):

error    missing_folder, missing_map, map_name (one rule matches them), duplicate_stem, unreadable,
         transposed
warning  extra_map (no ground truth of this name), size_mismatch (it will be resized),
         mask_in_alpha, pages
note     junk_file, left_out, zero_one (0/1-encoded, read as a hard mask), constant, part_range (its
         levels do not span 0..255, it will be stretched), colour (read as luminance), deep (more
         than 8 bits)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from int_bench.data.dataset import SampleFile, Truths
from int_bench.data.depth import Depth, depth_of
from int_bench.data.images import (
    MAP_EXTENSIONS,
    Map,
    is_transposed,
    read_header,
    read_map,
    shape_of,
)
from int_bench.data.pairing import (
    Finding,
    FolderIndex,
    index_findings,
    index_folder,
    misnamed,
    nearest_id,
)
from int_bench.data.remarks import heard
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
    depth = depth_of(index.by_id.values())
    for sample in samples:
        path = index.by_id.get(sample.id)
        if path is not None:
            findings += _check_map(truths, sample, path, depth)
    return tuple(findings)


def _check_names(samples: Sequence[SampleFile], index: FolderIndex) -> Iterator[Finding]:
    wanted = {sample.id for sample in samples}
    extra = [key for key in index.by_id if key not in wanted]
    text = misnamed([sample.id for sample in samples if sample.id not in index.by_id], extra)
    if text:
        yield Finding(
            "map_name", str(index.folder), f"predictions in {index.folder} {text}", "error"
        )
    for sample in samples:
        if sample.id not in index.by_id:
            meant = nearest_id(sample.id, extra)
            hint = f"; is it {index.by_id[meant].name}?" if meant else ""
            message = f"there is no prediction {sample.id}.* in {index.folder}{hint}"
            yield Finding("missing_map", sample.id, message, "error")
    for key in extra:
        message = f"prediction {index.by_id[key]} has no ground truth"
        yield Finding("extra_map", key, message, "warning")


def _check_map(truths: Truths, sample: SampleFile, path: Path, depth: Depth) -> Iterator[Finding]:
    try:
        with heard() as remarks:
            prediction = read_map(path, depth)
        truth = truths.load_mask(sample)
    except SampleError as error:
        yield Finding("unreadable", path.name, str(error), "error")
        return
    for said in remarks:
        if said.kind != "range":
            yield Finding(said.kind, path.name, said.text, "warning")
        elif path.suffix.lower() == ".npy" and (depth.real or 1.0) > 1.0:
            yield Finding("deep", path.name, said.text, "note")
    sizes = [f"{shape[1]}x{shape[0]}" for shape in (prediction.shape, truth.shape)]
    if is_transposed(shape_of(prediction), shape_of(truth)):
        message = f"{path.name} is {sizes[0]}, its ground truth {sizes[1]}: it is transposed"
        yield Finding("transposed", path.name, message, "error")
    elif prediction.shape != truth.shape:
        message = f"{path.name} is {sizes[0]}, its ground truth {sizes[1]}; it will be resized"
        yield Finding("size_mismatch", path.name, message, "warning")
    yield from _check_levels(path, prediction)
    if path.suffix.lower() != ".npy" and all(said.kind != "mask_in_alpha" for said in remarks):
        yield from _check_mode(path, depth)


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


def _check_mode(path: Path, depth: Depth) -> Iterator[Finding]:
    header = read_header(path)
    mode = header.mode
    if header.deep:
        message = f"{path.name} has more than 8 bits; {depth.text}"
        yield Finding("deep", path.name, message, "note")
    elif mode not in ("1", "L", "P"):
        message = f"{path.name} has mode {mode}, read as luminance"
        yield Finding("colour", path.name, message, "note")
