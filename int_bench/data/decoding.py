"""From a file to its pixels as stored; the one place where image files are opened.

Pillow decodes what it decodes without loss; TIFFs of other layouts or of more than eight bits in
several samples go through tifffile, PNGs of 16 bits in several samples through OpenCV (Pillow keeps
their upper eight bits). A file is never decoded before its size is known: above ``max_pixels`` it
is refused. Whatever a decoder raises on a damaged file becomes a ``SampleError`` with the path.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from int_bench.data.remarks import remark
from int_bench.errors import SampleError

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"})
"""Extensions of image and mask files, lower case."""
MAX_PIXELS = 100_000_000
"""Pixels above which a file is refused before it is decoded, unless the data set says otherwise."""
Values: TypeAlias = NDArray[Any]
"""Pixels as stored: (H, W) grey or (H, W, 3) RGB; bool, integers or floats of any width."""

_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF", "WEBP", "GIF")
_READ = "PNG, JPEG, BMP, TIFF, WebP and GIF files are read"
_PAGED = ("TIFF", "GIF", "WEBP")
_SHALLOW = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_ORIENTATION_TAG, _BITS_TAG, _SAMPLES_TAG, _WHITE_TAG = 0x0112, 258, 277, 262
_TRANSPOSING = (5, 6, 7, 8)
_LFS_HEAD = b"version https://git-lfs.github.com/spec/"
_PNG_HEAD = b"\x89PNG\r\n\x1a\n"
_TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_OPENING = threading.Lock()

# tifffile reports on damaged files through logging; what matters of it is raised as well.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Header:
    """What a file says about itself before its pixels are decoded.

    ``size`` is (height, width) as stored; ``orientation`` is the EXIF value 1..8; ``mode`` is
    Pillow's, or type and samples where Pillow does not read the file; ``deep`` is True for more
    than 8 bits a sample.
    """

    size: tuple[int, int]
    orientation: int
    mode: str
    format: str
    deep: bool = False

    @property
    def displayed_size(self) -> tuple[int, int]:
        """(height, width) after the EXIF orientation is applied."""
        height, width = self.size
        return (width, height) if self.orientation in _TRANSPOSING else (height, width)

    @property
    def transposing(self) -> bool:
        """Whether the orientation swaps height and width."""
        return self.orientation in _TRANSPOSING


@dataclass(frozen=True)
class Pixels:
    """The pixels of a file; ``alpha`` is (H, W) of the same type, None if there is none."""

    values: Values
    alpha: Values | None = None


def fault_of(path: Path) -> str | None:
    """What keeps a file from being an image at all: missing, empty, an LFS pointer; or None."""
    try:
        with path.open("rb") as file:
            return _fault_of_content(file)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def read_header(path: Path, max_pixels: int = MAX_PIXELS) -> Header:
    """Size, orientation and mode of an image file; only a PNG has to be decoded for it.

    Raises:
        SampleError: the file is missing, empty, an LFS pointer, not an image, or too large.
    """
    with decoding(path, max_pixels) as file:
        return file.header


def is_deep(path: Path) -> bool:
    """Whether an image file has more than 8 bits a sample; False for one that cannot be read."""
    try:
        if path.suffix.lower() not in (".tif", ".tiff"):  # a few bytes of a PNG tell it
            with path.open("rb") as stream:
                return _png_depth(stream.read(26)) == 16
        return read_header(path).deep
    except (OSError, SampleError):
        return False


@dataclass(frozen=True)
class ImageFile:
    """An open file; ``picture`` is None where Pillow does not know the layout."""

    path: Path
    stream: BinaryIO
    header: Header
    picture: Pillow.Image | None

    def pixels(self, mode: str, upright: bool = True) -> Pixels:
        """Decode.

        Args:
            mode: ``L`` or ``RGB``: what files of 8 bits are converted to; deeper ones keep their
                channels.
            upright: apply the orientation.
        """
        header = self.header if upright else replace(self.header, orientation=1)
        if header.format in _PAGED and getattr(self.picture, "n_frames", 1) > 1:
            remark("pages", f"{self.path.name} holds several pictures; its first is read")
        if self.picture is None:
            return _tiff_pixels(self.stream, self.path)
        if header.deep and self.picture.mode in _SHALLOW:
            if header.format == "TIFF":
                return _tiff_pixels(self.stream, self.path)
            return _deep_png(self.stream, header)
        self.picture.load()
        picture = self.picture if header.orientation == 1 else ImageOps.exif_transpose(self.picture)
        if header.deep:
            _refuse_white_is_zero(self.picture, self.path)
            return Pixels(np.asarray(picture))
        return _shallow(picture, mode)


@contextmanager
def decoding(path: Path, max_pixels: int = MAX_PIXELS) -> Iterator[ImageFile]:
    """An image file, opened once and closed at the end; its size is within the limit.

    Raises:
        SampleError: the file is missing, empty, an LFS pointer, no image, too large, or (in the
            block) damaged.
    """
    try:
        stream = path.open("rb")
    except (OSError, ValueError) as error:
        raise SampleError(f"{path} {fault_of(path) or 'cannot be read'}.") from error
    with stream, guarded(path):
        fault = _fault_of_content(stream)
        if fault is not None:
            raise SampleError(f"{path} {fault}.")
        head = stream.read(26)
        stream.seek(0)
        picture = _picture_in(stream, path, head)
        if picture is None:
            header = _tiff_header(stream)
            refuse_huge(path, header.size, max_pixels)
        else:  # asking a PNG for its orientation may decode it
            refuse_huge(path, (picture.height, picture.width), max_pixels)
            header = _header_of(picture, head)
        yield ImageFile(path, stream, header, picture)


def refuse_huge(path: Path, size: tuple[int, ...], max_pixels: int) -> None:
    """Refuse a picture before it is decoded.

    Raises:
        SampleError: it has more than ``max_pixels`` pixels, or none.
    """
    count = int(np.prod(size, dtype=np.float64))
    if count == 0:
        raise SampleError(f"{path} has no pixels.")
    if count > max_pixels:
        sides = "x".join(str(side) for side in reversed(size))
        raise SampleError(
            f"{path} has {sides} pixels, {count / 1e6:.1f} million; at most"
            f" {max_pixels / 1e6:g} million are decoded (dataset.max_pixels)."
        )


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Name the file in whatever its decoder raises.

    Raises:
        SampleError: in place of any other exception.
    """
    try:
        yield
    except SampleError:
        raise
    except Exception as error:  # decoders raise whatever a damaged file leads them into
        lines = str(error).strip().splitlines()
        reason = lines[0][:200].rstrip(".") if lines else type(error).__name__
        raise SampleError(f"{path} is damaged or cannot be decoded: {reason}.") from error


def _fault_of_content(stream: BinaryIO) -> str | None:
    """What its first bytes say against a file, which is wound back to its start; or None."""
    head = stream.read(len(_LFS_HEAD))
    stream.seek(0)
    if not head:
        return "is empty (0 bytes)"
    if head == _LFS_HEAD:
        return "is a Git LFS pointer, not the file itself; run `git lfs pull` where it came from"
    return None


def _picture_in(stream: BinaryIO, path: Path, head: bytes) -> Pillow.Image | None:
    """The picture as Pillow sees it; None for a TIFF whose layout it does not know."""
    is_tiff = head.startswith(_TIFF_HEADS)
    try:
        with _OPENING:  # Pillow's own limit is one for the whole process
            limit, Pillow.MAX_IMAGE_PIXELS = Pillow.MAX_IMAGE_PIXELS, None
            try:
                picture = Pillow.open(stream, formats=_FORMATS)
            finally:
                Pillow.MAX_IMAGE_PIXELS = limit
    except UnidentifiedImageError as error:
        if is_tiff:
            return None
        start = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in head[:12])
        raise SampleError(
            f"{path} is not an image that can be read: it starts with {start!r}; {_READ}."
        ) from error
    is_plain = picture.mode in _SHALLOW or picture.mode == "F" or picture.mode.startswith("I")
    return None if is_tiff and not is_plain else picture


def _header_of(picture: Pillow.Image, head: bytes) -> Header:
    orientation = int(picture.getexif().get(_ORIENTATION_TAG, 1))
    deep = picture.mode == "F" or picture.mode.startswith("I") or _png_depth(head) == 16
    if picture.format == "TIFF":
        # Pillow turns a TIFF on decoding, and says from the start how large it will be.
        orientation = 1
        bits = picture.tag_v2.get(_BITS_TAG, (1,))  # type: ignore[attr-defined]
        deep = deep or max(np.atleast_1d(bits).tolist()) > 8
    size = (picture.height, picture.width)
    return Header(size, orientation, picture.mode, picture.format or "", deep)


def _png_depth(head: bytes) -> int:
    """Bits a sample in the header of a PNG; 0 for another file."""
    return head[24] if len(head) > 25 and head.startswith(_PNG_HEAD) else 0


def _shallow(picture: Pillow.Image, mode: str) -> Pixels:
    """The channels of a picture of 8 bits; Pillow would copy one that has them already."""
    has_alpha = picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info
    alpha = None
    if has_alpha:
        full = picture if picture.mode == "RGBA" else picture.convert("RGBA")
        alpha = np.asarray(full.getchannel("A"))
        picture = full.convert("RGB") if picture.mode in ("P", "PA") else picture
    converted = picture if picture.mode == mode else picture.convert(mode)
    return Pixels(np.asarray(converted, dtype=np.uint8), alpha)


def _refuse_white_is_zero(picture: Pillow.Image, path: Path) -> None:
    tags = getattr(picture, "tag_v2", {})
    if tags.get(_WHITE_TAG, 1) == 0:
        raise SampleError(
            f"{path} is a TIFF of more than 8 bits with white as zero; save it with black as zero."
        )


def _deep_png(stream: BinaryIO, header: Header) -> Pixels:
    stream.seek(0)
    content = np.frombuffer(stream.read(), dtype=np.uint8)
    decoded = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    if decoded is None:
        raise ValueError("its pixels end early")
    if decoded.ndim == 2:
        return Pixels(_turned(decoded, header.orientation))
    alpha = decoded[..., 3] if decoded.shape[2] == 4 else None
    return Pixels(
        _turned(decoded[..., 2::-1], header.orientation),
        None if alpha is None else _turned(alpha, header.orientation),
    )


def _tiff_header(stream: BinaryIO) -> Header:
    stream.seek(0)
    with tifffile.TiffFile(stream) as tiff:
        page = tiff.pages.first
        size = (int(page.imagelength), int(page.imagewidth))
        if _tiff_orientation(page) in _TRANSPOSING:
            size = (size[1], size[0])
        mode = f"{page.dtype} x {page.samplesperpixel}"
        return Header(size, 1, mode, "TIFF", page.dtype is None or page.dtype.itemsize > 1)


def _tiff_pixels(stream: BinaryIO, path: Path) -> Pixels:
    """The first page of a TIFF: grey or RGB, with or without an alpha.

    Raises:
        SampleError: it has other samples.
    """
    stream.seek(0)
    with tifffile.TiffFile(stream) as tiff:
        page = tiff.pages.first
        kind = getattr(page.photometric, "name", str(page.photometric))
        samples = int(page.samplesperpixel)
        if kind not in ("MINISBLACK", "RGB") or samples > 4:
            raise SampleError(
                f"{path} is a TIFF of {samples} samples a pixel, {kind}; grey (black is zero) and"
                " RGB, with or without alpha, are read."
            )
        values, orientation = page.asarray(), _tiff_orientation(page)
        if samples > 1 and page.axes.startswith("S"):
            values = np.moveaxis(values, 0, -1)
    values = _turned(values.reshape(*values.shape[:2], samples), orientation)
    colours = values[..., 0] if samples < 3 else values[..., :3]
    return Pixels(colours, values[..., -1] if samples in (2, 4) else None)


def _tiff_orientation(page: Any) -> int:
    tag = page.tags.get(_ORIENTATION_TAG)
    return int(tag.value) if tag is not None else 1


def _turned(values: Values, orientation: int) -> Values:
    """The pixels as a viewer shows them; EXIF values, 2..4 mirror and 5..8 swap the axes, too."""
    if orientation in _TRANSPOSING:
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values
