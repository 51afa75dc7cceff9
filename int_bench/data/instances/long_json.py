"""Long JSON files, item by item: COCO's training annotations take gigabytes as Python objects."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from int_bench.core.files import plain
from int_bench.core.typed import Malformed

_BLANKS = re.compile(r"[ \t\n\r]*")


class Item(NamedTuple):
    """A value of the object at the top, or an item of a list there; ``text`` is its JSON."""

    key: str
    value: Any
    text: str


def read_text(path: Path, most: int) -> str:
    """The text of a file.

    Raises:
        Malformed: it is longer than ``most`` bytes, or is no text.
        OSError: it cannot be read.
    """
    with plain(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise Malformed(f"it is longer than {most / 1e6:.0f} MB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Malformed("it is no text") from None


def items(text: str) -> Iterator[Item]:
    """The entries of the object at the top; of an entry that is a list, its items one by one.

    Only the item at hand is held as objects. NaN and infinities are refused.

    Raises:
        Malformed: it is no JSON, or no object; what came before has been told.
    """
    try:
        yield from _items(text)
    except RecursionError:
        raise Malformed("it is nested too deeply") from None
    except Malformed:
        raise
    except ValueError as error:
        raise Malformed(f"it is no JSON ({str(error)[:80]})") from None


def _items(text: str) -> Iterator[Item]:
    decoder = json.JSONDecoder(parse_constant=_refused)
    place, _ = _mark(text, 0, "{")
    place, closing = _maybe(text, place, "}")
    while not closing:
        key, place = decoder.raw_decode(text, _skip(text, place))
        if not isinstance(key, str):
            raise Malformed("a key of it is no text")
        place, _ = _mark(text, place, ":")
        place, is_list = _maybe(text, place, "[")
        if is_list:
            place = yield from _list(text, place, key, decoder)
        else:
            start = _skip(text, place)
            value, place = decoder.raw_decode(text, start)
            yield Item(key, value, text[start:place])
        place, mark = _mark(text, place, ",}")
        closing = mark == "}"
    if _skip(text, place) != len(text):
        raise Malformed("something follows its end")


def _list(text: str, place: int, key: str, decoder: json.JSONDecoder) -> Generator[Item, None, int]:
    """The items of a list that was opened before ``place``; returns where it ends."""
    place, closing = _maybe(text, place, "]")
    while not closing:
        start = _skip(text, place)
        value, place = decoder.raw_decode(text, start)
        yield Item(key, value, text[start:place])
        place, mark = _mark(text, place, ",]")
        closing = mark == "]"
    return place


def _skip(text: str, place: int) -> int:
    """Where the next mark is that is no blank."""
    blanks = _BLANKS.match(text, place)
    return blanks.end() if blanks else place


def _maybe(text: str, place: int, mark: str) -> tuple[int, bool]:
    """Past a mark if it comes next, and whether it did."""
    start = _skip(text, place)
    there = text.startswith(mark, start)
    return start + there, there


def _mark(text: str, place: int, marks: str) -> tuple[int, str]:
    """Past the one of ``marks`` that must come next, and which it was."""
    start = _skip(text, place)
    mark = text[start : start + 1]
    if not mark or mark not in marks:
        raise Malformed(f"it is no JSON ({' or '.join(marks)} expected at character {start})")
    return start + 1, mark


def _refused(name: str) -> Any:
    raise Malformed(f"it is no JSON ({name} is no number)")
