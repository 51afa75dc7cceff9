"""Bags of proposals on disk: what a segmenter proposes for each object, computed once.

A folder with ``about.json``, what decided them, and ``bags.jsonl``, one line an image in the order
of the data set. Lines are added in blocks, each flushed as a whole, so that a sitting that was
killed is gone on with bit for bit. Masks are run lengths, as uncompressed in COCO: column by
column, the first run being background.
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from int_bench.core.files import flush, make_folder, read_plain, write_whole
from int_bench.core.types import Box, HardMask
from int_bench.errors import MissingAsset, UsageError

FORMAT = 1
BLOCK = 8
"""Images whose lines are added together."""
ABOUT_FILE, LINES_FILE = "about.json", "bags.jsonl"


@dataclass(frozen=True)
class StoredBag:
    """An object and its proposals.

    Attributes:
        id: of the object.
        category: its class, by name.
        point: x, y in pixels.
        truth: the true box, for measures and for what the authors' code takes from it.
        runs: of each proposal's mask; four bytes each once they are read, as COCO has some
            thousand million of them.
        scores: their predicted IoUs.
    """

    id: str
    category: str
    point: tuple[float, float]
    truth: Box
    runs: tuple[Sequence[int], ...]
    scores: tuple[float, ...]

    def masks(self, size: tuple[int, int]) -> list[HardMask]:
        """The proposals, (H, W) bool of ``size`` each."""
        return [decode_runs(runs, size) for runs in self.runs]

    def boxes(self, height: int) -> list[Box | None]:
        """The tight box of each proposal on an image of that height; None of an empty one."""
        return [box_of_runs(runs, height) for runs in self.runs]


@dataclass(frozen=True)
class ImageBags:
    """The objects of one image.

    Attributes:
        sample: the id of a sample that shows the image.
        size: (height, width).
        bags: of its objects; none where the image could not be read.
        problem: why it could not be read.
    """

    sample: str
    size: tuple[int, int]
    bags: tuple[StoredBag, ...]
    problem: str = ""


class BagStore:
    """The bags of one data set.

    Args:
        folder: made where it is not there.
        about: what decides the bags, JSON-ready.
        images: that the data set has; None where that is not known.

    Raises:
        UsageError: the folder holds bags of something else.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], images: int | None = None) -> None:
        self.folder = folder
        self._images = images
        self._lines = folder / LINES_FILE
        described = f"{json.dumps({'format': FORMAT, **about}, indent=2)}\n".encode()
        make_folder(folder)
        if not (folder / ABOUT_FILE).is_file():
            write_whole(folder / ABOUT_FILE, described)
        elif read_plain(folder / ABOUT_FILE) != described:
            raise UsageError(
                f"{folder} holds bags of another data set, segmenter or options; choose another "
                "folder, or remove this one."
            )
        self.count = self._cut()

    def add(self, images: Sequence[ImageBags]) -> None:
        """Add a block of lines, on the disk when this returns."""
        with self._lines.open("ab") as file:
            file.write(b"".join(_line(image) for image in images))
        flush([self._lines])
        self.count += len(images)

    def __iter__(self) -> Iterator[ImageBags]:
        """All images, in their order.

        Raises:
            MissingAsset: a line is damaged.
        """
        return read_bags(self.folder)

    def _cut(self) -> int:
        """Whole blocks that are there; what a kill has left behind them is dropped."""
        if not self._lines.is_file():
            return 0
        ends = [0]
        with self._lines.open("rb") as file:
            ends.extend(file.tell() for line in iter(file.readline, b"") if line.endswith(b"\n"))
            size = file.seek(0, os.SEEK_END)
        whole = len(ends) - 1
        if size != ends[-1] or whole != (self._images or whole):
            whole -= whole % BLOCK
            os.truncate(self._lines, ends[whole])
        return whole


def read_bags(folder: Path) -> Iterator[ImageBags]:
    """All images of a store, in their order.

    Raises:
        MissingAsset: there is no store, or a line is damaged; the line is named.
    """
    path = folder / LINES_FILE
    if not path.is_file():
        raise MissingAsset(
            f"There are no bags in {folder}; next step: make them with `int-bench propose`."
        )
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield _image(json.loads(line))
            except (ValueError, KeyError, TypeError, OverflowError) as error:
                raise MissingAsset(
                    f"{path}: line {number} is damaged; remove it and all below it, and make the "
                    "rest again with the same `int-bench propose`."
                ) from error


def decode_runs(runs: Sequence[int], size: tuple[int, int]) -> HardMask:
    """The mask, (H, W) bool of ``size``, that `core.geometry.encode_runs` was given.

    Raises:
        ValueError: the runs do not sum up to the size.
    """
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(size, order="F")


def box_of_runs(runs: Sequence[int], height: int) -> Box | None:
    """The tight box of a mask by its runs, which are not decoded; None where it is empty.

    >>> box_of_runs((1, 3), 2)  # the upper left of four pixels is background
    (0.0, 0.0, 2.0, 2.0)
    >>> box_of_runs((3, 1), 2)
    (1.0, 1.0, 2.0, 2.0)
    """
    ends = np.cumsum(runs)
    first, last = ends[0:-1:2], ends[1::2] - 1  # pixels of each run of the object, both included
    there = last >= first
    first, last = first[there], last[there]
    if not first.size:
        return None
    columns = first // height, last // height
    if (columns[0] != columns[1]).any():  # a run over the edge of a column fills both its ends
        top, bottom = 0, height - 1
    else:
        top, bottom = int((first % height).min()), int((last % height).max())
    return float(columns[0].min()), float(top), float(columns[1].max() + 1), float(bottom + 1)


def _line(image: ImageBags) -> bytes:
    bags = [
        {
            "id": bag.id,
            "category": bag.category,
            "point": bag.point,
            "truth": bag.truth,
            "runs": [list(runs) for runs in bag.runs],
            "scores": bag.scores,
        }
        for bag in image.bags
    ]
    line = {"sample": image.sample, "size": image.size, "bags": bags, "problem": image.problem}
    return f"{json.dumps(line, separators=(',', ':'))}\n".encode()


def _image(line: Mapping[str, Any]) -> ImageBags:
    height, width = (int(side) for side in line["size"])
    bags = tuple(
        StoredBag(
            str(bag["id"]),
            str(bag["category"]),
            (float(bag["point"][0]), float(bag["point"][1])),
            _box(bag["truth"]),
            tuple(_runs(runs, height * width) for runs in bag["runs"]),
            tuple(float(score) for score in bag["scores"]),
        )
        for bag in line["bags"]
    )
    return ImageBags(str(line["sample"]), (height, width), bags, str(line["problem"]))


def _runs(numbers: Sequence[int], pixels: int) -> Sequence[int]:
    runs = array("I", numbers)
    if sum(runs) != pixels:
        raise ValueError(f"runs of {sum(runs)} pixels, not {pixels}")
    return runs


def _box(values: Sequence[float]) -> Box:
    x0, y0, x1, y1 = (float(value) for value in values)
    return x0, y0, x1, y1
