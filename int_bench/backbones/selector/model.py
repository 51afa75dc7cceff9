"""Selector: SAPNet's selection as a model, from an adapter folder that a training wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from int_bench.backbones.common import adapter
from int_bench.backbones.common.model import LocalModel
from int_bench.backbones.selector import bms
from int_bench.backbones.selector.network import SelectionNetwork, normalised
from int_bench.backbones.selector.options import Choices
from int_bench.backbones.selector.selection import Bags, final_boxes, first_stage, second_stage
from int_bench.core.limits import Count
from int_bench.core.requests import Selection, SelectProposal
from int_bench.errors import MissingAsset, SampleError

if TYPE_CHECKING:
    from int_bench.core.protocols import Selector as SelectorProtocol

KIND = "sapnet_selector"
FROZEN = "none"
"""A selector belongs to no frozen model: it is trained whole."""


@dataclass(frozen=True)
class Trained:
    """A selector's network and what it was trained as.

    Attributes:
        network: on its device.
        categories: the classes, in the order of its outputs.
        choices: what it was trained with.
    """

    network: SelectionNetwork
    categories: tuple[str, ...]
    choices: Choices


@dataclass(eq=False)
class Selector(LocalModel):
    """A selector of proposals for objects of known class.

    Args:
        checkpoint: the folder ``final`` of a training of a selector, or ``zoo:NAME``.
        revision, device: As of every `LocalModel`.
        dtype: of the network; its precision is float32.
        max_batch: images of one pass.

    ``counters``: ``images`` and ``objects``.
    """

    ROLE: ClassVar[str] = "selector"
    ADAPTERS: ClassVar[dict[str, tuple[str, str]]] = {
        "checkpoint": ("sapnet_selector", "sapnet_select")
    }
    PRECISION: ClassVar[dict[str, str]] = {"E1": "float32", "E2": "float32"}

    max_batch: Count = field(default=8, kw_only=True)

    def select(self, requests: Sequence[SelectProposal]) -> list[tuple[Selection, ...]]:
        """A selection for each object of each request.

        Raises:
            SampleError: an object is of a class that the selector was not trained on, or a number
                is not finite.
            MissingAsset: the adapter cannot be loaded.
        """
        with self.computing():
            return self.in_batches(requests, self._select)

    def load(self) -> Trained:
        """The network of the adapter."""
        read = adapter.read(self.checkpoint, KIND, FROZEN)
        try:
            categories = tuple(str(name) for name in read.sizes["categories"])
            choices = Choices.of(read.sizes["choices"])
            width = int(read.sizes["width"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MissingAsset(
                f"The adapter {read.folder} does not say what its selector was trained as "
                f"({error}); train it again."
            ) from error
        network = SelectionNetwork(len(categories), width, choices.psm.background)
        read.fill(network)
        network.to(self.place).eval().requires_grad_(False)
        return Trained(network, categories, choices)

    def _select(self, requests: Sequence[SelectProposal]) -> list[tuple[Selection, ...]]:
        answers = []
        for request in requests:  # one by one: sizes differ, and PPG cuts boxes to the picture
            answers.append(self._of_image(request) if request.objects else ())
            self.counters["images"] += 1
            self.counters["objects"] += len(request.objects)
        return answers

    def _of_image(self, request: SelectProposal) -> tuple[Selection, ...]:
        trained, bags = self.loaded, self._bags(request)
        choices, network = trained.choices, trained.network
        pixels = torch.tensor(request.image.pixels, device=self.place).permute(2, 0, 1).float()
        maps = network.trunk(normalised([pixels]))
        first = first_stage(network.head, maps, bags, choices)
        second = None
        if choices.prm.enabled:
            second = second_stage(network.head, maps, bags, first, choices)
        boxes = final_boxes(bags, first, second, choices)
        scores = first.own if second is None else second.own[:, : bags.boxes.shape[1]]
        self.finite.see("selection scores", scores)
        index = bms.nearest(boxes, bags.boxes, bags.valid)
        rows = zip(index.tolist(), scores.tolist(), boxes.tolist(), first.index, strict=True)
        return tuple(
            Selection(place, tuple(row), (box[0], box[1], box[2], box[3]), int(psm))
            for place, row, box, psm in rows
        )

    def _bags(self, request: SelectProposal) -> Bags:
        categories = self.loaded.categories
        unknown = next((o.category for o in request.objects if o.category not in categories), None)
        if unknown is not None:
            raise SampleError(
                f"The selector {self.checkpoint} was not trained on the class {unknown!r}; it "
                f"knows {', '.join(categories[:8])}{', ...' if len(categories) > 8 else ''}."
            )
        labels = [categories.index(item.category) for item in request.objects]
        nothing = (0.0, 0.0, 1.0, 1.0)
        boxes = [[box or nothing for box in item.boxes] for item in request.objects]
        valid = [[box is not None for box in item.boxes] for item in request.objects]
        points = [item.point for item in request.objects]
        height, width = request.image.size
        limits = (width, height, width, height)
        return Bags(
            torch.zeros(len(labels), dtype=torch.int64, device=self.place),
            self._tensor(boxes),
            torch.tensor(valid, device=self.place),
            self._tensor(points),
            torch.tensor(labels, device=self.place),
            self._tensor([limits] * len(labels)),
        )

    def _tensor(self, values: Any) -> Tensor:
        return torch.from_numpy(np.array(values, dtype=np.float32)).to(self.place)


if TYPE_CHECKING:
    _check: type[SelectorProtocol] = Selector
