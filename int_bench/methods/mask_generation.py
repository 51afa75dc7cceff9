"""SMG, semantic mask generation: from a name to masks in every patch, weighed by what they show.

Section 3.2: GroundingDINO gives boxes (Eq. 8), Spatial CLIP points, SAM masks (Eq. 9); CLIP says
how well each mask shows what the prompt names (Eq. 10); the masks are summed by these weights (Eq.
11).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from int_bench.core import equations, geometry
from int_bench.core.details import Details, MaskDetails
from int_bench.core.geometry import Grid, Patch
from int_bench.core.limits import Above, Share
from int_bench.core.protocols import Ask, gather
from int_bench.core.requests import Detect, Heatmap, Point, Segment, Similarity
from int_bench.core.templates import AND, DETECT
from int_bench.core.types import (
    Box,
    HardMask,
    Logits,
    Masks,
    OnBlack,
    Picture,
    Pictures,
    SoftMask,
)
from int_bench.methods.cycle import Proposal, State
from int_bench.methods.points import PointPicker
from int_bench.methods.tracing import small_mask


@dataclass(frozen=True)
class BoxFinder:
    """Where the boxes of a patch come from.

    Attributes:
        source: ``detector``, ``vlm`` (the prompt's own box, clipped to the patch) or ``both``.
        box_threshold: smallest confidence of a detection. Reading: the paper states no thresholds;
            these are the demo defaults of Grounded-SAM.
        text_threshold: smallest confidence of a word.
        retry_threshold: second try on the whole image, which must always yield a mask.
        max_cover: a detection that covers more of a cut patch than this is dropped as background.
    """

    source: Literal["detector", "vlm", "both"] = "detector"
    box_threshold: Share = 0.30
    text_threshold: Share = 0.25
    retry_threshold: Share = 0.20
    max_cover: Share = 0.95

    @property
    def roles(self) -> frozenset[str]:
        """The model roles that it can ask."""
        return frozenset() if self.source == "vlm" else frozenset({"detector"})

    async def find(
        self, picture: Picture, patch: Patch, proposal: Proposal, ask: Ask
    ) -> tuple[Box, ...]:
        """Eq. (8): boxes of the instance-specific prompt in one patch, in the patch frame.

        Of several names, "frog and owl", each is a phrase, and the boxes are those of all.

        Without a detection: the prompt's own box where it meets the patch; for the whole image a
        second try at a lower threshold first, and the whole image in the end. Reading: where the
        whole image is no patch there is neither, and the mask may be empty: a part of the image
        need not show the object.
        """
        own = proposal.box_image and geometry.box_patch_from_image(proposal.box_image, patch)
        own_boxes = (own,) if own else ()
        boxes: tuple[Box, ...] = ()
        if self.source != "vlm":
            boxes = await self._detect(picture, patch, proposal.name, self.box_threshold, ask)
            if not boxes and patch.name == "original":
                boxes = await self._detect(picture, patch, proposal.name, self.retry_threshold, ask)
        if self.source == "both" or not boxes:
            boxes += own_boxes
        height, width = patch.size
        return boxes or (((0.0, 0.0, width, height),) if patch.name == "original" else ())

    async def _detect(
        self, picture: Picture, patch: Patch, name: str, threshold: float, ask: Ask
    ) -> tuple[Box, ...]:
        text = " ".join(DETECT.format(name=part) for part in name.lower().split(AND))
        detections = await ask(
            Detect(picture, text, threshold, min(self.text_threshold, threshold))
        )
        largest = self.max_cover * patch.size[0] * patch.size[1]
        whole = patch.name == "original"
        return tuple(d.box for d in detections if whole or geometry.area(d.box) <= largest)


@dataclass(frozen=True)
class Weighing:
    """How similarities become the weights of the patch masks.

    Attributes:
        mode: see ``equations.normalise_similarities``; ``uniform`` asks CLIP nothing and weighs all
            patches alike.
        scale: the CLIP model's own logit scale.
    """

    mode: Literal["softmax_minmax", "minmax", "sum", "none", "uniform"] = "softmax_minmax"
    scale: Annotated[float, Above(0)] = 100.0

    @property
    def roles(self) -> frozenset[str]:
        """The model role that gives the similarities, if they decide anything."""
        return frozenset() if self.mode == "uniform" else frozenset({"aligner"})

    def weigh(self, similarities: list[float]) -> NDArray[np.float64]:
        """Weights, (K,), of masks with these similarities."""
        if self.mode == "uniform":
            return np.ones(len(similarities))
        return equations.normalise_similarities(similarities, self.mode, self.scale)


@dataclass(frozen=True)
class PatchMask:
    """One patch's mask in the patch frame; ``similarity`` is None where the mask is empty."""

    patch: Patch
    soft: SoftMask
    boxes: tuple[Box, ...]
    points: tuple[Point, ...]
    similarity: float | None


class SemanticMaskGeneration:
    """INT's masker.

    Args:
        grid: the patches.
        boxes: where boxes come from.
        points: which points go with them.
        weighing: how similarities become weights.
        output: the hard mask. Reading: the introduction combines the masks above a threshold of
            similarity and does not state it; ``similar`` joins those whose weight is above 0.1;
            ``union``, as in the predecessor's code, above 0.7, and always that of the whole image,
            decoys and all; without any, those of the largest weight. ``soft`` is M_i >= 0.5, which
            loses what only few patches cover.
        semantic: False is the paper's ablation of SMG: SAM on the whole image, no detector, no
            patches, no weighing.
        unboxed: what a part of the image without any box gives. Reading: ``nothing``, since most
            parts show nothing of the object, and points alone segment whatever lies there;
            ``points``, as in the predecessors' code.
    """

    def __init__(  # noqa: PLR0913  (the readings of Eq. 8 to 11)
        self,
        grid: Grid,
        boxes: BoxFinder,
        points: PointPicker,
        weighing: Weighing | None = None,
        output: Literal["similar", "union", "soft"] = "similar",
        semantic: bool = True,
        unboxed: Literal["nothing", "points"] = "nothing",
    ) -> None:
        self.grid = grid
        self.boxes = boxes
        self.points = points
        self.weighing = weighing or Weighing()
        self.output = output
        self.semantic = semantic
        self.unboxed = unboxed

    @property
    def roles(self) -> frozenset[str]:
        """The model roles that its parts can ask; without semantics SAM and its points alone."""
        sam = frozenset({"segmenter"}) | self.points.roles
        return sam | self.boxes.roles | self.weighing.roles if self.semantic else sam

    async def segment(self, state: State, proposal: Proposal, ask: Ask) -> Masks:
        """M_i from the masks of all patches of the view X_i."""
        if not self.semantic:
            return await segment_whole(state, proposal, self.points, ask)
        size = state.view.size
        # Eq. (8) to (10): boxes, points, a mask and its similarity, in every patch.
        masks = await gather(
            self._mask_patch(state.view, patch, proposal, ask) for patch in self.grid.cut(size)
        )
        shown = [mask for mask in masks if mask.similarity is not None]
        if not shown:
            return replace(Masks.empty(size), **_told(masks, [], state.sample.traced))
        # Eq. (11): the sum of the masks, weighed by similarity.
        similarities = [mask.similarity for mask in shown if mask.similarity is not None]
        weights = self.weighing.weigh(similarities)
        windows = [mask.patch.window for mask in shown]
        soft = equations.weighted_mask([mask.soft for mask in shown], weights, windows, size)
        # What is scored: the sum cut at one half, or the union of the masks that match best.
        hard = soft >= 0.5
        if self.output != "soft":
            chosen = weights > (0.1 if self.output == "similar" else 0.7)
            if self.output == "union":
                chosen |= [mask.patch.name == "original" for mask in shown]
            if not chosen.any():
                # Weights of other modes may all be small, and the whole image may be no patch.
                chosen = weights == weights.max()
            hard = np.zeros(size, dtype=np.bool_)
            for k in np.flatnonzero(chosen):
                hard[windows[k]] |= shown[k].soft > 0.5
        return Masks(hard, soft, **_told(masks, weights.tolist(), state.sample.traced))

    async def _mask_patch(
        self, view: Picture, patch: Patch, proposal: Proposal, ask: Ask
    ) -> PatchMask:
        picture = Picture(geometry.crop(view.pixels, patch))
        boxes = await self.boxes.find(picture, patch, proposal, ask)
        logits, points = None, tuple[Point, ...]()
        if boxes or self.unboxed == "points":
            logits, points = await segment_patch(picture, proposal, boxes, self.points, ask)
        hard = None if logits is None else logits > 0
        if logits is None or hard is None or not hard.any():
            return PatchMask(patch, np.zeros(patch.size, dtype=np.float32), boxes, points, None)
        similarity = 0.0
        if self.weighing.mode != "uniform":
            similarity = await show(view, patch, hard, proposal.name, ask)
        return PatchMask(patch, equations.sigmoid(logits), boxes, points, similarity)


async def segment_patch(
    picture: Picture,
    proposal: Proposal,
    boxes: tuple[Box, ...],
    picker: PointPicker,
    ask: Ask,
) -> tuple[Logits | None, tuple[Point, ...]]:
    """Eq. (9): SAM's mask of a patch from Spatial CLIP's points and the boxes, as logits (h, w).

    The points that went with any box come with it.

    Reading: several boxes are separate queries, each with the positive points inside it and the
    negative points outside all boxes; their logits are joined by the pixel-wise maximum. Without a
    box the points go alone; without both there is no mask (None).
    """
    points: tuple[Point, ...] = ()
    if picker.placement != "none":
        texts = proposal.foreground or (proposal.name,)
        heat = await ask(Heatmap(picture, texts, proposal.environments))
        points = picker.pick(heat, picture.size)
    if not boxes and not points:
        return None, ()
    requests = (
        [Segment(picture, box, picker.place(points, box, boxes)) for box in boxes]
        if boxes
        else [Segment(picture, None, points)]
    )
    answers = await gather(ask(request) for request in requests)
    joined = answers[0].logits
    for answer in answers[1:]:
        joined = np.maximum(joined, answer.logits)
    return joined, tuple(dict.fromkeys(point for request in requests for point in request.points))


async def show(view: Picture, patch: Patch, hard: HardMask, name: str, ask: Ask) -> float:
    """Eq. (10): similarity of what the mask keeps of the view, on black, to the prompt's name.

    Reading: as in the predecessor's code the hard mask's pixels stay in place on a black canvas of
    the whole image.
    """
    window = rows, columns = geometry.bounds(hard)
    kept = equations.keep_inside(geometry.crop(view.pixels, patch)[window], hard[window])
    place = patch.y0 + rows.start, patch.x0 + columns.start
    return await ask(Similarity(OnBlack(kept, place, view.size), name))


async def segment_whole(state: State, proposal: Proposal, picker: PointPicker, ask: Ask) -> Masks:
    """SAM on the whole view, from points and the prompt's own box, not weighed by similarity."""
    boxes = (proposal.box_image,) if proposal.box_image else ()
    logits, points = await segment_patch(state.view, proposal, boxes, picker, ask)
    if logits is None:
        logits = np.full(state.view.size, -np.inf, dtype=np.float32)
    details = describe_prompts(boxes, points, state.sample.traced)
    return Masks(logits > 0, equations.sigmoid(logits), details=details)


def describe_prompts(boxes: Sequence[Box], points: Sequence[Point], traced: bool) -> Details:
    """What SAM was given on the whole image, for the record of a sample."""
    given = MaskDetails(
        patch="original",
        boxes_image=[[float(value) for value in box] for box in boxes],
        similarity=None,
        weight=None,
    )
    if traced:
        given["points_image"] = _plain_points(points)
    return Details(masks=[given])


def _plain_points(points: Sequence[Point], patch: Patch | None = None) -> list[list[float]]:
    left, top = (patch.x0, patch.y0) if patch else (0, 0)
    return [[point.x + left, point.y + top, float(point.positive)] for point in points]


class _Told(TypedDict):
    details: Details
    pictures: Pictures


def _told(masks: Sequence[PatchMask], weights: list[float], traced: bool) -> _Told:
    """Boxes, similarity and weight of every patch; of a traced sample points and masks, too."""
    left = iter(weights)
    described = [
        MaskDetails(
            patch=item.patch.name,
            boxes_image=[
                [float(value) for value in geometry.box_image_from_patch(box, item.patch)]
                for box in item.boxes
            ],
            similarity=item.similarity,
            weight=None if item.similarity is None else next(left, None),
        )
        for item in masks
    ]
    if not traced:
        return {"details": Details(masks=described), "pictures": {}}
    for given, item in zip(described, masks, strict=True):
        given["points_image"] = _plain_points(item.points, item.patch)
    shown = {f"mask_{m.patch.name}": small_mask(m.soft) for m in masks if m.similarity is not None}
    return {"details": Details(masks=described), "pictures": shown}
