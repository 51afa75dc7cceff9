"""A data set of noise with ellipses for objects, and models that propose and select at once.

They stand where a training step is measured: what it costs hangs on sizes and counts alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from int_bench.backbones.sam.loading import SamConfig, build_sam
from int_bench.backbones.sam.model import Sam
from int_bench.core.geometry import tight_box
from int_bench.core.instances import Instance
from int_bench.core.requests import Proposals, Segmentation, Selection, SelectProposal
from int_bench.core.types import HardMask, Image, Picture
from int_bench.data.dataset import SampleFile
from scripts.bench.untrained.library import NAME
from scripts.bench.untrained.weights import randomise


def ellipse(size: tuple[int, int], centre: tuple[float, float], half: float) -> HardMask:
    """A mask (H, W) of twice as many rows as columns around x, y; cut at the edges."""
    rows, columns = np.ogrid[: size[0], : size[1]]
    inside: HardMask = (
        ((columns + 0.5 - centre[0]) / half) ** 2 + ((rows + 0.5 - centre[1]) / (2 * half)) ** 2
    ) <= 1
    return inside


@dataclass(frozen=True)
class Noise:
    """Pictures of noise, an image a sample.

    Attributes:
        size: (height, width).
        objects_each: objects of an image.
        classes: of the objects.
        count: images.
        name: the set's.
    """

    size: tuple[int, int]
    objects_each: int
    classes: int = 80
    count: int = 2
    name: str = "noise"

    @property
    def categories(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(f"class {number}" for number in range(self.classes))

    def samples(self) -> Sequence[SampleFile]:
        """All images."""
        return [SampleFile(f"noise-{number}") for number in range(self.count)]

    def load_image(self, sample: SampleFile) -> Image:
        """(H, W, 3) uint8."""
        image: Image = self._draws(sample).integers(0, 256, (*self.size, 3), dtype=np.uint8)
        return image

    def load_mask(self, sample: SampleFile) -> HardMask:
        """The union of the objects, (H, W) bool."""
        union: HardMask = np.any([known.mask for known in self.objects(sample)], axis=0)
        return union

    def objects(self, sample: SampleFile) -> tuple[Instance, ...]:
        """Ellipses of a twentieth to a quarter of the shorter side, anywhere."""
        draws, side = self._draws(sample), min(self.size)
        objects = []
        for number in range(self.objects_each):
            x, y = draws.uniform(0.2, 0.8, 2) * self.size[::-1]
            half = float(draws.uniform(side / 20, side / 4)) / 2
            mask = ellipse(self.size, (float(x), float(y)), half)
            box, name = tight_box(mask), self.categories[number % self.classes]
            assert box is not None
            objects.append(Instance(f"{sample.id}-{number}", name, mask, box, (float(x), float(y))))
        return tuple(objects)

    def manifest(self) -> str:
        """What decides them."""
        return repr(self)

    def _draws(self, sample: SampleFile) -> np.random.Generator:
        return np.random.default_rng(int(sample.id.rpartition("-")[2]))


class Proposer:
    """Three ellipses around the point, at once."""

    identity: Mapping[str, Any] = {"model": "ellipses"}

    def proposals(self, requests: Sequence[Proposals]) -> list[tuple[Segmentation, ...]]:
        """As of a segmenter."""
        return [tuple(self._masks(request)) for request in requests]

    def _masks(self, request: Proposals) -> list[Segmentation]:
        size, point = request.image.size, request.points[0]
        halves = [min(size) * share for share in (0.04, 0.08, 0.12)]
        masks = [ellipse(size, (point.x, point.y), half) for half in halves]
        return [Segmentation(np.where(mask, 1, -1).astype(np.float32), 0.5) for mask in masks]


class Chooser:
    """The first proposal, at once."""

    def select(self, requests: Sequence[SelectProposal]) -> list[tuple[Selection, ...]]:
        """As of a selector."""
        return [tuple(map(self._choice, request.objects)) for request in requests]

    def _choice(self, known: Any) -> Selection:
        box = known.boxes[0]
        assert box is not None
        return Selection(0, tuple(1.0 / (n + 1) for n in range(len(known.boxes))), box, 0)


class DecoderAlone(Sam):
    """SAM with random weights of which the encoder is not there: embeddings are noise.

    Args:
        full: SAM's own sizes (256 channels, 64 x 64 cells); else 32 channels, 8 x 8 cells.
    """

    def __init__(self, full: bool, device: str) -> None:
        super().__init__(NAME, device=device)
        self._full = full

    def read(self) -> Any:
        """The prompt encoder and the mask decoder behind an encoder of one small layer."""
        sizes = partial(SamConfig, 1024) if self._full else partial(
            SamConfig, 128, out_chans=32, decoder_mlp_dim=64, iou_head_hidden_dim=32
        )  # fmt: skip
        return randomise(build_sam(sizes(embed_dim=32, depth=1, num_heads=2)))

    def _encode(self, pictures: Sequence[Picture]) -> Tensor:
        encoder = self.loaded.prompt_encoder
        shape = (len(pictures), encoder.embed_dim, *encoder.image_embedding_size)
        return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(self.place)
