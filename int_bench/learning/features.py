"""SAM's embeddings of a training's pictures: each picture encoded once, kept on the disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from int_bench.backbones.sam import Sam
from int_bench.core.text import many
from int_bench.core.types import Picture
from int_bench.data.dataset import Dataset, SampleFile
from int_bench.errors import SampleError, UsageError
from int_bench.learning.store import Rows, Store, say


@dataclass(frozen=True)
class Features:
    """Features of pictures by the samples that show them.

    Attributes:
        values: (N, C, g, g) float16, mapped from the disk; a row a picture.
        rows: by sample id, the row of its picture; samples whose picture cannot be read are absent.
    """

    values: NDArray[np.float16]
    rows: Mapping[str, int]

    def take(self, ids: Sequence[str], device: torch.device) -> Tensor:
        """The features of some samples, (B, C, g, g) float32 on a device."""
        rows = np.stack([self.values[self.rows[sample_id]] for sample_id in ids])
        return torch.from_numpy(rows).to(device).float()


def embeddings(segmenter: Sam, data: Dataset, scratch: Path, name: str) -> Features:
    """SAM's embeddings of a data set's pictures.

    Args:
        segmenter: frozen.
        data: its samples; those of one picture share a row.
        scratch: the folder that they are kept in.
        name: of the files in it, such as ``train``.

    Raises:
        UsageError: no picture can be read.
        OutOfMemory: a pass does not fit.
    """
    samples = data.samples()
    first: dict[str, SampleFile] = {}
    for sample in samples:
        first.setdefault(sample.topic, sample)
    encoder = segmenter.loaded.prompt_encoder
    shape = (encoder.embed_dim, *encoder.image_embedding_size)
    owner = [segmenter.frozen, data.manifest(), list(first)]
    store = Store(scratch / f"{name}_embeddings", owner, "float16", shape)
    wanted = list(first.values())

    def encode(block: Sequence[SampleFile]) -> tuple[Rows, list[int]]:
        pictures: dict[int, Picture] = {}
        for place, sample in enumerate(block):
            with suppress(SampleError):
                pictures[place] = Picture(data.load_image(sample))
        rows = np.zeros((len(block), *shape), np.float16)
        if pictures:
            rows[list(pictures)] = segmenter.embed(list(pictures.values())).cpu().numpy()
        return rows, [place for place in range(len(block)) if place not in pictures]

    lost = store.fill(wanted, encode, f"{name} picture")
    if len(lost) == len(wanted):
        raise UsageError(f"No picture of {data.name} can be read; `int-bench data check` says why.")
    if lost:
        named = ", ".join(wanted[number].id for number in sorted(lost)[:5])
        say(f"{many(len(lost), 'picture')} cannot be read and are left out: {named}.")
    places = {topic: row for row, topic in enumerate(first) if row not in lost}
    rows = {s.id: places[s.topic] for s in samples if s.topic in places}
    return Features(store.values(), rows)
