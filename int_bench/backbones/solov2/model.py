"""Instance segmenter: a trained SOLOv2 network finds the objects of a picture, without a prompt.

Source: Wang et al., arXiv 2003.10152, in the configuration of SAPNet (arXiv 2312.15895). This is
all that SAPNet runs at test time: neither SAM nor the selection of proposals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import torch

from int_bench.backbones.common import adapter as adapters
from int_bench.backbones.common.model import LocalModel
from int_bench.backbones.solov2.architecture import Architecture
from int_bench.backbones.solov2.head import Outputs, SoloNet
from int_bench.backbones.solov2.instances import Decoding, decode
from int_bench.backbones.solov2.pixels import normalised, padded_size, seen_size
from int_bench.core.limits import Above, Count, Share
from int_bench.core.requests import InstanceMask, Instances
from int_bench.errors import MissingAsset, UsageError

if TYPE_CHECKING:
    from int_bench.core.protocols import InstanceSegmenter

KIND = "solov2"
NO_FROZEN = "none"
"""What the network's folder says of a frozen model: it belongs to none."""


@dataclass(eq=False)
class SoloV2(LocalModel):
    """An `InstanceSegmenter`; options as of every `LocalModel`.

    ``counters``: ``rows``, pictures that went through the network.

    Args:
        checkpoint: a name for messages; all weights are the adapter's.
        adapter: the folder that ``int-bench train method=sapnet`` wrote.
        score: smallest probability of a category at a cell.
        mask: smallest probability of an object's pixel.
        considered: at most so many cells of a picture go into Matrix NMS.
        kept: smallest score after it.
        most: instances of a picture.
        sigma: of Matrix NMS's gaussian.

    Raises:
        UsageError: no folder is named.
    """

    ROLE: ClassVar[str] = "instance_segmenter"
    WEIGHTS: ClassVar[tuple[str, ...]] = ("adapter",)
    ADAPTERS: ClassVar[dict[str, tuple[str, str]]] = {"adapter": ("solov2", "sapnet")}
    NEEDS: ClassVar[tuple[str, ...]] = ("adapter",)

    checkpoint: str = "solov2"
    adapter: str | None = None
    score: Share = field(default=0.1, kw_only=True)
    mask: Share = field(default=0.5, kw_only=True)
    considered: Count = field(default=500, kw_only=True)
    kept: Share = field(default=0.05, kw_only=True)
    most: Count = field(default=100, kw_only=True)
    sigma: Annotated[float, Above(0)] = field(default=2.0, kw_only=True)

    def __post_init__(self) -> None:
        if self.adapter is None:
            raise UsageError(
                "backbone.instance_segmenter.adapter names no trained network; next step: "
                "`int-bench train method=sapnet dataset=NAME`, which prints its folder."
            )
        super().__post_init__()

    def instances(self, requests: Sequence[Instances]) -> list[tuple[InstanceMask, ...]]:
        """The instances of each request's picture, best first, masks at its size.

        Raises:
            SampleError: a number is not finite.
            OutOfMemory: the batch does not fit.
            MissingAsset: the folder cannot be read.
        """
        with self.computing():
            return self.in_batches(requests, self._find, self._padded)

    def load(self) -> Network:
        """The network that a training wrote.

        Raises:
            MissingAsset: its folder is missing, damaged or of another kind.
        """
        assert self.adapter is not None
        stored = adapters.read(self.adapter, KIND, NO_FROZEN)
        try:
            classes = tuple(map(str, stored.sizes["classes"]))
            architecture = Architecture.from_json(stored.sizes["architecture"])
        except (KeyError, TypeError, UsageError) as error:
            raise MissingAsset(
                f"{stored.folder} does not say which SOLOv2 network it holds ({error}); train it "
                "again."
            ) from error
        net = SoloNet(architecture, len(classes))
        stored.fill(net)
        ready = net.to(self.place, self.precision).eval().requires_grad_(False)
        return Network(ready, architecture, classes)

    def _padded(self, request: Instances) -> tuple[int, int]:
        architecture = self.loaded.architecture
        return padded_size(seen_size(request.image.size, architecture), architecture)

    def _find(self, requests: Sequence[Instances]) -> list[tuple[InstanceMask, ...]]:
        network: Network = self.loaded
        architecture = network.architecture
        pictures = torch.stack([normalised(r.image.pixels, architecture) for r in requests])
        compute = partial(network.net, pictures.to(self.place, self.precision))
        outputs: Outputs = self.flops.of(pictures.shape[1:], len(requests), compute)
        self.counters["rows"] += len(requests)
        for name, value in (("mask features", outputs.features), ("kernels", outputs.kernels[0])):
            self.finite.see(name, value)
        decoding = Decoding(
            self.score, self.mask, self.considered, self.kept, self.most, self.sigma
        )
        answers = []
        for index, request in enumerate(requests):
            size = request.image.size
            made = decode(
                outputs, index, architecture, seen_size(size, architecture), size, decoding
            )
            masks, scores = made.masks.cpu().numpy(), made.scores.float().tolist()
            names = [network.classes[kind] for kind in made.categories.tolist()]
            answers.append(tuple(map(InstanceMask, masks, names, scores)))
        return answers


@dataclass(frozen=True)
class Network:
    """What backbones with the same folder share; ``classes`` are the names of the categories."""

    net: SoloNet
    architecture: Architecture
    classes: tuple[str, ...]


def write(folder: Path, net: SoloNet, architecture: Architecture, classes: Sequence[str]) -> None:
    """Write a trained network where :class:`SoloV2` reads it; float16 where it is small.

    Args:
        folder: there and empty.
        net: on any device.
        architecture: its sizes.
        classes: the names of its categories, in the order of their numbers.
    """
    sizes = {"architecture": architecture.as_json(), "classes": list(classes)}
    half = architecture.trunk == "small"
    adapters.write(folder, KIND, NO_FROZEN, sizes, net.state_dict(), half)


if TYPE_CHECKING:
    _check: type[InstanceSegmenter] = SoloV2
