"""What a method writes down about one iteration: one definition for INT and all baselines.

A method fills what it has; nothing is there that it has not. Boxes are x0, y0, x1, y1 and points x,
y in pixels of the image. Entries marked *traced* are there for runs with ``keep=trace`` only. The
same as JSON Schema: ``int_bench/runs/schemas/details.json``; a test holds the two together.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict

VERSION = 1
"""Of the entries' names and meanings; records say it. A new entry does not change it."""

Numbers = list[float]


class SaidDetails(TypedDict):
    """A question to the VLM, and its answer as it came."""

    question: str
    answer: str


class PatchDetails(TypedDict):
    """A patch of the image by name, and where it lies."""

    patch: str
    box_image: Numbers


class AnswerDetails(TypedDict):
    """What the VLM said about a patch.

    Attributes:
        patch: its name; ``original`` is the whole image.
        names: what the object was called, best first.
        environment: what surrounds it; "" where nothing was said.
        box_image: the object's box; null without a usable one.
        task: what was asked for, where that is not the run's task prompt (GenSAM's synonyms).
        said: traced; the whole chat.
    """

    patch: str
    names: list[str]
    environment: str
    box_image: Numbers | None
    task: NotRequired[str]
    said: NotRequired[list[SaidDetails]]


class CandidateDetails(TypedDict):
    """A name that was proposed, and what negative mining made of it.

    Attributes:
        name: as first written.
        patches: that proposed it.
        difference: Eq. (3), the largest over the patches.
        weight: Eq. (6), after this iteration.
        before: traced; p(c | X_k) by patch, in the order of ``patches`` of :class:`Details`.
        after: traced; p(c | X'_k), likewise; absent where nothing was erased.
    """

    name: str
    patches: list[str]
    difference: float
    weight: float
    before: NotRequired[Numbers]
    after: NotRequired[Numbers]


class MaskDetails(TypedDict):
    """What the segmenter was given on a patch, and how its mask was weighed.

    Attributes:
        patch: its name; ``original`` is the whole image.
        boxes_image: each is one call; none where points went alone, or nothing was asked.
        points_image: traced; x, y and 1 on the object or 0 off it, all that were used.
        similarity: Eq. (10); null where the mask is empty or nothing was weighed.
        weight: Eq. (11); null likewise.
    """

    patch: str
    boxes_image: list[Numbers]
    points_image: NotRequired[list[Numbers]]
    similarity: float | None
    weight: float | None


class DetectionDetails(TypedDict):
    """What a detector found; null in place of a box where it tells instances by mask alone.

    Attributes:
        area: of its mask in pixels; of proposals that were selected from.
    """

    box_image: Numbers | None
    score: float
    area: NotRequired[float]


class InstanceDetails(TypedDict):
    """An object that was found without a prompt.

    Attributes:
        category: its class, by name.
        score: confidence, 0..1.
        counts: its mask in COCO's compressed run lengths; its size is the picture's.
    """

    category: str
    score: float
    counts: str


class Details(TypedDict, total=False):
    """One iteration.

    Attributes:
        patches: traced; where the patches lie.
        answers: what the VLM said of each patch.
        candidates: the pool of names.
        winning_patch: the patch of Eq. (5).
        masks: what became of each patch's mask.
        detections: of a detector on the whole image, instances of a concept, or an object's bag of
            proposals.
        instances: of an instance segmenter on the whole image, best first.
        costs: of this mask by the rule that chooses the final one, had the run ended with this
            iteration, the next, ..., its last; the smallest of all masks is taken. Eq. (13): the L1
            distance to the mean mask, in pixels.
        pictures: traced; where each picture lies on the iteration's sheet: x, y, width, height in
            pixels of the sheet. ``view`` is X_i; ``erased`` is X'_i (``erased_<patch>`` where each
            patch was filled by itself); ``hole`` is what was filled; ``mask_<patch>`` is the soft
            mask of a patch.
    """

    patches: list[PatchDetails]
    answers: list[AnswerDetails]
    candidates: list[CandidateDetails]
    winning_patch: str
    masks: list[MaskDetails]
    detections: list[DetectionDetails]
    instances: list[InstanceDetails]
    costs: Numbers
    pictures: dict[str, list[int]]
