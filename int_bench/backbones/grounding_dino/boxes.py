"""What both GroundingDINO backbones share: caption, thin images, and from logits to detections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import PIL.Image
import torch
import torchvision

from int_bench.backbones.common.square import shrunk
from int_bench.backbones.grounding_dino.captions import SPECIAL_TOKENS
from int_bench.core.limits import AtLeast
from int_bench.core.requests import Detect, Detection
from int_bench.core.types import Image

THINNEST = 8
"""The highest aspect ratio that is shown as it is; of thinner strips too few cells would be left to
choose the queries from, or none."""


LONGEST_SIDE = 8192
"""Of an image that is shown, in pixels; a longer one is shrunk before it is stretched."""

MaxBoxes = Annotated[int, AtLeast(0)]


@dataclass(frozen=True)
class Selection:
    """Which boxes a detector answers with.

    Attributes:
        nms: of two boxes with a higher IoU only the better one stays, whatever their words;
            1 keeps all.
        max_boxes: most boxes per request; 0 keeps all.
    """

    nms: float = 0.7
    max_boxes: int = 10


def caption(text: str) -> str:
    """The phrase as GroundingDINO was trained on it: lower case, with a full stop at the end.

    >>> caption(" Sea Horse ")
    'sea horse.'
    """
    text = text.lower().strip()
    return text if text.endswith(".") else text + "."


def image_for_detection(image: Image) -> PIL.Image.Image:
    """An image, (H, W, 3) uint8, for the library's own preprocessing.

    A strip thinner than 1:8 has its short side stretched to that. Boxes are relative to width
    and height, so that this needs no way back.
    """
    image = shrunk(image, LONGEST_SIDE)
    height, width = image.shape[:2]
    least = -(-max(height, width) // THINNEST)
    picture = PIL.Image.fromarray(image)
    if min(height, width) >= least:
        return picture
    return picture.resize((max(width, least), max(height, least)), PIL.Image.Resampling.BILINEAR)


def select(
    request: Detect,
    logits: torch.Tensor,
    boxes: torch.Tensor,
    tokens: torch.Tensor,
    selection: Selection,
    frame: tuple[float, float] | None = None,
) -> tuple[Detection, ...]:
    """The detections of one request, best first.

    A box's score is the highest probability over its tokens, and it must be above
    ``box_threshold``, as in both libraries. Reading: they use ``text_threshold`` to write the
    phrase of a box; here the phrase must not be empty, that is, at least one token between the
    special ones is above it. Then boxes are clipped, suppressed (``nms``) and cut to ``max_boxes``.

    Args:
        request: what was asked; boxes are clipped to its image, its thresholds are used.
        logits: (Q, T), T >= N; minus infinity where there is no token.
        boxes: (Q, 4) centre x, centre y, width, height relative to the frame.
        tokens: (N,) ids of the caption's tokens, special ones included.
        selection: suppression and the largest number of boxes.
        frame: height and width, in pixels of the image, of the padded picture that the model saw,
            with the image at its upper left; None: of the image itself.

    Returns:
        Boxes in pixels of the request's image, inside it and not empty.
    """
    named = [place for place, token in enumerate(tokens.tolist()) if token not in SPECIAL_TOKENS]
    if not named:
        return ()
    fit, boxes = logits.float().cpu(), boxes.float().cpu()
    scores = fit.amax(dim=1).sigmoid()
    phrases = fit[:, named].amax(dim=1).sigmoid()
    keep = (scores > request.box_threshold) & (phrases > request.text_threshold)
    scores, (centres, sides) = scores[keep], boxes[keep].split(2, dim=1)
    (height, width), (high, wide) = request.image.size, frame or request.image.size
    corners = torch.cat([centres - 0.5 * sides, centres + 0.5 * sides], dim=1)
    corners *= torch.tensor([wide, high, wide, high])
    ends = torch.tensor([width, height, width, height])
    corners = corners.clamp_(min=0).minimum(ends)
    there = (corners[:, 2:] > corners[:, :2]).all(dim=1)
    scores, corners = scores[there], corners[there]
    best = torchvision.ops.nms(corners, scores, selection.nms)
    best = best[: selection.max_boxes or None]
    pairs = zip(corners[best].tolist(), scores[best].tolist(), strict=True)
    return tuple(Detection(box=(x0, y0, x1, y1), score=s) for (x0, y0, x1, y1), s in pairs)
