"""What is white in a set of files of more than 8 bits: decided over the whole set, and said.

A file of 16 bits may use 10, 12 or 16 of them, and one of floats may hold 0..1 or 0..255. A single
file cannot tell (a dim map of 16 bits looks like one of 10), the highest level of the set can.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from int_bench.data.decoding import MAX_PIXELS, Values, decoding, guarded, is_deep, refuse_huge
from int_bench.data.remarks import remark
from int_bench.errors import SampleError

WHITES = (255, 1023, 4095, 65535)
"""Levels of white in integer files: 8, 10, 12 and 16 bits."""
ROUNDING = 1e-6
"""By how much a float may leave its range, as a share of white."""
_UPPER_HALF = 127.0
_AGREEING = 0.9
_ROWS = 64


@dataclass(frozen=True)
class Depth:
    """The white of a set's deep files; ``None`` where the set has no such file.

    Attributes:
        integer: level of white of files of 16 bits or more, one of ``WHITES``.
        real: value of white of float files, 1 or 255.
        span: (lowest, highest) value of the set's float files.
        text: what was found and decided, one sentence without its full stop; empty if nothing was.
    """

    integer: int | None = None
    real: float | None = None
    span: tuple[float, float] = (0.0, 1.0)
    text: str = ""

    def scaled(self, values: Values, path: Path) -> Values:
        """Levels 0..255 of the values of a deep file: float64, or uint8 where white is 65535.

        Of integers that use all 16 bits the upper 8 count, as for OpenCV and so for the tools that
        made the published numbers.

        Args:
            values: integers of more than 8 bits, or floats; any shape.
            path: the file, to name it.

        Raises:
            SampleError: values are not finite, negative, or above the set's white.
        """
        white = self._white_of(values, path)
        return _scaled(values, white)

    def rounded(self, values: Values, path: Path) -> NDArray[np.uint8]:
        """The same as whole numbers, some rows at a time: levels in float64 are eight times these.

        Raises:
            SampleError: as :meth:`scaled`.
        """
        white = self._white_of(values, path)
        levels = np.empty(values.shape, dtype=np.uint8)
        for start in range(0, len(values), _ROWS):
            rows = slice(start, start + _ROWS)
            levels[rows] = np.rint(_scaled(values[rows], white))
        return levels

    def _white_of(self, values: Values, path: Path) -> float:
        """The white of a file, in which nothing is beyond its range.

        Raises:
            SampleError: as :meth:`scaled`.
        """
        if values.size == 0:
            raise SampleError(f"{path} has no pixels.")
        whole = np.issubdtype(values.dtype, np.integer)
        if not whole and not np.issubdtype(values.dtype, np.floating):
            raise SampleError(f"{path} has type {values.dtype}; integers or floats are needed.")
        if not whole and not np.isfinite(values).all():
            count = int((~np.isfinite(values)).sum())
            raise SampleError(f"{path} holds NaN or infinite values ({count} of {values.size}).")
        low, high = float(values.min()), float(values.max())
        decided = self.integer if whole else self.real
        own = self if decided else depth_of_spans([(whole, low, _top(values))], "")
        white = (own.integer if whole else own.real) or 1
        slack = 0.0 if whole else ROUNDING * white
        if low < -slack or high > white + slack:
            raise SampleError(f"{path} {self._refusal(low, high, whole)}")
        if self.text:
            remark("range", self.text)
        return float(white)

    def _refusal(self, lowest: float, highest: float, whole: bool) -> str:
        span = f"{lowest:.9g}..{highest:.9g}"
        if whole:
            return f"has levels {span}; 0..65535 (16 bits) at most is needed."
        low, high = self.span if self.real else (lowest, highest)
        of_set = f" in a set of {low:.9g}..{high:.9g}" if self.real else ""
        return f"is float with values {span}{of_set}; 0..1, or 0..255 in the whole set, is needed."


def _scaled(values: Values, white: float) -> Values:
    """Levels 0..255 of values of a known white."""
    if np.issubdtype(values.dtype, np.integer) and white == WHITES[-1]:
        return (values // 256).astype(np.uint8)
    numbers = values.astype(np.float64)
    numbers *= 255.0 / white
    return np.clip(numbers, 0.0, 255.0, out=numbers)


def depth_of(paths: Iterable[Path], max_pixels: int = MAX_PIXELS) -> Depth:
    """Look at every deep file of a set: ``.npy`` arrays, and images of more than 8 bits.

    Only those are decoded; for the others a few bytes are read. Files that cannot be read take no
    part, they fail on their own.
    """
    spans, folder = [], ""
    for path in paths:
        folder = str(path.parent)
        span = _span(path, max_pixels)
        if span is not None:
            spans.append(span)
    return depth_of_spans(spans, folder)


def depth_of_spans(spans: list[tuple[bool, float, float]], folder: str) -> Depth:
    """Decide from (whether it is an integer file, lowest, highest value) of each deep file.

    Integers have the fewest bits that hold the highest level. Floats are 0..255 only if the highest
    value is in the upper half of that and nine of ten files leave 0..1; else they are 0..1, and the
    files that are not are refused one by one.
    """
    tops = [top for whole, _, top in spans if whole]
    integer = next((white for white in WHITES if max(tops) <= white), WHITES[-1]) if tops else None
    reals = [(low, top) for whole, low, top in spans if not whole]
    real = None
    if reals:
        high = max(top for _, top in reals)
        wide = sum(top > 1.0 + ROUNDING for _, top in reals)
        fits = _UPPER_HALF < high <= 255.0 * (1 + ROUNDING)
        real = 255.0 if fits and wide >= _AGREEING * len(reals) else 1.0
    said = []
    if integer:
        bits = integer.bit_length()
        said.append(f"{_files(tops)} of 16 bits, highest level {max(tops):g}, read as {bits} bits")
    if real and reals:
        high = max(top for _, top in reals)
        said.append(f"{_files(reals)} of floats, highest {high:.6g}, read as 0..{real:g}")
    span = (min(low for low, _ in reals), max(top for _, top in reals)) if reals else (0.0, 1.0)
    text = f"{folder}: {'; '.join(said)}" if said and folder else ""
    return Depth(integer, real, span, text)


def load_array(path: Path, max_pixels: int = MAX_PIXELS) -> Values:
    """The array in a ``.npy`` file, as stored; nothing in it is executed.

    Raises:
        SampleError: the file is damaged, larger than the limit, or holds anything but numbers.
    """
    with guarded(path):
        try:
            # Mapped, so that the header cannot ask for more memory than there are bytes.
            array = np.load(path, allow_pickle=False, mmap_mode="r")
        except FileNotFoundError:
            raise
        except Exception as error:  # a damaged header is parsed as Python and raises what that does
            reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
            raise SampleError(f"Prediction {path} is not a plain .npy array: {reason}.") from error
        if not isinstance(array, np.ndarray):
            raise SampleError(f"Prediction {path} is not a plain .npy array but an archive.")
        refuse_huge(path, array.shape, max_pixels)
        return np.array(array)


def is_deep_array(values: Values) -> bool:
    """Whether an array is to be scaled by its set: floats, and unsigned integers of 16 bits."""
    return np.issubdtype(values.dtype, np.floating) or values.dtype == np.uint16


def _span(path: Path, max_pixels: int) -> tuple[bool, float, float] | None:
    try:
        if path.suffix.lower() == ".npy":
            values = load_array(path, max_pixels)
            if not is_deep_array(values):
                return None
        elif is_deep(path):
            with decoding(path, max_pixels) as file:
                values = file.pixels("RGB").values
        else:
            return None
    except SampleError:
        return None
    finite = values[np.isfinite(values)] if np.issubdtype(values.dtype, np.floating) else values
    if finite.size == 0:
        return None
    return np.issubdtype(values.dtype, np.integer), float(finite.min()), _top(finite)


def _top(values: Values) -> float:
    return float(values.max())


def _files(items: list[float] | list[tuple[float, float]]) -> str:
    return f"{len(items)} file{'s' if len(items) != 1 else ''}"
