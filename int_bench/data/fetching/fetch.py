"""Fetching a data set whose owners offer it for direct download.

What there is to download stands under ``archives`` in the data set's YAML: ``url``, ``folder`` (in
the archive, and under the root afterwards), and the published ``bytes`` and ``sha256``, each null
where nobody published it. Everything happens in ``ROOT/.fetching-NAME`` and is resumed there; only
when every archive is verified and unpacked, and the whole set pairs up in its published number, are
the folders renamed to their places.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from int_bench.core.files import expanded, sha256_of
from int_bench.data.fetching.download import Patience, Progress, download, require_space, size_of
from int_bench.data.fetching.unpack import BadArchive, unpack
from int_bench.data.folders import PairedFolders
from int_bench.errors import MissingAsset, UsageError

_KEYS = ("url", "folder", "bytes", "sha256")


@dataclass(frozen=True)
class Archive:
    """One archive as its owners publish it.

    Attributes:
        url: where it is.
        folder: its folder, which comes to lie under the data set's root.
        bytes: its published size, None if there is none.
        sha256: its published hash in hexadecimal, None if there is none.
    """

    url: str
    folder: str
    bytes: int | None = None
    sha256: str | None = None

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]


def archives_of(dataset: PairedFolders) -> tuple[Archive, ...]:
    """The archives that make up a data set; none if its owners offer no direct download.

    Raises:
        UsageError: an entry of ``archives`` lacks a key, or has an unknown or impossible one.
    """
    return tuple(_archive(dataset.name, entry) for entry in dataset.archives)


def missing_archives(dataset: PairedFolders) -> tuple[Archive, ...]:
    """The archives whose folders are not under the root yet."""
    root = _root(dataset)
    return tuple(
        archive for archive in archives_of(dataset) if not (root / archive.folder).exists()
    )


def space_needed(dataset: PairedFolders) -> int:
    """Bytes that downloading and unpacking will take from now on, as far as sizes are published.

    Reading: images and masks are compressed already, so that an archive unpacks to about its size.
    """
    stage = _stage_folder(dataset)
    return sum(
        2 * (archive.bytes or 0) - size_of(_part(stage, archive))
        for archive in missing_archives(dataset)
        if not (stage / archive.folder).exists()
    )


def fetch(
    dataset: PairedFolders,
    on_progress: Progress = lambda name, done, total: None,
    patience: Patience | None = None,
) -> int:
    """Download what is missing of a data set, verify it, and put it in place.

    An archive that lies under the root already (saved with a browser, say) is verified and used
    instead of a download, and kept.

    Args:
        dataset: the data set; its root is made if it is not there.
        on_progress: see :data:`int_bench.data.fetching.download.Progress`.
        patience: when to give up a download.

    Returns:
        The number of samples that are there now.

    Raises:
        MissingAsset: a download failed (it resumes next time), is not what was published, is
            damaged, or does not make up the set; or the disk is full. Nothing is in place then.
        UsageError: the root cannot be written, or another process fetches there.
    """
    root, missing = _root(dataset), missing_archives(dataset)
    with _staging(dataset) as stage:
        require_space(root, space_needed(dataset))
        for archive in missing:
            if not (stage / archive.folder).exists():
                _stage(archive, root, stage, on_progress, patience or Patience())
        _check_whole(dataset, missing, stage)
        for archive in missing:
            (stage / archive.folder).rename(root / archive.folder)
        shutil.rmtree(stage)
    return len(replace(dataset).samples())


def verify(path: Path, archive: Archive) -> None:
    """Compare a file with the published size and hash.

    Raises:
        BadArchive: they differ.
    """
    size = path.stat().st_size
    if archive.bytes is not None and size != archive.bytes:
        raise BadArchive(
            f"{path.name} has {size} bytes and {archive.bytes} were published; it is not used."
        )
    if archive.sha256 is not None:
        digest = sha256_of(path)
        if digest != archive.sha256.lower():
            raise BadArchive(
                f"{path.name} has sha256 {digest} and {archive.sha256} was published; it is not"
                " used."
            )


def _archive(name: str, entry: Mapping[str, Any]) -> Archive:
    where = f"Dataset {name}: archives"
    if not isinstance(entry, Mapping) or not {"url", "folder"} <= set(entry) <= set(_KEYS):
        raise UsageError(f"{where} must be a list of entries with {', '.join(_KEYS)}.")
    archive = Archive(**entry)
    if not str(archive.url).startswith(("https://", "http://")) or not archive.name:
        raise UsageError(f"{where}: {archive.url!r} is not the address of a file.")
    if len(PurePosixPath(archive.folder).parts) != 1 or archive.folder in (".", "..", "/"):
        raise UsageError(f"{where}: {archive.folder!r} is not the name of a folder.")
    return archive


def _root(dataset: PairedFolders) -> Path:
    return expanded(dataset.root)


def _stage_folder(dataset: PairedFolders) -> Path:
    return _root(dataset) / f".fetching-{dataset.name}"


def _part(stage: Path, archive: Archive) -> Path:
    return stage / f"{archive.name}.part"


@contextmanager
def _staging(dataset: PairedFolders) -> Iterator[Path]:
    """The folder in which everything happens, held by this process alone."""
    stage = _stage_folder(dataset)
    try:
        stage.mkdir(parents=True, exist_ok=True)
        handle = os.open(stage / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UsageError(
            f"{stage.parent} cannot be written: {error.strerror}; set data_root=DIR."
        ) from error
    try:
        _lock(handle, stage)
        yield stage
    finally:
        os.close(handle)


def _lock(handle: int, stage: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(f"Another process fetches into {stage}; wait for it or end it.") from None


def _stage(
    archive: Archive, root: Path, stage: Path, on_progress: Progress, patience: Patience
) -> None:
    """Bring one archive, verified and unpacked, into the staging folder."""
    own = root / archive.name
    if own.is_file():
        try:
            verify(own, archive)
            unpack(own, archive.folder, stage)
        except BadArchive as error:
            raise BadArchive(f"{error} Move {own} away or replace it.") from error
        return
    part = _part(stage, archive)
    download(archive.url, part, archive.bytes, on_progress, patience)
    try:
        verify(part, archive)
        unpack(part, archive.folder, stage)
    except BadArchive as error:
        part.unlink()
        raise BadArchive(f"{error} It was deleted; run the same command again.") from error
    part.unlink()


def _check_whole(dataset: PairedFolders, archives: Sequence[Archive], stage: Path) -> None:
    """See that the set pairs up when the staged folders are in place.

    Raises:
        MissingAsset: it does not; what was staged without a published hash is removed.
    """
    root = _root(dataset)
    staged = replace(
        dataset,
        root=str(root),
        images=_candidates(dataset.images, stage, root),
        masks=_candidates(dataset.masks, stage, root),
    )
    try:
        staged.samples()
    except MissingAsset as error:
        for archive in archives:
            if archive.sha256 is None:
                shutil.rmtree(stage / archive.folder)
        raise MissingAsset(f"The archives do not make up the set: {error}") from error


def _candidates(folders: Any, stage: Path, root: Path) -> list[str] | None:
    """Each candidate where it is staged, else where it is in place."""
    if not folders:
        return None
    names = [folders] if isinstance(folders, str) else list(folders)
    return [str((place / name).absolute()) for name in names for place in (stage, root)]
