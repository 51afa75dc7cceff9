"""What a checkpoint holds, by hash, as far as this machine knows without loading it.

A shipped model's hash is that of its lines in the zoo's list, a file's or folder's that of its
bytes. Hashes of files are remembered in ``~/.cache/int-bench/hashes.json`` under size and time of
change, so that gigabytes are read once and not at each start. What lies on a hub keeps its name.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from int_bench.config.places import CONF
from int_bench.core.files import Remembered

ZOO = CONF.parent / "zoo"
_SUMS = ZOO / "SHA256SUMS"
_PARTS = (".safetensors", ".bin", ".pt", ".pth", ".json", ".txt", ".model", ".jinja", ".yaml")
_ADAPTER_FILES = ("config.json", "model.safetensors")
_BLOCK = 2**20
_WHOLE = 4 * 2**30
"""Bytes of a file above which evenly spaced blocks stand for it; read whole it takes minutes."""
_BLOCKS = 256
_SETTLED_S = 2.0
"""A file changed within the last seconds may change again without a new time."""
_HASHES = Remembered("hashes.json")


@lru_cache
def content_of(checkpoint: str) -> str:
    """What identifies a checkpoint: ``sha256:...`` where its bytes are here, else its name.

    Args:
        checkpoint: ``zoo:NAME``, a file, a folder, or a name on a hub. Of a path that is not here
            the last part is returned: nothing can be computed with it.
    """
    if checkpoint.startswith("zoo:"):
        lines = _SUMS.read_text(encoding="utf-8").splitlines() if _SUMS.is_file() else []
        own = [line for line in lines if line.split()[-1].startswith(f"{checkpoint[4:]}/")]
        return _hash(own) if own else checkpoint
    path = Path(checkpoint).expanduser()
    try:
        if path.is_file():
            return f"sha256:{_of_file(path)}"
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.suffix in _PARTS and p.is_file())
            listed = [f"{_of_file(file)}  {file.relative_to(path).as_posix()}" for file in files]
            return _hash(listed)
    except OSError:  # what cannot be read is named when it is loaded
        return checkpoint
    return path.name if checkpoint.startswith(("/", "~", ".")) else checkpoint


def adapter_of(folder: str) -> str:
    """What identifies an adapter: ``sha256:...`` of its description and weights, not of its card.

    Args:
        folder: ``zoo:NAME`` or a folder. Of one that is not here the last part is returned.
    """
    if folder.startswith("zoo:"):
        return content_of(folder)
    place = Path(folder).expanduser()
    try:
        listed = [f"{_of_file(place / name)}  {name}" for name in _ADAPTER_FILES]
    except OSError:  # what cannot be read is named when it is loaded
        return place.name
    return _hash(listed)


def hub_folder(checkpoint: str) -> Path:
    """Where the hub's library keeps a checkpoint of this name, whether it is there or not."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE", home / "hub")).expanduser()
    return cache / f"models--{checkpoint.replace('/', '--')}"


def commit_of(checkpoint: str, revision: str | None = None) -> str | None:
    """The commit of a hub's checkpoint that lies in the library's cache; None without one."""
    reference = hub_folder(checkpoint) / "refs" / (revision or "main")
    if revision and (hub_folder(checkpoint) / "snapshots" / revision).is_dir():
        return revision
    try:
        return reference.read_text(encoding="utf-8").strip()[:64] or None
    except (OSError, ValueError):
        return None


def _hash(lines: Sequence[str]) -> str:
    return f"sha256:{hashlib.sha256('|'.join(lines).encode()).hexdigest()}"


def _of_file(path: Path) -> str:
    """The hash of a file, remembered under its size and times; the second one nobody can set."""
    state, key = path.stat(), str(path.resolve())
    hashes = _HASHES.read()
    entry, known_by = hashes.get(key), [state.st_size, state.st_mtime_ns, state.st_ctime_ns]
    if isinstance(entry, list) and len(entry) == 4 and entry[:3] == known_by:
        return str(entry[3])
    digest = _read(path, state.st_size)
    if state.st_size > _BLOCK and time.time() - state.st_mtime > _SETTLED_S:
        _HASHES.write({**hashes, key: [*known_by, digest]})
    return digest


def _read(path: Path, size: int) -> str:
    """SHA-256 of a file; of one above the bound, of its size and evenly spaced blocks."""
    with path.open("rb") as stream:
        if size <= _WHOLE:
            return hashlib.file_digest(stream, "sha256").hexdigest()
        digest = hashlib.sha256(f"{size} bytes in {_BLOCKS} blocks".encode())
        for index in range(_BLOCKS):
            stream.seek((size - _BLOCK) * index // (_BLOCKS - 1))
            digest.update(stream.read(_BLOCK))
    return digest.hexdigest()
