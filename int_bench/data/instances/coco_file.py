"""An annotation file in COCO's format, looked at item by item.

What is wrong with an entry is a sentence that names it. Polygons and run lengths are kept as text
until they are asked for: the 860,001 objects of COCO's training split take half a gigabyte so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from int_bench.core.typed import Malformed, Node, parsed
from int_bench.data.instances.long_json import items, read_text


@dataclass(frozen=True)
class Picture:
    """An image that the file names: its id, its file, (height, width) in pixels."""

    id: str
    file_name: str
    size: tuple[int, int]


@dataclass(frozen=True)
class Shape:
    """An annotation: the id of its sample, its category by name, and its JSON."""

    id: str
    category: str
    text: str


@dataclass
class Annotations:
    """What an annotation file holds.

    Attributes:
        categories: names in the order of their numbers.
        pictures: in the order of the file.
        objects: of each image by its id, in the order of the file; crowds are not among them.
        crowds: of each image: regions of many objects, no truth for anybody.
        faults: what is wrong with entries that cannot be used, in the order of the file.
        digest: sha256 of the file, in hexadecimal digits.
    """

    categories: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    objects: dict[str, list[Shape]] = field(default_factory=dict)
    crowds: dict[str, list[Shape]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    digest: str = ""


class _Row(NamedTuple):
    """An annotation before images and categories are known, which may follow it."""

    number: int
    image: int
    category: int
    crowd: bool
    text: str


def read_annotations(path: Path, most: int) -> Annotations:
    """Read an annotation file.

    Args:
        path: the JSON file.
        most: bytes; a longer one is refused.

    Raises:
        Malformed: it is longer, no JSON, or has no images, categories or annotations.
        OSError: it cannot be read.
    """
    text = read_text(path, most)
    read = Annotations(digest=hashlib.sha256(text.encode()).hexdigest())
    names, pictures, rows = dict[int, str](), dict[int, Picture](), list[_Row]()
    for key, value, source in items(text):
        try:
            if key == "categories":
                node = Node(value, "a category")
                names[node.whole("id")] = node.text("name")
            elif key == "images":
                node = Node(value, "an image")
                _put(pictures, node.whole("id"), _picture(node))
            elif key == "annotations":
                rows.append(_row(Node(value, "an annotation"), source))
        except Malformed as error:
            read.faults.append(f"{error}: {source[:60]}")
    for what, there in (("images", pictures), ("categories", names), ("annotations", rows)):
        if not there:
            first = f" ({read.faults[0]})" if read.faults else ""
            raise Malformed(f"it has no {what}{first}")
    read.categories = tuple(names[number] for number in sorted(names))
    read.pictures = tuple(pictures.values())
    read.faults += _shared(read.pictures)
    _settle(read, rows, pictures, names)
    return read


def _settle(
    read: Annotations, rows: list[_Row], pictures: dict[int, Picture], names: dict[int, str]
) -> None:
    """Give each annotation to its image."""
    numbers = set[int]()
    for row in rows:
        picture, category = pictures.get(row.image), names.get(row.category)
        if picture is None or category is None:
            lacks = f"image {row.image}" if picture is None else f"category {row.category}"
            read.faults.append(f"annotation {row.number} is of {lacks}, which the file lacks")
        elif row.number in numbers:
            read.faults.append(f"two annotations have the id {row.number}")
        else:
            numbers.add(row.number)
            shape = Shape(f"{picture.id}-{row.number}", category, row.text)
            (read.crowds if row.crowd else read.objects).setdefault(picture.id, []).append(shape)


def _picture(node: Node) -> Picture:
    name = PurePosixPath(node.text("file_name"))
    if name.is_absolute() or ".." in name.parts or not name.name:
        raise Malformed(f"file_name {str(name)[:60]!r} leaves the folder of images")
    size = node.whole("height", least=1), node.whole("width", least=1)
    return Picture("_".join(name.with_suffix("").parts), str(name), size)


def _row(node: Node, source: str) -> _Row:
    number, image, category = (node.whole(key) for key in ("id", "image_id", "category_id"))
    return _Row(number, image, category, node.raw.get("iscrowd") == 1, source)


def _put(pictures: dict[int, Picture], number: int, picture: Picture) -> None:
    if number in pictures:
        raise Malformed(f"two images have the id {number}")
    pictures[number] = picture


def _shared(pictures: tuple[Picture, ...]) -> Iterator[str]:
    """Two images of one name: their objects could not be told apart."""
    names = dict[str, str]()
    for picture in pictures:
        first = names.setdefault(picture.id, picture.file_name)
        if first is not picture.file_name:
            yield f"images {first} and {picture.file_name} have one name"


def segmentation_of(shape: Shape) -> Any:
    """The polygons or run lengths of an annotation, as JSON has them; None where it has none."""
    return parsed(shape.text).get("segmentation")
