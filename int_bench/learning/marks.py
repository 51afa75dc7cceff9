"""Weak supervision made from masks: a point or a scribble on the object, and one beside it.

They are an annotation: drawn once for an object, whatever the step. Reading: a scribble is a
straight stroke, the longest of some chords that lie inside; data sets with scribbles of people
are not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from int_bench.core.seeding import derive_seed
from int_bench.learning.mask_losses import Marks

_CHORDS, _DENSITY = 16, 32
"""Chords that a stroke is chosen from; points along it."""


def marks_of(
    ids: Sequence[str], masks: Tensor, kind: Literal["point", "scribble"], seed: int
) -> Marks:
    """The marks of some objects; the same at every call.

    Args:
        ids: of the objects.
        masks: (B, s, s), 0..1.
        kind: of the marks.
        seed: of the annotation.
    """
    count = 1 if kind == "point" else _DENSITY
    cells = masks.shape[-1]
    places = np.zeros((len(ids), 2 * count, 2), np.float32)
    for row, (sample_id, mask) in enumerate(zip(ids, masks.numpy(), strict=True)):
        rng = np.random.default_rng(derive_seed(seed, sample_id, "marks"))
        places[row, :count] = _stroke(mask > 0.5, count, rng)
        places[row, count:] = _stroke(mask < 0.5, count, rng)
    inside = torch.tensor([1.0] * count + [0.0] * count).expand(len(ids), -1)
    return Marks(torch.from_numpy(2.0 * (places + 0.5) / cells - 1.0), inside)


def _stroke(area: NDArray[np.bool_], count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(count, 2) x, y in cells: a point of the area, or points along a chord inside of it."""
    rows, columns = np.nonzero(area if area.any() else np.ones_like(area))
    if count == 1:
        number = int(rng.integers(len(rows)))
        return np.array([[columns[number], rows[number]]], np.float32)
    ends = rng.integers(len(rows), size=(2, _CHORDS))
    starts, stops = (np.stack([columns[end], rows[end]], -1).astype(np.float64) for end in ends)
    along = np.linspace(0.0, 1.0, count)[None, :, None]
    chords = starts[:, None] * (1.0 - along) + stops[:, None] * along
    cells = np.rint(chords).astype(np.int64)
    whole = area[cells[..., 1], cells[..., 0]].all(1)
    length = np.linalg.norm(stops - starts, axis=1) * whole
    chosen: NDArray[np.float32] = chords[int(length.argmax())].astype(np.float32)
    return chosen if length.max() > 0 else np.repeat(chosen[:1], count, 0)
