"""Decoding of image, mask and prediction files; what is wrong with a file is named.

Everything is decoded by Pillow. Levels are brought to 0..255 whatever the file's depth: 1-bit,
palette, 8-bit, 16-bit, RGB and alpha files all end in the same arrays. A file that cannot be
decoded raises ``SampleError`` with its path and the reason, so that one bad file never ends a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from int_bench.core.types import HardMask, Image
from int_bench.errors import SampleError

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
"""Extensions of image and mask files, lower case."""
MAP_EXTENSIONS = EXTENSIONS | {".npy"}
"""Extensions of prediction files, lower case."""
Levels: TypeAlias = NDArray[np.uint8] | NDArray[np.float64]
"""Grey levels, (H, W), 0..255."""
Map: TypeAlias = NDArray[np.uint8] | NDArray[np.float64] | NDArray[np.bool_]
"""A prediction, (H, W): bool, uint8 levels 0..255, or float64 0..1."""

_ORIENTATION_TAG = 0x0112
_TRANSPOSING = (5, 6, 7, 8)
_LFS_HEAD = b"version https://git-lfs.github.com/spec/"
_NOISE_LEVEL = 16


@dataclass(frozen=True)
class Header:
    """What a file says about itself before its pixels are decoded.

    ``size`` is (height, width) as stored; ``orientation`` is the EXIF value 1..8; ``mode`` is
    Pillow's.
    """

    size: tuple[int, int]
    orientation: int
    mode: str
    format: str

    @property
    def displayed_size(self) -> tuple[int, int]:
        """(height, width) after the EXIF orientation is applied."""
        height, width = self.size
        return (width, height) if self.orientation in _TRANSPOSING else (height, width)


def fault_of(path: Path) -> str | None:
    """What keeps a file from being an image at all: missing, empty, an LFS pointer; or None."""
    try:
        with path.open("rb") as file:
            return _fault_of_content(file)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def read_header(path: Path) -> Header:
    """Size, orientation and mode of an image file; only a PNG has to be decoded for it.

    Raises:
        SampleError: the file is missing, empty, an LFS pointer, or not an image.
    """
    with _opened(path) as file:
        return _header_of(file, path)


def read_image(path: Path, mask_path: Path | None = None) -> Image:
    """Decode an image to (H, W, 3) uint8 RGB, in the frame of its mask.

    Alpha is dropped. Each file's EXIF orientation is applied, as a viewer would. Reading: when that
    would turn an image away from its mask although the stored sizes agree (the mask was drawn on
    the stored pixels and carries no tag), the stored pixels are kept.

    Raises:
        SampleError: the file cannot be decoded.
    """
    with _decoded(path) as picture:
        header = _header_of(picture, path)
        if mask_path is None or not _mask_is_in_stored_frame(header, mask_path):
            picture = _upright(picture, header)
        if _is_deep(picture):
            levels = np.rint(_grey_levels(picture, path)).astype(np.uint8)
            return np.repeat(levels[..., None], 3, axis=2)
        return _channels(picture, "RGB")


def read_levels(path: Path) -> Levels:
    """Decode a mask file to grey levels, (H, W) in 0..255, EXIF orientation applied.

    uint8 for files of up to 8 bits a channel, float64 for deeper ones.

    Raises:
        SampleError: the file cannot be decoded.
    """
    with _decoded(path) as picture:
        return _grey_levels(_upright(picture, _header_of(picture, path)), path)


def read_mask(path: Path, threshold: int = 128) -> HardMask:
    """Decode a ground-truth mask: True where the grey level is above the threshold (0..255).

    Raises:
        SampleError: the file cannot be decoded, or is encoded so that the threshold would silently
            empty it (0/1, 0/128, class indices).
    """
    levels = read_levels(path)
    if threshold > 0 and is_dim(levels, threshold):
        raise SampleError(
            f"mask {path} would be empty: its brightest level is {levels.max():g} and the threshold"
            f" is {threshold}; re-encode it as 0/255 or set dataset.gt_threshold=0."
        )
    return levels > threshold


def is_dim(levels: Levels, threshold: int) -> bool:
    """True if a mask has content, none of it above the threshold, that is more than coding noise.

    Noise is several levels up to 16, which is what JPEG leaves of an empty mask.
    """
    brightest = float(levels.max())
    if brightest == 0 or brightest > threshold:
        return False
    return brightest > _NOISE_LEVEL or np.unique(levels).size <= 2


def read_map(path: Path) -> Map:
    """Decode a prediction, (H, W): an image of any depth, or ``.npy`` (bool, uint8, float 0..1).

    A file with no other levels than 0 and 1 is a hard mask and is returned as bool. Others keep
    8-bit levels (uint8; colour as luminance) or, if float, become float64 0..1.

    Raises:
        SampleError: the file cannot be decoded, or an array is not two-dimensional, not finite, or
            out of its range.
    """
    if path.suffix.lower() == ".npy":
        return _checked_map(path, _read_npy(path))
    levels = read_levels(path)
    if levels.dtype != np.uint8:
        return levels / 255.0
    return levels.astype(np.bool_) if levels.max() == 1 else levels.astype(np.uint8, copy=False)


def _read_npy(path: Path) -> NDArray[np.generic]:
    fault = fault_of(path)
    if fault is not None:
        raise SampleError(f"prediction {path} {fault}.")
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise SampleError(f"prediction {path} is not a plain .npy array: {error}.") from error
    loaded: NDArray[np.generic] = np.squeeze(array)
    return loaded


def _checked_map(path: Path, array: NDArray[np.generic]) -> Map:
    if array.ndim != 2 or array.size == 0:
        raise SampleError(f"prediction {path} has shape {array.shape}; (height, width) is needed.")
    if array.dtype == np.bool_:
        return array.astype(np.bool_)
    if np.issubdtype(array.dtype, np.integer):
        return _integer_map(path, array.astype(np.int64))
    if not np.issubdtype(array.dtype, np.floating):
        raise SampleError(f"prediction {path} has type {array.dtype}; bool, uint8 or float needed.")
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        raise SampleError(f"prediction {path} holds NaN or infinite values.")
    if values.min() < 0 or values.max() > 1:
        span = f"{values.min():g}..{values.max():g}"
        raise SampleError(f"prediction {path} is float with values {span}; 0..1 is needed.")
    return values


def _integer_map(path: Path, levels: NDArray[np.int64]) -> Map:
    if levels.min() < 0 or levels.max() > 255:
        raise SampleError(
            f"prediction {path} has levels {levels.min()}..{levels.max()}; 0..255 is needed."
        )
    return levels.astype(np.bool_) if levels.max() == 1 else levels.astype(np.uint8)


@contextmanager
def _opened(path: Path) -> Iterator[Pillow.Image]:
    """A picture whose pixels are not decoded yet; its file is opened once and closed at the end."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise SampleError(f"{path} {fault_of(path) or 'cannot be read'}.") from error
    with file:
        fault = _fault_of_content(file)
        if fault is not None:
            raise SampleError(f"{path} {fault}.")
        yield _picture_in(file, path)


@contextmanager
def _decoded(path: Path) -> Iterator[Pillow.Image]:
    with _opened(path) as picture:
        try:
            picture.load()
        except (OSError, ValueError, SyntaxError, EOFError) as error:
            raise SampleError(f"{path} is damaged: {error}.") from error
        yield picture


def _fault_of_content(file: BinaryIO) -> str | None:
    """What its first bytes say against a file, which is wound back to its start; or None."""
    head = file.read(len(_LFS_HEAD))
    file.seek(0)
    if not head:
        return "is empty (0 bytes)"
    if head == _LFS_HEAD:
        return "is a Git LFS pointer, not the file itself; run `git lfs pull` where it came from"
    return None


def _picture_in(file: BinaryIO, path: Path) -> Pillow.Image:
    try:
        return Pillow.open(file)
    except UnidentifiedImageError as error:
        raise SampleError(f"{path} is not an image that can be read.") from error
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError) as error:
        raise SampleError(f"{path} cannot be read: {error}.") from error


def _header_of(picture: Pillow.Image, path: Path) -> Header:
    try:
        orientation = int(picture.getexif().get(_ORIENTATION_TAG, 1))
    except (OSError, ValueError, SyntaxError, TypeError) as error:
        raise SampleError(f"{path} is damaged: {error}.") from error
    if picture.format == "TIFF":
        # Pillow turns a TIFF on decoding, and says from the start how large it will be.
        orientation = 1
    return Header((picture.height, picture.width), orientation, picture.mode, picture.format or "")


def _upright(picture: Pillow.Image, header: Header) -> Pillow.Image:
    """The picture as a viewer shows it; itself, not a copy, where nothing is to be turned."""
    return picture if header.orientation == 1 else ImageOps.exif_transpose(picture)


def _channels(picture: Pillow.Image, mode: str) -> NDArray[np.uint8]:
    """The pixels in ``mode``; Pillow would copy a picture that has it already."""
    converted = picture if picture.mode == mode else picture.convert(mode)
    return np.asarray(converted, dtype=np.uint8)


def _mask_is_in_stored_frame(image: Header, mask_path: Path) -> bool:
    if image.orientation not in _TRANSPOSING:
        return False
    mask = read_header(mask_path).displayed_size
    return mask == image.size and mask != image.displayed_size


def _is_deep(picture: Pillow.Image) -> bool:
    return picture.mode == "F" or picture.mode.startswith("I")


def _grey_levels(picture: Pillow.Image, path: Path) -> Levels:
    """Grey levels 0..255; of 16 bits the upper 8, as OpenCV does; float files are read as 0..1."""
    if not _is_deep(picture):
        return _channels(picture, "L")
    values = np.asarray(picture)
    if picture.mode == "F":
        return np.clip(values.astype(np.float64) * 255.0, 0.0, 255.0)
    if 0 < values.max() <= 255:
        raise SampleError(f"{path} has 16 bits but no level above 255; save it with 8 bits.")
    return np.clip(values >> 8, 0, 255).astype(np.uint8)
