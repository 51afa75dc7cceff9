"""Brings weights to this machine: resumed, verified, and found offline afterwards.

What lies on a hub goes into the hub's own cache, file by file, only those that are loaded; a single
file goes to where the configuration looks for it. Every file is compared with the hash that its
publisher gives, also where it was there already.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

from int_bench.config.contents import hub_folder
from int_bench.config.needs.weights import Weights
from int_bench.core.files import sha256_of
from int_bench.data.fetching.download import (
    Patience,
    Progress,
    download,
    require_space,
    size_of,
)
from int_bench.errors import MissingAsset, UsageError

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")


def fetch(part: Weights, on_progress: Progress, patience: Patience | None = None) -> int:
    """Bring what a model lacks, and compare all of it with the published hashes.

    Args:
        part: what it loads.
        on_progress: see :data:`int_bench.data.fetching.download.Progress`.
        patience: when to give up the download of a single file.

    Returns:
        The bytes that are here now.

    Raises:
        MissingAsset: it is not to be had, or not what was published; what has arrived is kept.
        UsageError: the network is not to be used, or a folder cannot be written.
    """
    if not part.fetchable:
        raise MissingAsset(f"{part.name} {part.lacks or 'is nothing to download'}; {part.remedy}.")
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise UsageError("HF_HUB_OFFLINE forbids downloads; unset it and give the command again.")
    with _as_sentences(part):
        if part.kind == "hub":
            return _of_hub(part, on_progress)
        return _of_file(part, on_progress, patience or Patience())


def bring_near(parts: Sequence[Weights], folder: Path) -> None:
    """Copy what lies in the hub's cache to a disk of this machine and read it from there.

    Once for all processes of the machine that ask for it; half a copy is never read. For this
    process only, and before any library of models is imported.

    Args:
        parts: what the models load; nothing is done unless all that is of a hub is in its cache.
        folder: on the disk.

    Raises:
        OSError: it cannot be written.
    """
    sources = sorted({hub_folder(part.name) for part in parts if part.kind == "hub"})
    if not sources or not all(source.is_dir() for source in sources):
        return
    folder.mkdir(parents=True, exist_ok=True)
    for source in sources:
        with (folder / f".{source.name}.turn").open("ab") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)  # a lock on the machine's own disk
            target, half = folder / source.name, folder / f".{source.name}.part"
            if not target.exists():
                shutil.rmtree(half, ignore_errors=True)
                shutil.copytree(source, half, symlinks=True)
                half.rename(target)
    os.environ["HF_HUB_CACHE"] = str(folder)


@contextmanager
def _as_sentences(part: Weights) -> Iterator[None]:
    """Errors of the disk and of the hub's library, each in a sentence."""
    try:
        yield
    except OSError as error:  # the library's own errors are of this kind too
        names = {kind.__name__ for kind in type(error).__mro__}
        if "GatedRepoError" in names:
            what = "is gated; accept its licence on its page and run `hf auth login`"
        elif "RepositoryNotFoundError" in names:
            what = f"is not to be found at {_endpoint()}, or needs `hf auth login`"
        elif "RevisionNotFoundError" in names:
            what = f"has no revision {part.revision}"
        else:
            reason = " ".join((error.strerror or str(error) or type(error).__name__).split())
            what = f"did not arrive ({reason[:200]}); the same command resumes"
        raise MissingAsset(f"{part.name} {what}.") from error


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co")


def _of_file(part: Weights, on_progress: Progress, patience: Patience) -> int:
    """A single file, from its publisher's address."""
    known, place = part.known, part.place
    assert known.url is not None
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        arriving = place.with_name(f"{place.name}.part")
        require_space(place.parent, (known.bytes or 0) - size_of(arriving))
        download(known.url, arriving, known.bytes, on_progress, patience)
        _refuse_other(arriving, known.sha256)
        arriving.replace(place)
    else:
        _refuse_other(place, known.sha256)
    return place.stat().st_size


def _refuse_other(path: Path, expected: str | None) -> None:
    """Remove a file that is not what was published.

    Raises:
        MissingAsset: its hash is another one.
    """
    if expected is not None and sha256_of(path) != expected:
        path.unlink()
        raise MissingAsset(
            f"{path} was not the file that was published (its sha256 is another one) and is "
            "removed; the same command brings it anew."
        )


def _of_hub(part: Weights, on_progress: Progress) -> int:
    """The files of a repository that are loaded, into the cache of the hub's library."""
    from huggingface_hub import HfApi, hf_hub_download

    api = HfApi(endpoint=_endpoint())
    info = api.model_info(part.name, revision=part.revision, files_metadata=True)
    wanted = _wanted(part, info.siblings or [])
    cache = hub_folder(part.name)
    cache.mkdir(parents=True, exist_ok=True)
    missing = [item for item in wanted if not _lies(cache, str(info.sha), item.rfilename)]
    require_space(cache, sum(item.size or 0 for item in missing))
    for item in wanted:
        for last in (False, True):
            if item.lfs is not None and item in missing:
                _arrive(part, item, cache / "blobs" / str(item.lfs.sha256), on_progress)
            path = hf_hub_download(
                part.name,
                item.rfilename,
                revision=part.revision,
                endpoint=_endpoint(),
                cache_dir=cache.parent,
                tqdm_class=cast(Any, _told(item.rfilename, on_progress)),
            )
            if _is_published(Path(path), item):
                break
            Path(path).resolve().unlink()
            Path(path).unlink(missing_ok=True)
            if last:
                raise MissingAsset(
                    f"{part.name}: {item.rfilename} arrives damaged; try again later."
                )
    return sum(item.size or 0 for item in wanted)


def _arrive(part: Weights, item: Any, blob: Path, on_progress: Progress) -> None:
    """A large file as a blob of the hub's cache, from where it broke off.

    The hub's library, which then only names it, begins an interrupted file again.
    """
    from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url

    if blob.exists():
        return
    url = hf_hub_url(part.name, item.rfilename, revision=part.revision, endpoint=_endpoint())
    get_hf_file_metadata(url)  # refuses, in the library's words, what is not for this user
    blob.parent.mkdir(exist_ok=True)
    arriving = blob.with_name(f"{blob.name}.incomplete")

    def tell(name: str, done: int, total: int | None) -> None:
        on_progress(item.rfilename, done, total)

    token = get_token()
    secret = f"Bearer {token}" if token else None
    download(url, arriving, item.lfs.size, tell, Patience(), secret)
    arriving.replace(blob)


def _wanted(part: Weights, siblings: list[Any]) -> list[Any]:
    """What is loaded of a repository's files; pickles only where there is nothing else."""
    for more in ((), ("*.bin", "*.pt", "*.pth")):
        patterns = [*part.known.files, *more]
        chosen = [
            item
            for item in siblings
            if any(fnmatchcase(item.rfilename, pattern) for pattern in patterns)
        ]
        only_text = "bert-base-uncased" in part.name
        if only_text or any(Path(item.rfilename).suffix in _WEIGHTS for item in chosen):
            return chosen
    raise MissingAsset(f"{part.name} holds no weights; backbone.{part.role}.checkpoint=NAME.")


def _lies(cache: Path, commit: str, name: str) -> bool:
    return (cache / "snapshots" / commit / name).exists()


def _is_published(path: Path, item: Any) -> bool:
    """Whether a file has the hash that the hub gives: SHA-256 of large files, git's of others."""
    if item.lfs is not None:
        return sha256_of(path) == str(item.lfs.sha256)
    if not item.blob_id:
        return True
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == str(item.blob_id)


def _told(name: str, on_progress: Progress) -> type:
    """What the hub's library takes for a progress bar."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    class Told(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            self.done = int(options.get("initial") or 0)
            super().__init__(*args, **{**options, "disable": True})
            self.all = options.get("total")

        def update(self, n: float | None = 1) -> bool | None:
            self.done += int(n or 0)
            on_progress(name, self.done, self.all)
            return None

    return Told
