"""SAM's mask decoder fine-tuned with masks, points and scribbles: the rows SAM-P and SAM-S."""

from scripts.experiments.trained.frame import Row, Step, System, difference, score

_DATA = ("dataset=camoworld_crowd", "seed={seed}")
_RUN = ("run", "method=sam_point", *_DATA, "dataset.split=test", "dataset.count=100")
KINDS = ("mask", "point", "scribble")
SYSTEM = System(
    name="decoder",
    title="SAM's mask decoder, fine-tuned",
    steps=(
        Step("sam", tuple(w.format(seed=0) for w in _RUN), once=True),
        *(
            Step(kind, ("train", "method=sam_decoder", *_DATA, f"train.supervision={kind}"))
            for kind in KINDS
        ),
        *(
            Step(f"with_{kind}", (*_RUN, f"backbone.segmenter.adapter={{{kind}}}"))
            for kind in KINDS
        ),
    ),
    rows=(
        Row("SAM, one point: IoU", score("sam", "native.IoU")),
        *(
            Row(
                f"with supervision={kind}, minus SAM",
                difference(score(f"with_{kind}", "native.IoU"), score("sam", "native.IoU")),
            )
            for kind in KINDS
        ),
    ),
)
