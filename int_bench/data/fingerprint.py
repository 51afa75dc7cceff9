"""What identifies the content of files, cheaply: their sizes, beginnings and ends."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from int_bench.data.dataset import SampleFile

_EDGE = 2**14
"""Bytes hashed at either end: an image that was replaced differs there, whatever its size."""

_KEY = 16  # hexadecimal digits


def images_hash(samples: Sequence[SampleFile]) -> str | None:
    """A hash (hex sha256) of the images of samples in order; None where none is a file."""
    return _hash_of([sample.image_path for sample in samples])


def truths_hash(samples: Sequence[SampleFile]) -> str | None:
    """A hash (hex sha256) of the ground truth of samples in order; None where none is a file."""
    return _hash_of([sample.mask_path for sample in samples])


@lru_cache(maxsize=2)
def image_keys(samples: tuple[SampleFile, ...], drawn: str) -> tuple[str, ...]:
    """Of each sample what identifies its image (16 hex digits), wherever and as what it lies.

    Args:
        samples: objects of one image follow one another.
        drawn: what, with the image's id, identifies an image that is no file.
    """
    keys: list[str] = []
    for (path, topic), alike in groupby(samples, key=lambda s: (s.image_path, s.topic)):
        edges = (
            hashlib.sha256(f"{drawn} {topic}".encode()).digest() if path is None else _edges(path)
        )
        keys += [edges.hex()[:_KEY]] * len(list(alike))
    return tuple(keys)


def _hash_of(paths: Iterable[Path | None]) -> str | None:
    digest, any_file = hashlib.sha256(), False
    for path, alike in groupby(paths):  # objects of one image follow one another
        any_file |= path is not None
        edges = b"no file" if path is None else _edges(path)
        for _ in alike:
            digest.update(edges)
    return digest.hexdigest() if any_file else None


def _edges(path: Path) -> bytes:
    """The sha256 of a file's size, beginning and end; of the error where it cannot be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            digest = hashlib.sha256(f"{size}\n".encode())
            file.seek(0)
            digest.update(file.read(_EDGE))
            file.seek(max(size - _EDGE, 0))
            digest.update(file.read(_EDGE))
            return digest.digest()
    except OSError as error:
        return f"unreadable: {error.errno}".encode()
