"""Unpacking of a data set's zip archive: nothing outside its folder, and all of it or nothing.

The archive is untrusted until its last checksum is read: names that lead out of the folder, links,
files that come twice, folders nested too deep and contents that swell beyond measure refuse the
whole archive, and what was written before that is removed.
"""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from int_bench.data.fetching.download import require_space
from int_bench.errors import MissingAsset

_LITTER = ("__MACOSX", ".DS_Store")
_ENCRYPTED = 0x1
_DEEPEST = 32  # folders in one another
_MOST_FILES = 1_000_000
_SWELLING, _SMALL = 100, 64 << 20
"""Contents larger than ``_SMALL`` bytes and 100 times the archive are no pictures."""


class BadArchive(MissingAsset):
    """A file that is not what was published, is damaged, or is not safe to unpack."""


def unpack(path: Path, folder: str, into: Path) -> None:
    """Unpack what an archive holds under ``folder`` to ``into / folder``.

    The files are written aside and the folder renamed when all are there and their CRC-32 agree. An
    archive that holds no such folder (in any case of letters) is unpacked into it as it is.

    Args:
        path: the archive.
        folder: the archive's folder of the data set.
        into: an existing folder, on the same file system as the final place.

    Raises:
        BadArchive: it is damaged, unsafe, or out of proportion.
        MissingAsset: there is no room. Nothing is left of it in either case.
    """
    aside = into / f"{folder}.unpacking"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_bomb(archive, path)
            members = list(_members(archive, path.name, folder))
            require_space(into, sum(info.file_size for info, _ in members))
            for info, place in members:
                _extract(archive, info, aside / place)
        aside.rename(into / folder)
    except FileExistsError as error:
        raise BadArchive(
            f"{path.name} holds {Path(error.filename).name} twice; it is refused."
        ) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise BadArchive(f"{path.name} is damaged ({error}) and is not used.") from error
    except OSError as error:
        raise MissingAsset(f"{into} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _refuse_bomb(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuse what would fill the disk or the stack.

    Raises:
        BadArchive: the contents are far larger than the archive, too many or nested too deep.
    """
    infos = archive.infolist()
    size, packed = sum(info.file_size for info in infos), path.stat().st_size
    if size > max(_SMALL, _SWELLING * packed):
        raise BadArchive(
            f"{path.name} has {packed} bytes and would unpack to {size}, more than {_SWELLING}"
            " times as many; it is refused."
        )
    if len(infos) > _MOST_FILES:
        raise BadArchive(f"{path.name} holds more than {_MOST_FILES} files; it is refused.")
    deepest = max((info.filename.count("/") for info in infos), default=0)
    if deepest > _DEEPEST:
        raise BadArchive(
            f"{path.name} nests {deepest} folders, more than {_DEEPEST}; it is refused."
        )


def _members(
    archive: zipfile.ZipFile, name: str, folder: str
) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """The files of an archive and their places in the folder.

    Raises:
        BadArchive: the archive holds no file, or one that is unsafe or encrypted.
    """
    files = []
    for info in archive.infolist():
        if _is_unsafe(info):
            raise BadArchive(
                f"{name} holds {info.orig_filename!r}, a link or a name that leads out of its"
                " folder; it is refused."
            )
        place = PurePosixPath(info.filename)
        if not info.is_dir() and not set(place.parts) & set(_LITTER):
            files.append((info, place))
    if not files:
        raise BadArchive(f"{name} holds no file; it is refused.")
    inside = [member for member in files if member[1].parts[0].casefold() == folder.casefold()]
    for info, place in inside or files:
        if info.flag_bits & _ENCRYPTED:
            raise BadArchive(f"{name} is encrypted; it is refused.")
        yield info, PurePosixPath(*place.parts[1:]) if inside else place


def _is_unsafe(info: zipfile.ZipInfo) -> bool:
    """True for a link, a device, an absolute name, and one with ``..``, a drive or a backslash."""
    name = info.orig_filename
    parts = PurePosixPath(name).parts
    kind = stat.S_IFMT(info.external_attr >> 16)
    return (
        not parts
        or name.startswith("/")
        or ".." in parts
        or any(mark in name for mark in ("\\", ":", "\0"))
        or kind not in (0, stat.S_IFREG, stat.S_IFDIR)
    )


def _extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(info) as source, target.open("xb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
