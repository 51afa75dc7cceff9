"""Where everything of a run folder lies: the names that its writer and its reader share.

Layout of format 2::

    run.json                what was run, with what, and where (int_bench.runs.manifest)
    records/<shard>.jsonl   a line per sample and trial; a key's last line counts
    masks/<trial>/final/<name>.png       0 and 255, at the image's size
    masks/<trial>/<1..I>/<name>.png      the same for each iteration
    masks/<trial>/soft_<1..I>/<name>.png soft masks, 0..255 (keep=soft or trace)
    traces/<trial>/<name>/<1..I>.webp    what each iteration saw (keep=trace)
    scores/<protocol>.<trial>.csv        one row per sample
    logs/<worker>.log       what a worker printed
    work/<sitting>.json     what the images took, and on what
    parts/<array>/          what an array is at
    lock                    there while a process writes
    progress.json           what it is at, for `int-bench status`

Format 1 has ``records.jsonl`` instead of ``records/`` and ``scores.csv`` instead of ``scores/``.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

FORMAT = 2
"""What this version writes; it also reads format 1."""
SHARDS = 64
MANIFEST, RECORDS, MASKS, SCORES, LOCK = "run.json", "records", "masks", "scores", "lock"
PROGRESS = "progress.json"
LOGS = "logs"
"""What workers printed, a file each."""
WORK = "work"
"""How fast the images were made; nothing depends on it."""
PARTS = "parts"
"""What arrays are at."""
TRACES = "traces"
OLD_RECORDS = "records.jsonl"
"""The records of a folder of format 1."""

Key = tuple[int, str]
"""Trial and sample id."""
Keep = Literal["final", "iterations", "soft", "trace"]
"""What is kept of a sample; each holds all that the one before it does."""
KEEPS: tuple[Keep, ...] = get_args(Keep)

_LONGEST_NAME = 200  # bytes; with ".png" and the mark of an unfinished file below 255
_REFUSED = frozenset('/\\:*?"<>|%')
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})


def shard_of(key: Key, shards: int = SHARDS) -> int:
    """The shard of a sample of a trial: sha256(id, trial) mod ``shards``, whoever computes it."""
    trial, sample_id = key
    text = f"{sample_id}\0{trial}".encode(errors="surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest(), "big") % shards


def records_file(shard: int) -> str:
    """The file of a shard's records below the run folder."""
    return f"{RECORDS}/{shard:02d}.jsonl"


def mask_file(trial: int, which: str, name: str) -> str:
    """The file of a mask below the run folder; ``which`` as ``final``, ``1`` or ``soft_1``."""
    return f"{MASKS}/{trial}/{which}/{name}.png"


def trace_file(trial: int, number: int, name: str) -> str:
    """The file below the run folder of what an iteration saw, from 1."""
    return f"{TRACES}/{trial}/{name}/{number}.webp"


def kept_file(trial: int, which: str, name: str) -> str:
    """The file of a mask, or of ``trace_<number>``."""
    kind, _, number = which.partition("_")
    return (
        trace_file(trial, int(number), name) if kind == "trace" else mask_file(trial, which, name)
    )


def file_name(sample_id: str) -> str:
    """A sample's id as file systems take it: percent-encoded where one would object.

    >>> file_name("a frog"), file_name("x/y%")
    ('a frog', 'x%2Fy%25')
    """
    last = len(sample_id) - 1
    odd = [
        letter in _REFUSED
        or unicodedata.category(letter) in _UNPRINTABLE
        or (letter == "." and place in (0, last))
        or (letter == " " and place == last)
        for place, letter in enumerate(sample_id)
    ]
    return _bounded(
        [_encoded(c) if bad else c for c, bad in zip(sample_id, odd, strict=True)], sample_id
    )


def file_names(ids: Iterable[str]) -> dict[str, str]:
    """Names for all samples of a data set that differ also where a file system ignores case.

    Among ids that differ in nothing else, capitals are percent-encoded.

    >>> file_names(["Frog", "frog", "Toad"])
    {'Frog': '%46rog', 'frog': 'frog', 'Toad': 'Toad'}
    """
    names = {sample_id: file_name(sample_id) for sample_id in ids}
    alike = defaultdict(list)
    for sample_id, name in names.items():
        alike[unicodedata.normalize("NFC", name).casefold()].append(sample_id)
    for group in alike.values():
        if len(group) > 1:
            names |= {sample_id: _distinct(sample_id) for sample_id in group}
    return names


def is_file_name(text: str) -> bool:
    """Whether a text names a file within its folder, on any system."""
    plain = not any(unicodedata.category(letter) in _UNPRINTABLE for letter in text)
    return plain and text.strip(". ") != "" and not set(text) & (_REFUSED - {"%"})


def find_runs(root: Path) -> list[Path]:
    """All run folders under a root, at any depth, sorted; none lies within another."""
    runs = []
    for folder, below, files in os.walk(root):
        if MANIFEST in files:
            runs.append(Path(folder))
            below.clear()
    return sorted(runs)


def _encoded(letter: str) -> str:
    return "".join(f"%{byte:02X}" for byte in letter.encode(errors="surrogatepass"))


def _distinct(sample_id: str) -> str:
    """With capitals and everything outside ASCII encoded."""
    safe = [file_name(letter) if letter not in ". " else letter for letter in sample_id]
    letters = [
        _encoded(letter) if letter != letter.casefold() or not letter.isascii() else part
        for letter, part in zip(sample_id, safe, strict=True)
    ]
    return _bounded(letters, sample_id)


def _bounded(letters: list[str], sample_id: str) -> str:
    """The letters in a row, or as many as there is room for and a hash of the whole id."""
    if len("".join(letters).encode()) <= _LONGEST_NAME:
        return "".join(letters)
    mark = "%~" + hashlib.sha256(sample_id.encode(errors="surrogatepass")).hexdigest()[:16]
    while len("".join(letters).encode()) > _LONGEST_NAME - len(mark):
        letters.pop()
    return "".join(letters) + mark
