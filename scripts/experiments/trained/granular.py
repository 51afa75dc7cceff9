"""The tiny SAM for which a point is ambiguous, and what is lost by trusting its IoUs."""

from scripts.experiments.trained.frame import Row, Step, System, at_least, difference, validation

_GAP = difference(
    lambda known: {"gap": validation("train", "oracle")(known)["oracle"]},
    lambda known: {"gap": validation("train", "top_1")(known)["top_1"]},
)
SYSTEM = System(
    name="granular",
    title="zoo:sam_granular: part, object, group",
    steps=(
        Step("train", ("train", "method=sam_granular", "dataset=camoworld_crowd", "seed={seed}")),
    ),
    rows=(
        Row("oracle of the three masks - SAM top-1, IoU", _GAP, ">= .15", at_least(0.15)),
        *(
            Row(f"IoU of the {name}'s mask with the {name}", validation("train", name))
            for name in ("part", "whole", "group")
        ),
        Row("SAM top-1 is the group's mask", validation("train", "group_rate")),
    ),
)
