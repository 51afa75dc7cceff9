"""What Eq. (12) does to the shipped segmenter: SAM on the true box of dimmed validation scenes.

    python -m scripts.experiments.dimming                 # 128 scenes

Four passes of X_{i+1} = w (X . M) + (1 - w) X_i with three masks: everything (no dimming), the true
mask, and its larger half, as a soft mask keeps it whose best patch holds one half of the object.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

import int_bench.zoo.measures as zoo
from int_bench.config import build_backbones, load_config
from int_bench.core import equations
from int_bench.core.requests import Segment
from int_bench.core.types import HardMask, Image, Picture
from int_bench.data.world.scenes import boxes, draw

PASSES = 4  # five masks, four of them dim
W = 0.3


def main(n: Annotated[int, typer.Option(help="Validation scenes.")] = 128) -> None:
    """Print IoU with the truth, and the share of each half of the object that is found."""
    scenes = draw("validation", range(n))
    truths = scenes.masks[:, 0].astype(bool)
    lit = {
        "nothing": np.ones_like(truths),
        "all but the object": truths,
        "all but its larger half": np.stack([larger_half(mask) for mask in truths]),
    }
    segment = build_backbones(load_config(["models=tiny", "exactness=E1"]))["segmenter"].segment  # type: ignore[attr-defined]
    halves = lit["all but its larger half"]
    print(f"{'dimmed':<24}  IoU    larger half found  other half found")
    for name, kept in lit.items():
        views = [dimmed(*pair) for pair in zip(scenes.images, kept, strict=True)]
        requests = [
            Segment(Picture(view), (float(x0), float(y0), float(x1), float(y1)))
            for view, (x0, y0, x1, y1) in zip(views, boxes(scenes.masks)[:, 0], strict=True)
        ]
        masks = np.stack([answer.logits > 0 for answer in zoo.ask(segment, requests)])
        figures = [iou(masks, truths), share(masks, halves), share(masks, truths & ~halves)]
        print(f"{name:<24}  {figures[0]:.3f}  {figures[1]:<17.3f}  {figures[2]:.3f}")


def larger_half(mask: HardMask) -> HardMask:
    """The part of a mask in the half of the image (left, right, top, bottom) with most of it."""
    middle = mask.shape[0] // 2, mask.shape[1] // 2
    rows, columns = np.indices(mask.shape)
    halves = [rows < middle[0], rows >= middle[0], columns < middle[1], columns >= middle[1]]
    cut = [mask & half for half in halves]
    # A half that holds all of the object cuts nothing.
    return max(cut, key=lambda part: part.sum() if (mask & ~part).any() else 0)


def dimmed(image: Image, kept: HardMask) -> Image:
    """The view after some passes of Eq. (12) with one mask."""
    view = image.astype(np.float32)
    for _ in range(PASSES):
        view = equations.reweight(image, view, kept.astype(np.float32), W)
    return np.rint(view).astype(np.uint8)


def iou(masks: NDArray[np.bool_], truths: NDArray[np.bool_]) -> float:
    """Mean intersection over union."""
    common, either = ((op(masks, truths)).sum((1, 2)) for op in (np.logical_and, np.logical_or))
    return float((common / either).mean())


def share(masks: NDArray[np.bool_], parts: NDArray[np.bool_]) -> float:
    """Mean share of a part that the masks hold, over the scenes that have one."""
    sizes = parts.sum((1, 2))
    recall = (masks & parts).sum((1, 2))[sizes > 0] / sizes[sizes > 0]
    return float(recall.mean())


if __name__ == "__main__":
    typer.run(main)
