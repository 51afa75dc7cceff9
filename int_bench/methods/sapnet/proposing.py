"""From an object's point to its bag of proposals: what SAM is asked.

Source: SAPNet, Section 4.2. Reading: a bag of six is SAM's three masks of the point and its three
of the point with a box; the script that made the authors' bags is not released.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import numpy as np

from int_bench.core.geometry import clip_box, tight_box
from int_bench.core.instances import Instance
from int_bench.core.limits import Within
from int_bench.core.requests import ObjectBag, Point, Proposals, Segmentation
from int_bench.core.seeding import derive_seed
from int_bench.core.types import Box, Picture
from int_bench.errors import UsageError


@dataclass(frozen=True)
class Proposing:
    """What makes a bag.

    Attributes:
        bag: ``point3`` is SAM's three masks of the point, ``point3_box3`` also its three of the
            point with the enhancer's box.
        enhancer: where that box comes from. In the paper it is a network that is trained on points
            (P2BNet), which is not here. ``jitter`` is the true box, shaken: an oracle, which rows
            that use it must say.
        sigma: standard deviation by which each edge is shaken, as a share of the box's side.
        seed: of the shaking; keyed by the object's id.

    Raises:
        UsageError: the bag needs a box and nothing enhances the point to one.
    """

    bag: Literal["point3", "point3_box3"] = "point3_box3"
    enhancer: Literal["none", "jitter"] = "jitter"
    sigma: Annotated[float, Within(0.0, 1.0)] = 0.15
    seed: Annotated[int, Within(0, 9223372036854775807)] = 0

    def __post_init__(self) -> None:
        if self.bag == "point3_box3" and self.enhancer == "none":
            raise UsageError(
                "A bag point3_box3 needs a box of the object: set enhancer=jitter, which reads the "
                "true one, or bag=point3."
            )

    def requests(self, image: Picture, instance: Instance) -> list[Proposals]:
        """The prompts of an object's bag, in its order."""
        point = (Point(*instance.point, positive=True),)
        prompts = [Proposals(image, point)]
        if self.bag == "point3_box3":
            prompts.append(Proposals(image, point, self._box(instance, image.size)))
        return prompts

    def as_json(self) -> dict[str, Any]:
        """What decides a bag."""
        return asdict(self)

    def _box(self, instance: Instance, size: tuple[int, int]) -> Box:
        """The enhanced point, with sides of a pixel at least."""
        x0, y0, x1, y1 = instance.box
        sides = np.array([x1 - x0, y1 - y0] * 2)
        generator = np.random.default_rng(derive_seed("enhancer", self.seed, instance.id))
        shaken = np.array(instance.box) + generator.standard_normal(4) * self.sigma * sides
        low = np.minimum(shaken[:2], shaken[2:])
        high = np.maximum(np.maximum(shaken[:2], shaken[2:]), low + 1.0)
        left, top, right, bottom = np.concatenate([low, high]).tolist()
        return clip_box((left, top, right, bottom), size)


def bag_of(instance: Instance, proposals: Sequence[Segmentation]) -> ObjectBag:
    """An object with the boxes of its proposals' masks."""
    boxes = tuple(tight_box(proposal.logits > 0) for proposal in proposals)
    return ObjectBag(instance.category, instance.point, boxes)
