"""What scores were made from: a hash of each file, and a stamp that is cheap to look at again.

The stamp is made of names, sizes and times: where it is unchanged the files are taken to be the
same; where it differs (a copied folder, say) their bytes decide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from int_bench.data.dataset import SampleFile, Truths

ABSENT = "-"
"""Instead of the hash of a file that is not there."""
_SHORT = 16  # hexadecimal digits of a file's hash


@dataclass(frozen=True)
class Source:
    """Something that scores are made from.

    Attributes:
        hashes: reads all of it: a hash of each part, by sample id where there are samples.
        watched: the files whose names, sizes and times tell that nothing has changed.
        text: what stands for that which is no file, such as scenes that are drawn.
    """

    hashes: Callable[[], Mapping[str, str]]
    watched: Callable[[], Iterable[Path]] = tuple
    text: str = ""

    def stamp(self) -> str:
        """A hash (hex sha256) of names, sizes and times; no file is read."""
        return digest_of({"": self.text, **{path.name: _state(path) for path in self.watched()}})


def files_source(files: Mapping[str, Path], folder: Path | None = None) -> Source:
    """Files by sample id; all of ``folder`` is watched, or they themselves."""

    def watched() -> Iterable[Path]:
        return files.values() if folder is None else _listed(folder)

    return Source(lambda: {key: file_hash(path) for key, path in files.items()}, watched)


def truths_source(truths: Truths, samples: Sequence[SampleFile]) -> Source:
    """The ground truth of samples: their mask files, or what they are drawn from."""
    files = {sample.id: sample.mask_path for sample in samples if sample.mask_path is not None}
    if len(files) == len(samples):
        return files_source(files)
    manifest = getattr(truths, "manifest", None)
    drawn = manifest() if manifest is not None else truths.name
    by_id = {sample.id: _short(f"{drawn} {sample.id}".encode()) for sample in samples}
    return Source(lambda: by_id, tuple, drawn)


def digest_of(values: Mapping[str, str]) -> str:
    """One hash (hex sha256) of values by name, in whatever order."""
    lines = "".join(f"{key}\0{values[key]}\n" for key in sorted(values))
    return hashlib.sha256(lines.encode(errors="surrogatepass")).hexdigest()


def file_hash(path: Path) -> str:
    """The first digits of the sha256 of a file's bytes."""
    try:
        return _short(path.read_bytes())
    except OSError:
        return ABSENT


def _listed(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError:
        return []


def _state(path: Path) -> str:
    try:
        state = path.stat()
    except OSError:
        return ABSENT
    return f"{state.st_size} {state.st_mtime_ns}"


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_SHORT]
